"""Probes on other data sets: their numbers are those of the same probes on features of that data."""

import pytest

from ssl_zoo import registry
from ssl_zoo.data.open import open_data
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.features import extract
from ssl_zoo.evaluation.protocols.knn import KNN
from ssl_zoo.evaluation.protocols.linear import Linear
from ssl_zoo.evaluation.representations import compare_representations
from ssl_zoo.evaluation.seen import EvaluationData
from ssl_zoo.methods.build import build_encoder, build_modality, build_views
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.recipe.part import Part

SMALL = {"name": "digits", "options": {"placements": 1}}


def part(name: str, **options: object) -> Part:
    return Part(name=name, options=options)


def test_its_numbers_are_those_of_the_probes_on_the_other_data() -> None:
    recipe = load_recipe("digits/simsiam")
    policy, encoder = build_views(recipe), build_encoder(recipe)
    modality = build_modality(recipe, policy.spec)
    other = open_data(Part(**SMALL), modality)
    own = open_data(Part(name="digits", options={"placements": 1}), modality)
    probes = [part("knn", k=3), part("linear", lrs=[0.01], epochs=2)]
    protocol = ("transfer", {"data": {"more": {"name": "digits", "placements": 1}}, "protocols": probes})
    data = EvaluationData(policy, modality, own.train, own.test, limit=100)
    found = compare_representations(encoder, None, data, [protocol])["encoder"]["transfer"]
    train, test = (extract(encoder, policy, split, device="cpu", limit=100) for split in (other.train, other.test))
    assert found == {
        "more_knn_top1": KNN(k=3)(train, test)["top1"],
        "more_knn_k": 3,
        "more_linear_top1": Linear(lrs=[0.01], epochs=2)(train, test)["top1"],
    }


def test_mistakes_are_told() -> None:
    with pytest.raises(UserError, match="'retrieval' sees more than features"):
        registry.build("protocol", "transfer", {"protocols": ["retrieval"]})
    with pytest.raises(UserError, match="'a b' is no name of a data set"):
        registry.build("protocol", "transfer", {"data": {"a b": "digits"}})
    recipe = load_recipe("simsiam", ["evaluation.protocols=[knn, {name: transfer, data: {more: digits}}]"])
    assert recipe.evaluation.protocols[1].options["data"]["more"]["name"] == "digits"
    with pytest.raises(UserError, match=r"protocol transfer: data\.x: nowhere: no such file"):
        load_recipe("simsiam", ["evaluation.protocols=[{name: transfer, data: {x: nowhere}}]"])

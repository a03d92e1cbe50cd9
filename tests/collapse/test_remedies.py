"""Three remedies, whatever is known, that fit the recipe, can be typed as they stand, and change nothing else."""

import re
import shlex

import pytest

from ssl_zoo.collapse.remedies import remedies
from ssl_zoo.recipe.load import load_recipe, method_names
from ssl_zoo.training.recipe_facts import recipe_facts

METRICS = ("std", "scale", "effective_rank", "similarity_gap", "token_std", "sample_std", "finite")


def overrides(texts):
    """The override in each remedy, as the shell hands it over."""
    return [shlex.split(text[match.start() :])[1] for text in texts if (match := re.search(r"-s \S", text))]


def advised(recipe, metrics=METRICS):
    """All different overrides that are advised for a recipe, in order."""
    known = {**recipe_facts(recipe), "dim": 256}
    texts = [text for metric in metrics for text in remedies(metric, known)]
    assert all(len(set(remedies(metric, known))) == 3 for metric in metrics)
    return list(dict.fromkeys(overrides(texts)))


@pytest.mark.parametrize("terms", [[], ["negative_cosine"], ["mse", "variance", "covariance"], ["cross_correlation"]])
@pytest.mark.parametrize("predictor", ["mlp", "identity", None])
@pytest.mark.parametrize("target", ["shared", "stop_gradient", "ema", None])
@pytest.mark.parametrize("metric", METRICS)
def test_there_are_always_three_different_ones(metric, target, predictor, terms):
    known = {"target": target, "predictor": predictor, "terms": terms}
    texts = remedies(metric, {key: value for key, value in known.items() if value is not None})
    assert len(texts) == len(set(texts)) == 3


@pytest.mark.parametrize("metric", ["std", "effective_rank", "similarity_gap"])
def test_a_missing_stop_gradient_comes_first(metric):
    known = {"target": "shared", "predictor": "mlp", "terms": ["negative_cosine"]}
    assert "-s target=stop_gradient" in remedies(metric, known)[0]
    kept_open = {"target": "shared", "predictor": "identity", "terms": ["mse", "variance", "covariance"]}
    assert not any("stop-gradient" in text for text in remedies(metric, kept_open)), "VICReg needs none"


def test_a_missing_predictor_is_named_with_its_width():
    known = {"target": "stop_gradient", "predictor": "identity", "terms": ["negative_cosine"], "dim": 256}
    assert "dims: [64, 256]" in remedies("std", known)[0]


def test_the_term_to_add_depends_on_the_metric():
    known = {"target": "stop_gradient", "predictor": "mlp", "terms": ["negative_cosine"]}
    assert "'variance'" in remedies("std", known)[0]
    assert "'covariance'" in remedies("effective_rank", known)[0]


def test_a_loss_of_scale_asks_for_a_term_first():
    known = {"target": "shared", "predictor": "identity", "terms": [{"name": "mse", "weight": 25.0}]}
    assert "'variance'" in remedies("scale", known)[0] and "stop-gradient" in remedies("std", known)[0]


def test_a_term_whose_weight_is_zero_gets_it_again():
    recipe = load_recipe("vicreg", ["objective.variance.weight=0"])
    assert overrides(remedies("scale", recipe_facts(recipe)))[0] == "objective.variance.weight=25.0"
    recipe = load_recipe("vicreg", ["objective.covariance.weight=0"])
    assert overrides(remedies("effective_rank", recipe_facts(recipe)))[0] == "objective.covariance.weight=1.0"


def test_embeddings_that_are_not_finite_are_no_matter_of_the_objective():
    recipe = load_recipe("dino", ["training.clip_grad=null", "training.precision=fp16"])
    keys = [override.partition("=")[0] for override in overrides(remedies("finite", recipe_facts(recipe)))]
    assert keys == ["training.base_lr", "training.precision", "training.schedule.warmup_epochs"]


BROKEN = [
    *((method, []) for method in method_names()),
    ("simsiam", ["target=shared", "predictor=identity"]),
    ("i_jepa", ["target=shared"]),
    ("byol", ["predictor=identity"]),
    ("tico", ["objective=[negative_cosine]"]),
    ("lejepa", ["objective.sliced_characteristic.weight=0"]),
]


@pytest.mark.parametrize("method, broken", BROKEN)
def test_what_is_advised_can_be_typed_and_changes_one_thing(method, broken):
    recipe = load_recipe(method, broken)
    plain = recipe.dump()
    for override in advised(recipe):
        mended = load_recipe(method, [*broken, override])
        key = override.partition("=")[0].split(".")[0]
        assert mended != recipe, f"{override} is set already"
        changed = {name for name, value in mended.dump().items() if value != plain[name]}
        assert changed == {key}
        if override.startswith("objective=["):
            assert mended.objective[:-1] == recipe.objective, "weights and options stay"


@pytest.mark.parametrize("method", method_names())
def test_settings_are_given_as_numbers_that_follow_from_the_recipe(method):
    recipe = load_recipe(method)
    given = dict(override.split("=", 1) for override in advised(recipe, ["std", "effective_rank"]))
    assert float(given["training.base_lr"]) == pytest.approx(recipe.training.base_lr / 4, rel=0.01)
    if "training.batch_size" in given:
        assert int(given["training.batch_size"]) == 2 * recipe.training.batch_size
    if "views.scale" in given:
        assert recipe.views.options["scale"][0] < 0.4

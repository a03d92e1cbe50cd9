"""Parts per member: how they are built, what the step computes, and what remains of a run."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_zoo.batch import View, encode
from ssl_zoo.errors import UserError
from ssl_zoo.methods.build import build, build_encoder
from ssl_zoo.methods.check import check_recipe
from ssl_zoo.methods.members import PairedEncoder
from ssl_zoo.recipe.load import load_recipe
from tests.pairs import HEADS, VIEWS, batch_for, cross

SAME = "views={photo: {name: augment, size: 12}, sketch: {name: augment, size: 12}}"
"""Members that one encoder takes."""


def cosine(p: Tensor, t: Tensor) -> Tensor:
    return F.cosine_similarity(p, t, dim=1).mean()


def test_cross_modal_simsiam_is_the_formula() -> None:
    """L is the mean of -cos(h_m(z_m), stopgrad(z_n)) over views m, n of different members: 8 pairs of 4 views."""
    recipe = cross("simsiam")
    method, batch = build(recipe), batch_for(recipe)
    z = []
    for view in batch.views:
        head = method.projector[view.modality]
        z.append(head(encode(method.encoder[view.modality], view)))
    p = [method.predictor[view.modality](x) for x, view in zip(z, batch.views, strict=True)]
    pairs = [(0, 2), (0, 3), (1, 2), (1, 3), (2, 0), (2, 1), (3, 0), (3, 1)]
    expected = -torch.stack([cosine(p[i], z[j].detach()) for i, j in pairs]).mean()
    again = build(recipe)
    torch.testing.assert_close(again(batch).loss, expected, rtol=0, atol=1e-6)
    expected.backward()
    again(batch).loss.backward()
    gradients = {name: weight.grad for name, weight in method.named_parameters()}
    for name, weight in again.named_parameters():
        torch.testing.assert_close(weight.grad, gradients[name], rtol=1e-4, atol=1e-6)


def test_all_pairs_compares_within_a_member_too() -> None:
    recipe = cross("simsiam", ["pairing=all_pairs"])
    method, batch = build(recipe), batch_for(recipe)
    z = [method.product.embedding(view) for view in batch.views]
    p = [method.predictor[view.modality](x) for x, view in zip(z, batch.views, strict=True)]
    every = [cosine(p[i], z[j]) for i in range(4) for j in range(4) if i != j]
    torch.testing.assert_close(build(recipe)(batch).loss, -torch.stack(every).mean(), rtol=0, atol=1e-6)


def test_each_direction_has_its_own_predictor() -> None:
    """BYOL: the target is the EMA network's embedding of the predicted view, at the start the online network's."""
    recipe = cross("byol")
    method, batch = build(recipe), batch_for(recipe)
    assert set(method.predictor) == {"photo_to_sketch", "sketch_to_photo"}
    z = [method.product.embedding(view) for view in batch.views]
    names = [view.modality for view in batch.views]
    value = torch.zeros(())
    for i, mine in enumerate(names):
        for j, other in enumerate(names):
            if mine != other:
                value = value + 2 - 2 * cosine(method.predictor[f"{mine}_to_{other}"](z[i]), z[j])
    torch.testing.assert_close(build(recipe)(batch).loss, value / 8, rtol=1e-5, atol=1e-5)


def test_set_terms_see_each_members_views_on_their_own() -> None:
    """VICReg's variance is the mean over the views, each by itself: members are not pooled."""
    recipe = cross("vicreg")
    method, batch = build(recipe), batch_for(recipe)
    z = [method.product.embedding(view) for view in batch.views]
    (weight,) = [term.weight for term in recipe.options["objective"] if term.name == "variance"]
    term = method.objective.terms["variance"]
    expected = weight * term(z)
    torch.testing.assert_close(build(recipe)(batch).terms["variance"], expected)
    each = torch.stack([term([x]) for x in z]).mean()
    torch.testing.assert_close(term(z), each)


@pytest.mark.parametrize("method", HEADS)
def test_the_first_four_methods_train_all_their_weights(method: str) -> None:
    recipe = cross(method)
    built = build(recipe)
    output = built(batch_for(recipe))
    assert output.loss.isfinite() and output.members == ["photo", "photo", "sketch", "sketch"]
    output.loss.backward()
    target = {id(p) for p in built.target.parameters()}
    assert [n for n, p in built.named_parameters() if id(p) not in target and p.grad is None] == []
    built.after_step(0.5)


def test_swapping_one_members_part_leaves_the_others_weights() -> None:
    one = build(cross("simsiam"))
    other = build(cross("simsiam", ["encoder.sketch.widths=[3, 5]", "predictor.each.dims=[3, 8]"]))
    for name in ("encoder.photo", "projector.photo", "projector.sketch"):
        mine, theirs = (each.get_submodule(name).state_dict() for each in (one, other))
        assert mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)
    photo, sketch = one.projector.photo, one.projector.sketch
    assert photo[0].weight.shape != sketch[0].weight.shape or not torch.equal(photo[0].weight, sketch[0].weight)


def test_a_single_part_is_shared_by_all_members() -> None:
    changes = ["encoder={name: convnet, widths: [4, 6]}", "projector.dims=[8]", "predictor.dims=[4, 8]"]
    recipe = load_recipe("simsiam", [SAME, *changes, "pairing=cross_modal"])
    product = build(recipe).eval().product
    x = torch.randn(2, 3, 12, 12)
    photo, sketch = View(x, "photo"), View(x, "sketch")
    assert torch.equal(product.embedding(photo), product.embedding(sketch))
    assert torch.equal(product.align(photo, "sketch"), product.align(sketch, "photo"))


def test_stacked_views_are_those_of_one_member() -> None:
    """Each member's projector sees its views in one pass: BatchNorm's mean is that of both."""
    recipe = cross("simsiam", ["stack_views=true"])
    method, batch = build(recipe), batch_for(recipe)
    h = torch.cat([method.encoder["photo"](torch.cat([view.tensor for view in batch.views[:2]]))])
    z = method.projector["photo"](h).chunk(2)
    again = build(recipe)(batch).embeddings
    torch.testing.assert_close(again[0], z[0].detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(again[1], z[1].detach(), rtol=1e-5, atol=1e-6)


def test_the_product_embeds_and_aligns() -> None:
    recipe = cross("byol")
    product, batch = build_encoder(recipe).eval(), batch_for(recipe)
    photo, sketch = batch.views[0], batch.views[2]
    assert isinstance(product, PairedEncoder) and product.out_dims == {"photo": 6, "sketch": 5}
    assert product.encode(photo).shape == (6, 6) and product.encode(sketch).shape == (6, 5)
    assert encode(product, sketch).shape == (6, 5)
    z, p = product.embedding(photo), product.align(photo, "sketch")
    assert z.shape == p.shape == (6, 5) and not torch.equal(z, p)
    torch.testing.assert_close(p, product.predictor["photo_to_sketch"](z))
    for towards, words in {
        "sound": "no member 'sound'; there are photo, sketch",
        "photo": "no predictor from photo",
    }.items():
        with pytest.raises(UserError, match=words):
            product.align(photo, towards)
    without = build_encoder(cross("vicreg")).eval()
    torch.testing.assert_close(without.align(photo, "sketch"), without.embedding(photo))
    start = build(recipe).product.state_dict()
    assert all(torch.equal(value, start[name]) for name, value in product.state_dict().items())


DIRECTIONS = "predictor={per_direction: {name: mlp, dims: [4, 8]}}"
TWO = "projector={photo: {name: mlp, dims: [8, 8]}, sketch: {name: mlp, dims: [8, 7]}}"
MISTAKES = [
    (
        ["encoder={name: convnet, widths: [4, 6]}"],
        r"encoder: convnet is one for all members, but their views differ \(photo \(3, 12, 12\), sketch \(1, 8, 8\)\); "
        r"give each its own: encoder: \{photo: NAME, sketch: NAME\}",
    ),
    (
        ["projector={name: mlp, dims: [8, 8]}"],
        r"projector: mlp is one for all members, but their widths differ \(photo 6, sketch 5\).*"
        r"projector: \{each: \{name: mlp",
    ),
    ([TWO], r"projector: the embeddings of the members have different widths \(photo 8, sketch 7\)"),
    (
        ["predictor={each: {name: mlp, dims: [4, 9]}}"],
        "predictor: ends in 9 dimensions but must predict the projec",
    ),
    (
        ["pairing=all_pairs", DIRECTIONS],
        "pairing: it pairs views of one member.*use pairing: cross_modal, or pred",
    ),
    (["pairing=to_mean", DIRECTIONS], "pairing to_mean: compares with the mean of several views"),
    (["pairing=nearest_neighbour"], "nearest_neighbour: its queue holds targets of one modality"),
    (["encoder.sketch={name: vit_of_nobody}"], "encoder.sketch: unknown encoder 'vit_of_nobody'"),
]


@pytest.mark.parametrize(("overrides", "words"), MISTAKES)
def test_what_does_not_join_is_one_sentence(overrides: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        check_recipe(cross("simsiam", overrides))
    assert "\n" not in str(caught.value)


def test_pairs_need_pairs() -> None:
    with pytest.raises(UserError, match="pairing cross_modal: all views are of image; give views per member"):
        check_recipe(load_recipe("simsiam", ["pairing=cross_modal", "encoder={name: convnet, widths: [4]}"]))
    local = ["kind=local", "local_projector=linear", "local_objective=mse"]
    with pytest.raises(UserError, match="kind local: it compares places of views of one modality"):
        check_recipe(load_recipe("vicreg", [VIEWS, *HEADS["vicreg"], "encoder={each: convnet}", *local]))

"""Masked latent prediction: what is hidden is not seen, resuming, token collapse. The losses are in test_oracles.py."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_zoo.batch import Batch, InputSpec, View, ViewSpec
from ssl_zoo.collapse.guard import Alarm, CollapseGuard
from ssl_zoo.collapse.metrics import embedding_metrics, token_metrics, token_moments
from ssl_zoo.heads.transformer import TokenPredictor
from ssl_zoo.methods.build import build
from ssl_zoo.methods.masked import Masked, TargetTokens
from ssl_zoo.methods.masks import Mask, Masks
from ssl_zoo.modalities.video.encoders.vit import VideoViT
from ssl_zoo.objectives.objective import Objective
from ssl_zoo.objectives.similarity import SmoothL1
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.targets.ema import EMA
from tests.distributed.parity import whole_batch
from tests.tiny import small

METHODS = ("i_jepa", "data2vec")


def images(num: int = 256, seed: int = 0) -> Tensor:
    """Smooth colours, `(num, 3, 8, 8)`: what is hidden can be guessed from what is around it."""
    g = torch.Generator().manual_seed(seed)
    return F.interpolate(torch.randn(num, 3, 4, 4, generator=g), (8, 8), mode="bilinear")


def tiny(name: str, *overrides: str) -> Masked:
    sizes = ["encoder={name: vit, patch: 2, width: 24, depth: 2, heads: 1}", "views.size=8"]
    if name == "i_jepa":
        sizes.append("predictor={name: transformer, width: 16, depth: 1, heads: 1}")
    else:
        sizes.append("target_blocks=2")
    made = build(load_recipe(name, [*sizes, *overrides]))
    assert isinstance(made, Masked)
    return made


def train(method: Masked, steps: int, guard: CollapseGuard | None = None) -> Alarm | None:
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=2e-3)
    x, alarm = images(), None
    for step in range(steps):
        index = torch.arange(64) + 64 * (step % 4)
        output = method(Batch([View(x[index])], index))
        if guard is not None and step % 6 == 0:
            assert output.tokens is not None
            metrics = embedding_metrics(output.embeddings) | token_metrics([token_moments(t) for t in output.tokens])
            alarm = guard.update(step, metrics, 24, 64) or alarm
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        method.after_step((step + 1) / steps)
    return alarm


# ---- what is hidden is not seen -------------------------------------------------------------------------------------


def with_other_pixels(x: Tensor, hidden: Tensor, patch: int = 2) -> Tensor:
    """Return images with noise in the patches `(B, N)` that are hidden."""
    side = x.shape[-1] // patch
    where = hidden.view(-1, 1, side, side).repeat_interleave(patch, 2).repeat_interleave(patch, 3)
    return torch.where(where, 9 * torch.randn_like(x), x)


@pytest.mark.parametrize("name", METHODS)
def test_pixels_of_hidden_patches_reach_neither_prediction_nor_z(name: str) -> None:
    method, x, index = tiny(name), images(6), torch.arange(6)
    (mask,) = method.masks(index, (4, 4))
    hidden = torch.stack([(mask.keep != place).all(dim=1) for place in range(16)], dim=1)
    assert hidden.any(dim=1).all()
    plain = method._predict(View(x), mask, (4, 4))
    noisy = method._predict(View(with_other_pixels(x, hidden)), mask, (4, 4))
    assert all(torch.equal(a, b) for a, b in zip(plain, noisy, strict=True))
    shown = method._predict(View(with_other_pixels(x, ~hidden)), mask, (4, 4))
    assert not any(torch.allclose(a, b) for a, b in zip(plain, shown, strict=True))


@pytest.mark.parametrize("name", METHODS)
def test_the_target_sees_everything_and_gets_no_gradient(name: str) -> None:
    method, x = tiny(name), images(4).requires_grad_()
    (t,) = method.target([View(x)], [])
    assert t is not None and t.shape == (4, 16, 24) and not t.requires_grad
    if name == "i_jepa":
        torch.testing.assert_close(t.mean(dim=2), torch.zeros(4, 16), atol=1e-5, rtol=0)
        torch.testing.assert_close(t.std(dim=2, correction=0), torch.ones(4, 16), atol=1e-2, rtol=0)
    assert not any(p.requires_grad for p in method.target.parameters())


def test_a_sample_is_predicted_as_if_it_were_alone() -> None:
    """Padding, where samples have differing numbers of visible places, changes nothing."""
    method, x, index = tiny("i_jepa").double(), images(8).double(), torch.arange(8) + 40
    (mask,) = method.masks(index, (4, 4))
    assert (mask.keep < 0).any() and (mask.places < 0).any()
    rows, z = method._predict(View(x), mask, (4, 4))
    counts = (mask.places >= 0).flatten(1).sum(dim=1).tolist()
    for i, mine in enumerate(rows.split(counts)):
        (own,) = method.masks(index[i : i + 1], (4, 4))
        alone, z_alone = method._predict(View(x[i : i + 1]), own, (4, 4))
        torch.testing.assert_close(alone, mine)
        torch.testing.assert_close(z_alone[0], z[i])


def test_each_view_of_a_sample_has_its_own_mask() -> None:
    method = tiny("i_jepa", "views.num_views=2")
    x, index = images(8), torch.arange(8)
    output = method(Batch([View(x), View(x)], index))
    assert len(output.embeddings) == 2 and not torch.allclose(*output.embeddings)
    assert output.tokens is not None and [t.shape for t in output.tokens] == [(8, 16, 24)] * 2


def test_terms_of_z_can_be_added_and_reach_the_encoder() -> None:
    method = tiny("i_jepa", "objective=[{name: smooth_l1, weight: 0.0}, variance, covariance]")
    output = method(Batch([View(images(16))]))
    assert list(output.terms) == ["smooth_l1", "variance", "covariance"]
    output.loss.backward()
    encoder: Any = method.encoder
    assert encoder.cut.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("target", ["stop_gradient", "shared"])
def test_the_online_network_can_be_its_own_target(target: str) -> None:
    method = tiny("i_jepa", f"target={target}").double()
    batch = Batch([View(images(8).double())], torch.arange(8))
    other = tiny("i_jepa", "target={name: ema, momentum: 0.0, schedule: constant}").double()
    torch.testing.assert_close(method(batch).loss, other(batch).loss)
    method(batch).loss.backward()
    other(batch).loss.backward()
    a, b = (m.encoder.norm.weight.grad for m in (method, other))  # type: ignore[union-attr]
    assert torch.allclose(a, b) is (target == "stop_gradient")


def test_a_mask_with_two_targets_weighs_every_hidden_place_alike() -> None:
    method = small_v_jepa()
    g = torch.Generator().manual_seed(0)
    x = torch.randn(5, 2, 4, 8, 8, generator=g, dtype=torch.float64)
    output = method(Batch([View(x)], torch.arange(5)))
    (t,) = method.target([View(x)], [])
    assert t is not None
    errors = []
    for mask in method.masks(torch.arange(5), (2, 4, 4)):
        rows, _ = method._predict(View(x), mask, (2, 4, 4))
        wanted = torch.cat([t[i, places[places >= 0]] for i, places in enumerate(mask.places.flatten(1))])
        errors.append((rows - wanted).abs())
    torch.testing.assert_close(output.loss, torch.cat(errors).mean())


def small_v_jepa() -> Masked:
    """V-JEPA on clips `(2, 4, 8, 8)`, made of its parts."""
    torch.manual_seed(0)
    spec = InputSpec("clips of a test", (ViewSpec("global", (2, 4, 8, 8)),))
    encoder = VideoViT(spec, frames=2, patch=2, width=12, depth=1, heads=2)
    masks = [Mask(blocks=3, scale=(0.15, 0.15), join=True), Mask(blocks=1, scale=(0.7, 0.7), join=True)]
    target = EMA(TargetTokens(encoder), momentum=0.998, schedule="linear")
    objective = Objective([("smooth_l1", 1.0, SmoothL1(beta=0.0))])
    return Masked(encoder, TokenPredictor(12, width=8), target, objective, Masks(masks, seed=0)).double()


# ---- resuming -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_accumulated_batches_see_the_masks_of_the_whole_batch(name: str) -> None:
    """The step counts optimizer steps and the sample is known by its index, so that parts of a batch add up."""
    method = build(small(name)).double()
    batch = whole_batch(small(name), torch.float64, seed=0)
    assert batch.index is not None
    whole = method(batch).embeddings[0]
    parts = []
    for rows in (slice(0, 10), slice(10, 24)):
        views = [view.map(lambda x, rows=rows: x[rows]) for view in batch.views]  # type: ignore[misc]
        parts.append(method(Batch(views, batch.index[rows])).embeddings[0])
    torch.testing.assert_close(torch.cat(parts), whole)
    method.after_step(0.5)
    assert not torch.allclose(method(batch).embeddings[0], whole)


def test_a_resumed_training_is_the_whole_one_bit_for_bit() -> None:
    whole = tiny("i_jepa")
    train(whole, 6)
    first, second = tiny("i_jepa"), tiny("i_jepa", "seed=5")
    assert first.masks.key != second.masks.key
    train(first, 2)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    batch = Batch([View(images(32))], torch.arange(32))
    assert torch.equal(first(batch).loss, second(batch).loss)
    assert int(second.masks.counter) == 2 and not torch.equal(first(batch).loss, whole(batch).loss)


# ---- token collapse -------------------------------------------------------------------------------------------------


def test_spread_of_tokens_by_hand() -> None:
    g = torch.Generator().manual_seed(0)
    free, sample, place = (torch.randn(*shape, 16, generator=g) for shape in ((500, 9), (500, 1), (1, 9)))

    def spread(x: Tensor) -> dict[str, float]:
        return token_metrics([token_moments(x)])

    by_hand = (free / free.norm(dim=2, keepdim=True)).std(dim=1, correction=0).mean() * 4  # 9 places: about 0.92
    assert spread(free) == pytest.approx({"token_std": by_hand.item(), "sample_std": 1.0}, abs=0.01)
    alike, fixed = spread(sample.expand(-1, 9, -1)), spread(place.expand(500, -1, -1))
    assert alike["token_std"] == pytest.approx(0, abs=1e-6) and alike["sample_std"] == pytest.approx(1, abs=0.02)
    assert fixed["sample_std"] == pytest.approx(0, abs=1e-6) and fixed["token_std"] > 0.9
    shards = [token_moments(part) for part in free.chunk(2)]
    mean = [torch.stack(each).mean(dim=0) for each in zip(*shards, strict=True)]
    assert token_metrics([mean]) == pytest.approx(spread(free))


@pytest.mark.parametrize("metric", ["token_std", "sample_std"])
def test_each_kind_of_token_collapse_has_its_rule_and_a_pooled_embedding_need_not_show_it(metric: str) -> None:
    g = torch.Generator().manual_seed(0)
    guard = CollapseGuard(recipe_facts={"target": "ema", "momentum": 0.99})
    alarm = None
    for step in range(6):
        free, own = torch.randn(64, 9, 16, generator=g), torch.randn(64, 1, 16, generator=g)
        fixed = torch.randn(1, 9, 16, generator=torch.Generator().manual_seed(1))
        gone = own.expand(-1, 9, -1) if metric == "token_std" else fixed.expand(64, -1, -1)
        tokens = free if step == 0 else gone + 0.05 * free
        alarm = (
            guard.update(step, embedding_metrics([own[:, 0]]) | token_metrics([token_moments(tokens)]), 16, 64) or alarm
        )
    assert alarm is not None and alarm.metric == metric and alarm.step == 4
    assert "-s target.momentum=0.9975" in alarm.remedies[1] and guard.status["status"] == "collapsed"


@pytest.mark.parametrize("name", METHODS)
def test_a_healthy_training_is_ok(name: str) -> None:
    guard = CollapseGuard(patience=3)
    assert train(tiny(name), 43, guard) is None and guard.status["status"] == "ok"
    assert min(guard.status["metrics"][key] for key in ("token_std", "sample_std")) > 0.5


def test_without_stop_gradient_it_collapses_and_the_guard_says_so() -> None:
    guard = CollapseGuard(patience=3)
    alarm = train(tiny("i_jepa", "target=shared"), 43, guard)
    assert alarm is not None and guard.status["status"] == "collapsed"
    assert max(guard.status["metrics"][key] for key in ("token_std", "sample_std")) < 0.2


def test_tokens_can_collapse_while_a_variance_term_keeps_the_samples_apart() -> None:
    guard = CollapseGuard(patience=3)
    objective = "objective=[{name: smooth_l1, weight: 10.0}, {name: variance, weight: 10.0}]"
    alarm = train(tiny("i_jepa", "target=shared", objective), 61, guard)
    assert alarm is not None and alarm.metric == "token_std" and guard.status["metrics"]["std"] > 0.15

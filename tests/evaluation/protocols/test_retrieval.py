"""Retrieval: ranks by the definition, ties by their expectation, classes, and both directions of any members."""

import pytest
import torch
import torch.nn.functional as F

from ssl_zoo.evaluation.aligned import Aligned
from ssl_zoo.evaluation.protocols import retrieval
from ssl_zoo.evaluation.protocols.retrieval import Retrieval, recalls, same_class


def aligned(a: torch.Tensor, b: torch.Tensor, y: torch.Tensor | None = None) -> Aligned:
    return Aligned({"sketch": a, "sound": b}, {("sketch", "sound"): a, ("sound", "sketch"): b}, y)


def noisy(num: int = 37, dim: int = 5, noise: float = 1.5) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    a = torch.randn(num, dim, generator=g)
    return a, a + noise * torch.randn(num, dim, generator=g)


def test_recalls_and_ranks_are_those_of_the_definition(monkeypatch) -> None:
    monkeypatch.setattr(retrieval, "_BLOCK", 10 * 37)  # several blocks
    a, b = noisy()
    cosines = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T
    ranks = [1 + sum(float(c) > float(row[i]) for c in row) for i, row in enumerate(cosines)]
    found = recalls(a, b)
    for k in (1, 5, 10):
        assert found[f"r{k}"] == pytest.approx(sum(rank <= k for rank in ranks) / 37)
    assert found["median_rank"] == sorted(ranks)[18]


@pytest.mark.parametrize("num", [7, 1000])
def test_constant_embeddings_reach_what_chance_reaches(num) -> None:
    point = torch.randn(1, 24).expand(num, 24)
    metrics = Retrieval()(None, aligned(point, point, torch.arange(num) % 3))
    for name in [name for name in metrics if not name.endswith("_chance")]:
        assert metrics[name] == pytest.approx(metrics[f"{name}_chance"]), name
    assert metrics["sketch_to_sound_r10_chance"] == min(1.0, 10 / num)
    assert metrics["sketch_to_sound_median_rank"] == (num + 1) / 2


def test_items_that_are_equal_share_their_ranks() -> None:
    a = torch.eye(4)
    found = recalls(a, a[[0, 0, 2, 3]])  # query 0 finds two as near, query 1 finds all four equally far
    assert found["r1"] == pytest.approx((1 / 2 + 1 / 4 + 1 + 1) / 4)


def test_by_class_any_sample_of_the_class_is_right() -> None:
    y = torch.tensor([0, 0, 1, 1, 1, -1])
    a = F.one_hot(y.clamp(0), 2).float() + 0.01 * torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    metrics = Retrieval()(None, aligned(a, a.flip(1), y))
    assert metrics["sketch_to_sound_same_class_1"] == 0.0
    metrics = Retrieval()(None, aligned(a, a, y))
    assert metrics["sound_to_sketch_same_class_1"] == 1.0
    assert metrics["sound_to_sketch_same_class_1_chance"] == pytest.approx((2 / 5) ** 2 + (3 / 5) ** 2)
    assert same_class(a[:2], a[2:4], torch.tensor([0, 0])) == 1.0  # the labels are of both


def test_every_direction_uses_the_prediction_of_its_target() -> None:
    a, b = noisy(noise=0.1)
    c = torch.randn(37, 5)
    z = {"sketch": a, "sound": b, "note": c}
    p = {(one, other): z[one] for one in z for other in z if one != other} | {("sketch", "note"): c}
    metrics = Retrieval()(None, Aligned(z, p))
    assert metrics["sketch_to_note_r1"] == 1.0 and metrics["note_to_sketch_r1"] < 0.3
    assert metrics["sketch_to_sound_r1"] > 0.8 and len(metrics) == 6 * 4 * 2

"""Pair terms against their formulas: values, gradients, scale."""

import math

import pytest
import torch
from torch import Tensor

from ssl_zoo.batch import View
from ssl_zoo.objectives.objective import Objective
from ssl_zoo.objectives.similarity import (
    MSE,
    NegativeCosine,
    SmoothL1,
    SoftmaxCrossEntropy,
    negative_cosine,
    squared_error,
)
from ssl_zoo.pairing.view_pairs import AllPairs, MeanOfOthers, OneWay
from tests.tiny import paired


def embeddings(num: int = 2, batch: int = 5, dim: int = 4) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.randn(batch, dim, generator=g, dtype=torch.float64) for _ in range(num)]


def test_negative_cosine_by_hand() -> None:
    p = torch.tensor([[1.0, 0.0], [3.0, 4.0]])
    t = torch.tensor([[0.0, 2.0], [3.0, 4.0]])
    assert negative_cosine(p, t).item() == pytest.approx(-(0 + 1) / 2)


def test_softmax_cross_entropy_by_hand() -> None:
    p, t = torch.tensor([[0.0, math.log(3.0)]]), torch.tensor([[0.0, 0.0]])
    # softmax(t) = (1/2, 1/2), softmax(p) = (1/4, 3/4)
    expected = -(0.5 * math.log(0.25) + 0.5 * math.log(0.75))
    assert SoftmaxCrossEntropy()(p, t).item() == pytest.approx(expected)


def test_byol_form_of_mse_is_two_minus_two_cosines() -> None:
    p, t = embeddings()
    value = squared_error(p, t, normalise=True, over="sum")
    torch.testing.assert_close(value, 2 + 2 * negative_cosine(p, t), rtol=1e-12, atol=0)


def test_mse_over_mean_is_torchs() -> None:
    p, t = embeddings()
    torch.testing.assert_close(MSE()(p, t), torch.nn.functional.mse_loss(p, t), rtol=1e-12, atol=0)


@pytest.mark.parametrize("term", [NegativeCosine(), SoftmaxCrossEntropy(), MSE(), MSE(normalise=True, over="sum")])
def test_gradients_in_float64(term: torch.nn.Module) -> None:
    p, t = (x.requires_grad_() for x in embeddings())
    assert torch.autograd.gradcheck(term, (p, t))


def test_symmetrisation_simsiam_halves_and_byol_sums() -> None:
    p, t = embeddings(2), embeddings(2)[::-1]
    both = NegativeCosine()(p[0], t[1]) + NegativeCosine()(p[1], t[0])
    for reduce, scale in (("mean", 0.5), ("sum", 1.0)):
        objective = Objective([("negative_cosine", 1.0, NegativeCosine())])
        value = objective(paired(AllPairs(reduce=reduce), p, t), p, [View(x) for x in p])["negative_cosine"]
        torch.testing.assert_close(value, scale * both, rtol=1e-12, atol=0)


def test_all_pairs_of_four_views_with_two_targets() -> None:
    p, t = embeddings(4), embeddings(4)
    pairs = paired(AllPairs(reduce="mean"), p, [t[0], t[1], None, None])
    expected = [(0, 1), (1, 0), (2, 0), (2, 1), (3, 0), (3, 1)]
    assert pairs.scale == 1 / 6
    assert all(any(x is p[i] and y is t[j] for x, y in pairs.pairs) for i, j in expected) and len(pairs.pairs) == 6


def test_mean_of_others_is_fastsiams_target() -> None:
    p, t = embeddings(3), embeddings(3)
    (_, first), *_ = paired(MeanOfOthers(), p, t).pairs
    torch.testing.assert_close(first, (t[1] + t[2]) / 2)


def test_one_way_is_one_pair() -> None:
    p, t = embeddings(3), embeddings(3)
    pairs, scale = paired(OneWay(), p, t)
    assert len(pairs) == 1 and pairs[0][0] is p[0] and pairs[0][1] is t[1] and scale == 1


def test_a_term_that_comes_twice_keeps_both() -> None:
    p, t = embeddings(2), embeddings(2)
    objective = Objective([("mse", 1.0, MSE()), ("mse", 2.0, MSE()), ("mse", 3.0, MSE())])
    values = objective(paired(OneWay(), p, t), p, [View(x) for x in p])
    assert list(values) == ["mse", "mse_2", "mse_3"]
    torch.testing.assert_close(values["mse_3"], 3 * values["mse"])


@pytest.mark.parametrize("beta", [0.0, 0.5, 2.0])
def test_smooth_l1_is_a_square_near_zero_and_a_line_from_there(beta: float) -> None:
    p, t = embeddings()
    expected = [d * d / (2 * beta) if d < beta else d - beta / 2 for d in (p - t).abs().flatten().tolist()]
    assert SmoothL1(beta=beta)(p, t).item() == pytest.approx(sum(expected) / len(expected))
    by_sample = [SmoothL1(beta=beta)(p[i : i + 1], t[i : i + 1]).item() for i in range(len(p))]
    assert sum(by_sample) / len(p) == pytest.approx(SmoothL1(beta=beta)(p, t).item())

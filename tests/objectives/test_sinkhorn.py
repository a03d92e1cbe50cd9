"""SwAV's codes and loss against plain scaling, golden numbers and lightly."""

import math

import pytest
import torch
from torch import Tensor

from ssl_zoo.batch import View
from ssl_zoo.objectives.objective import Objective
from ssl_zoo.objectives.sinkhorn import SinkhornCrossEntropy, sinkhorn
from ssl_zoo.pairing.view_pairs import AllPairs
from tests.tiny import paired


def scores(num: int = 2, batch: int = 8, prototypes: int = 5) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.rand(batch, prototypes, generator=g, dtype=torch.float64) * 2 - 1 for _ in range(num)]


def plain_codes(x: Tensor, eps: float, iterations: int) -> Tensor:
    q = torch.exp(x / eps).T
    q = q / q.sum()
    k, b = q.shape
    for _ in range(iterations):
        q = q / q.sum(dim=1, keepdim=True) / k
        q = q / q.sum(dim=0, keepdim=True) / b
    return (q * b).T


@pytest.mark.parametrize("iterations", [1, 3, 50])
def test_codes_are_those_of_plain_scaling(iterations: int) -> None:
    x = scores()[0]
    torch.testing.assert_close(sinkhorn(x, 0.05, iterations), plain_codes(x, 0.05, iterations), rtol=1e-9, atol=1e-15)


def test_codes_are_balanced() -> None:
    code = sinkhorn(scores(batch=40)[0], 0.25, 200)
    torch.testing.assert_close(code.sum(dim=1), torch.ones(40, dtype=torch.float64))
    torch.testing.assert_close(code.sum(dim=0), torch.full((5,), 8.0, dtype=torch.float64), rtol=1e-6, atol=0)


def test_golden_number() -> None:
    # exp(t / 0.05) = ((3, 1), (1, 3)) is balanced: codes (3/4, 1/4); p / 0.1 = (ln 2, 0): softmax (2/3, 1/3)
    t = 0.05 * math.log(3) * torch.eye(2)
    p = 0.1 * math.log(2) * torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    expected = -(0.75 * math.log(2 / 3) + 0.25 * math.log(1 / 3))
    assert SinkhornCrossEntropy()(p, t).item() == pytest.approx(expected, rel=1e-6)


def test_value_and_gradient_of_two_views_are_swavs() -> None:
    z = [x.requires_grad_() for x in scores()]
    objective = Objective([("loss", 1.0, SinkhornCrossEntropy())])
    value = objective(paired(AllPairs(), z, [x.detach() for x in z]), z, [View(x) for x in z])["loss"]
    codes = [plain_codes(x.detach(), 0.05, 3) for x in z]
    swapped = [-(codes[1 - i] * torch.log_softmax(z[i] / 0.1, dim=1)).sum(dim=1).mean() for i in range(2)]
    expected = (swapped[0] + swapped[1]) / 2
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=0)
    for mine, theirs in zip(torch.autograd.grad(value, z), torch.autograd.grad(expected, z), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-12)


def test_agrees_with_lightly_with_local_views() -> None:
    from lightly.loss import SwaVLoss

    z = [x.float() for x in scores(4)]
    objective = Objective([("loss", 1.0, SinkhornCrossEntropy())])
    value = objective(paired(AllPairs(), z, [*z[:2], None, None]), z, [View(x) for x in z])["loss"]
    torch.testing.assert_close(value, SwaVLoss()(z[:2], z[2:]).squeeze(), rtol=1e-5, atol=0)


def test_no_gradient_passes_the_codes() -> None:
    p, t = (x.requires_grad_() for x in scores())
    SinkhornCrossEntropy()(p, t).backward()
    assert p.grad is not None and t.grad is None


def test_a_dead_prototype_gives_finite_loss_and_gradient() -> None:
    p, t = (torch.cat([x[:, :4], torch.zeros(8, 1, dtype=x.dtype)], dim=1) for x in scores())
    p.requires_grad_()
    value = SinkhornCrossEntropy()(p, t)
    value.backward()
    assert value.isfinite() and p.grad.isfinite().all()

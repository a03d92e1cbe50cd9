"""MMCR's term against eigenvalues, by hand, and against lightly's loss on unit vectors."""

import math

import pytest
import torch
from torch import Tensor

from ssl_zoo.objectives.nuclear_norm import NuclearNorm, nuclear_norm


def embeddings(num: int = 2, batch: int = 9, dim: int = 4) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.randn(batch, dim, generator=g, dtype=torch.float64).requires_grad_() for _ in range(num)]


def trace_norm(matrix: Tensor) -> Tensor:
    """Sum of the singular values, as the roots of the eigenvalues of the smaller product."""
    product = matrix @ matrix.T if matrix.shape[0] < matrix.shape[1] else matrix.T @ matrix
    return torch.linalg.eigvalsh(product).sqrt().sum()


@pytest.mark.parametrize("local", [0.0, 0.3])
@pytest.mark.parametrize(("batch", "dim"), [(9, 4), (3, 6)])
def test_value_and_gradient(batch: int, dim: int, local: float) -> None:
    z = embeddings(2, batch, dim)
    w = [x.detach().clone().requires_grad_() for x in z]
    unit = [x / x.norm(dim=1, keepdim=True) for x in w]
    centroids = (unit[0] + unit[1]) / 2
    each = [trace_norm(torch.stack([a, b])) for a, b in zip(*unit, strict=True)]
    expected = -trace_norm(centroids) + local * sum(each) / batch
    value = nuclear_norm(z, local)
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=0)
    value.backward()
    expected.backward()
    for x, y in zip(z, w, strict=True):
        torch.testing.assert_close(x.grad, y.grad, rtol=1e-7, atol=1e-10)


def test_extremes_by_hand() -> None:
    spread = torch.eye(4, dtype=torch.float64).repeat(2, 1)  # 8 unit vectors, 4 singular values sqrt(2)
    assert nuclear_norm([spread, spread]).item() == pytest.approx(-4 * math.sqrt(2))
    assert 4 * math.sqrt(2) == pytest.approx(math.sqrt(4 * 8))  # the bound sqrt(D B)
    point = torch.ones(8, 4, dtype=torch.float64)  # one singular value, sqrt(8)
    assert nuclear_norm([point, point]).item() == pytest.approx(-math.sqrt(8))
    assert nuclear_norm([spread, -spread]).item() == pytest.approx(0, abs=1e-12)  # views that disagree


def test_lightly_on_unit_vectors() -> None:
    from lightly.loss import MMCRLoss

    z, w = embeddings(4), embeddings(4)
    unit = torch.stack([x / x.norm(dim=1, keepdim=True) for x in w], dim=1)  # lightly does not normalise by itself
    value, expected = NuclearNorm(local=0.2)(z), MMCRLoss(lmda=0.2)(unit[:, :2], unit[:, 2:])
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=0)
    value.backward()
    expected.backward()
    for x, y in zip(z, w, strict=True):
        torch.testing.assert_close(x.grad, y.grad, rtol=1e-7, atol=1e-10)


def test_gradient_in_float64() -> None:
    assert torch.autograd.gradcheck(lambda *z: NuclearNorm(local=0.1)(list(z)), tuple(embeddings(2, 5, 3)))


@pytest.mark.parametrize("local", [0.0, 0.3])
def test_a_dead_dimension_and_a_full_collapse_are_finite(local: float) -> None:
    for constant in (1.0, 0.0):
        z = [torch.cat([x[:, :3], torch.full((9, 1), constant)], dim=1).detach().requires_grad_() for x in embeddings()]
        point = [torch.full((9, 4), constant).requires_grad_() for _ in range(2)]
        for views in (z, point):
            value = nuclear_norm(views, local)
            value.backward()
            assert value.isfinite() and all(x.grad.isfinite().all() for x in views)


def test_no_state_and_the_same_in_eval() -> None:
    term = NuclearNorm()
    z = embeddings()
    assert torch.equal(term(z), term.eval()(z)) and not list(term.buffers())

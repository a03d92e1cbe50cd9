"""FroSSL's terms against eigenvalues, by hand, and against lightly's loss, which agrees with the authors' code."""

import math

import pytest
import torch
from torch import Tensor

from ssl_zoo.objectives.frobenius import ColumnMSE, LogFrobenius, column_mse, log_frobenius

TERMS = [LogFrobenius(), ColumnMSE()]


def embeddings(num: int = 2, batch: int = 9, dim: int = 4) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.randn(batch, dim, generator=g, dtype=torch.float64).requires_grad_() for _ in range(num)]


def unit_columns(z: Tensor) -> Tensor:
    return torch.stack([column / column.square().sum().sqrt() for column in z.T], dim=1)


@pytest.mark.parametrize(("batch", "dim"), [(9, 4), (4, 9)])
def test_log_frobenius_is_minus_the_entropy_of_order_two(batch: int, dim: int) -> None:
    """2 log |K / tr K|_F = log sum_k p_k^2, p the eigenvalues of K as probabilities: minus Renyi's entropy."""
    z, w = embeddings(2, batch, dim)
    w.data.copy_(z.data)
    p = torch.linalg.eigvalsh(unit_columns(w).T @ unit_columns(w))
    value, expected = log_frobenius(z), torch.log(((p / p.sum()) ** 2).sum())
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=0)
    value.backward()
    expected.backward()
    torch.testing.assert_close(z.grad, w.grad, rtol=1e-8, atol=1e-12)


def test_extremes_of_log_frobenius() -> None:
    orthogonal = 3 * torch.eye(6, 4, dtype=torch.float64)  # K = I: |I/4|_F^2 = 4/16
    assert log_frobenius(orthogonal).item() == pytest.approx(-math.log(4))
    parallel = torch.ones(6, 4, dtype=torch.float64)  # K has one eigenvalue
    assert log_frobenius(parallel).item() == pytest.approx(0, abs=1e-12)


def test_column_mse_is_written_out() -> None:
    z = embeddings(3)
    w = [x.detach().clone().requires_grad_() for x in z]
    u = [unit_columns(x) for x in w]
    centre = (u[0] + u[1] + u[2]) / 3
    expected = sum(3 * 4 * ((x - centre) ** 2).sum() / (9 * 4) for x in u)
    value = column_mse(z)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
    value.backward()
    expected.backward()
    for x, y in zip(z, w, strict=True):
        torch.testing.assert_close(x.grad, y.grad, rtol=1e-9, atol=1e-14)


def test_the_two_terms_are_lightlys_loss() -> None:
    from lightly.loss import FroSSLLoss

    for shape in ((9, 4), (4, 9)):
        z, w = embeddings(3, *shape), embeddings(3, *shape)
        value = LogFrobenius()(z) + 1.7 * ColumnMSE()(z)
        expected = FroSSLLoss(invariance_weight=1.7)(w)
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=0)
        value.backward()
        expected.backward()
        for x, y in zip(z, w, strict=True):
            torch.testing.assert_close(x.grad, y.grad, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("term", TERMS)
def test_scaling_a_dimension_changes_nothing(term: torch.nn.Module) -> None:
    z = embeddings()
    scaled = [z[0] * torch.tensor([2.0, 0.5, 7.0, 1.0]), z[1]]
    torch.testing.assert_close(term(scaled), term(z), rtol=1e-12, atol=0)


@pytest.mark.parametrize("term", TERMS)
def test_a_dead_dimension_and_a_full_collapse_are_finite(term: torch.nn.Module) -> None:
    for constant in (1.0, 0.0):
        z = [torch.cat([x[:, :3], torch.full((9, 1), constant)], dim=1).detach().requires_grad_() for x in embeddings()]
        point = [torch.full((9, 4), constant).requires_grad_() for _ in range(2)]
        for views in (z, point):
            value = term(views)
            value.backward()
            assert value.isfinite() and all(x.grad.isfinite().all() for x in views)


@pytest.mark.parametrize("term", TERMS)
def test_no_state_and_the_same_in_eval(term: torch.nn.Module) -> None:
    z = embeddings()
    first = term.train()(z)
    assert torch.equal(first, term.eval()(z)) and not list(term.buffers())

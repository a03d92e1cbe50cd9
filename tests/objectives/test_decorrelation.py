"""Barlow Twins' and VICReg's terms: identities that the papers' formulas imply, dead dimensions, large norms."""

import pytest
import torch
from torch import Tensor, nn

from ssl_zoo.objectives.decorrelation import (
    Covariance,
    CrossCorrelation,
    Variance,
    covariance,
    cross_correlation,
    variance,
)


def embeddings(num: int = 2, batch: int = 9, dim: int = 4, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.randn(batch, dim, generator=g, dtype=torch.float64).to(dtype) for _ in range(num)]


def test_cross_correlation_is_that_of_numpy() -> None:
    p, t = embeddings()
    c = torch.corrcoef(torch.cat([p, t], dim=1).T)[:4, 4:]
    expected = ((1 - c.diagonal()) ** 2).sum() + 0.3 * (c**2).sum() - 0.3 * (c.diagonal() ** 2).sum()
    torch.testing.assert_close(cross_correlation(p, t, 0.3), expected, rtol=1e-10, atol=0)


def test_cross_correlation_ignores_scale_and_shift_of_either_view() -> None:
    p, t = embeddings()
    changed = cross_correlation(p, t * torch.tensor([2.0, 0.5, 7.0, 1.0]) + 3.0)
    torch.testing.assert_close(changed, cross_correlation(p, t), rtol=1e-12, atol=0)


def test_identical_views_have_a_diagonal_of_one() -> None:
    p, _ = embeddings()
    assert cross_correlation(p, p, off_diagonal=0.0).item() == pytest.approx(0, abs=1e-24)


def test_lambda_multiplies_the_off_diagonal_part_only() -> None:
    p, t = embeddings()
    zero, one, two = (cross_correlation(p, t, off_diagonal=x) for x in (0.0, 1.0, 2.0))
    assert one > zero
    torch.testing.assert_close(two - one, one - zero, rtol=1e-12, atol=0)


@pytest.mark.parametrize("term", [CrossCorrelation(), Variance(), Covariance()])
def test_a_dead_dimension_gives_finite_loss_and_gradient(term: nn.Module) -> None:
    z = [torch.cat([x[:, :3], torch.ones(9, 1, dtype=x.dtype)], dim=1).requires_grad_() for x in embeddings()]
    value = term(*z) if term.inputs == "pair" else term(z)
    value.backward()
    assert value.isfinite() and all(x.grad.isfinite().all() for x in z)


def test_variance_by_hand() -> None:
    z = torch.tensor([[0.0, 0.0], [0.6, 3.0]])  # variances 0.18 and 4.5
    assert variance(z, eps=0.0001).item() == pytest.approx((1 - (0.18 + 0.0001) ** 0.5) / 2)


def test_variance_mean_and_sum_over_views() -> None:
    z = [0.1 * x for x in embeddings()]
    torch.testing.assert_close(Variance(views="sum")(z), 2 * Variance(views="mean")(z))


def test_covariance_by_hand() -> None:
    z = torch.tensor([[1.0, 2.0], [-1.0, -2.0], [0.0, 0.0]])  # covariance 4/2 = 2, twice, squared, over 2 dimensions
    assert covariance(z).item() == pytest.approx((2**2 + 2**2) / 2)


def test_covariance_is_torchs_matrix() -> None:
    z, _ = embeddings()
    c = torch.cov(z.T)
    expected = ((c**2).sum() - (c.diagonal() ** 2).sum()) / 4
    torch.testing.assert_close(covariance(z), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("term", [CrossCorrelation(), Variance(), Covariance()])
def test_same_value_in_train_and_eval(term: nn.Module) -> None:
    z = embeddings()
    call = (lambda: term(*z)) if term.inputs == "pair" else (lambda: term(z))
    first = call()
    term.eval()
    assert torch.equal(call(), first) and not list(term.buffers())

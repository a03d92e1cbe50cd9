"""VIbCReg's covariance term against torch's correlation matrix."""

import pytest
import torch
from torch import Tensor

from ssl_zoo.objectives.normalised_covariance import NormalisedCovariance, normalised_covariance


def embeddings(num: int = 2, batch: int = 9, dim: int = 4) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.randn(batch, dim, generator=g, dtype=torch.float64) for _ in range(num)]


def test_value_and_gradient_are_those_of_the_correlation_matrix() -> None:
    z = embeddings()[0].requires_grad_()
    value = normalised_covariance(z)
    c = torch.cov(z.T)
    r = c / torch.outer(c.diagonal(), c.diagonal()).sqrt()
    expected = (r.fill_diagonal_(0.0) ** 2).mean()
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=0)
    mine, theirs = (torch.autograd.grad(v, z, retain_graph=True)[0] for v in (value, expected))
    torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-12)


def test_golden_number_of_two_equal_dimensions() -> None:
    x = torch.tensor([1.0, 2.0, 4.0])
    # R is all ones: two off-diagonal entries of 1 over 2 x 2 entries
    assert normalised_covariance(torch.stack([x, -3 * x], dim=1)).item() == pytest.approx(0.5)


def test_scale_does_not_matter_and_views_are_summed_or_averaged() -> None:
    z = embeddings()
    torch.testing.assert_close(normalised_covariance(100 * z[0]), normalised_covariance(z[0]))
    torch.testing.assert_close(NormalisedCovariance()(z), 2 * NormalisedCovariance(views="mean")(z))


def test_a_dead_dimension_gives_finite_loss_and_gradient() -> None:
    z = [torch.cat([x[:, :3], torch.ones(9, 1, dtype=x.dtype)], dim=1).requires_grad_() for x in embeddings()]
    value = NormalisedCovariance()(z)
    value.backward()
    assert value.isfinite() and all(x.grad.isfinite().all() for x in z)

"""Iterative normalisation against the exact whitening, Newton's formula by hand, and its place in the mlp head."""

import pytest
import torch
from torch import Tensor, nn

from ssl_zoo.heads.iterative_norm import IterativeNorm, group_width, inverse_root
from ssl_zoo.heads.mlp import MLP


def samples(batch: int = 50, dim: int = 4) -> Tensor:
    g = torch.Generator().manual_seed(0)
    mix = torch.eye(dim, dtype=torch.float64) + 0.1 * torch.randn(dim, dim, generator=g, dtype=torch.float64)
    return torch.randn(batch, dim, generator=g, dtype=torch.float64) @ mix + 3


def test_many_iterations_are_the_inverse_root() -> None:
    c = torch.cov(samples().T)
    root = inverse_root(c, iterations=9)
    torch.testing.assert_close(root @ c @ root, torch.eye(4, dtype=torch.float64), rtol=1e-8, atol=1e-8)


def test_golden_number_of_one_iteration() -> None:
    # S = diag(3, 1) / 4; P_1 = (3 I - S) / 2 = diag(1.125, 1.375); over the root of the trace, 2
    value = inverse_root(torch.diag(torch.tensor([3.0, 1.0], dtype=torch.float64)), iterations=1)
    torch.testing.assert_close(value, torch.diag(torch.tensor([0.5625, 0.6875], dtype=torch.float64)))


def test_output_is_centred_and_white_within_groups() -> None:
    norm = IterativeNorm(4, num_groups=2, iterations=9, eps=1e-12).double()
    y = norm(samples())
    torch.testing.assert_close(y.mean(dim=0), torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-10)
    c = torch.cov(y.T, correction=0)
    torch.testing.assert_close(c[:2, :2], torch.eye(2, dtype=torch.float64), rtol=0, atol=1e-8)
    torch.testing.assert_close(c[2:, 2:], torch.eye(2, dtype=torch.float64), rtol=0, atol=1e-8)
    assert c[:2, 2:].abs().max() > 0.1


@pytest.mark.parametrize(("dim", "width"), [(2048, 32), (256, 4), (64, 1), (48, 1), (96, 2), (100, 2)])
def test_default_groups_are_the_authors(dim: int, width: int) -> None:
    assert group_width(dim, 64) == width


def test_narrow_embeddings_are_only_standardised() -> None:
    x = samples()
    torch.testing.assert_close(
        IterativeNorm(4).double()(x), (x - x.mean(dim=0)) / x.std(dim=0, correction=0), rtol=1e-3, atol=1e-3
    )


def test_gradients_in_float64() -> None:
    norm = IterativeNorm(4, num_groups=2).double()
    assert torch.autograd.gradcheck(norm, (samples(batch=6).requires_grad_(),))


def test_a_dead_dimension_gives_finite_output_and_gradient() -> None:
    x = samples()
    x[:, 3] = 1.0
    x.requires_grad_()
    y = IterativeNorm(4, num_groups=2).double()(x)
    y.square().sum().backward()
    assert y.isfinite().all() and x.grad.isfinite().all()


def test_evaluation_uses_the_running_statistics_of_training() -> None:
    norm = IterativeNorm(4, num_groups=2).double()
    x = samples()
    for _ in range(200):
        trained = norm(x)
    torch.testing.assert_close(norm.eval()(x), trained, rtol=1e-6, atol=1e-6)
    one = norm(x[:1])  # a single sample has no statistics of its own
    torch.testing.assert_close(one, trained[:1], rtol=1e-6, atol=1e-6)


def test_half_precision_is_computed_in_float32() -> None:
    x = (1000 * samples()).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = IterativeNorm(4, num_groups=2)(x)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, IterativeNorm(4, num_groups=2)(x.float()))


def test_it_is_an_option_of_the_mlps_last_norm() -> None:
    head = MLP(4, dims=[8, 6], last_norm="iterative")
    assert isinstance(head[-1], IterativeNorm) and not list(head[-1].parameters())
    assert isinstance(head[1], nn.BatchNorm1d) and head(torch.randn(9, 4)).shape == (9, 6)

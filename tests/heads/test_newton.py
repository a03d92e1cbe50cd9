"""Functions of matrices from products against those from eigenvectors and singular values."""

import pytest
import torch
from torch import Tensor

from ssl_zoo.heads.direct import root_by_products, root_spectrum
from ssl_zoo.heads.newton import largest_eigenvalue, polar
from ssl_zoo.objectives.nuclear_norm import by_products
from ssl_zoo.rng import generator


def matrix(*shape: int, decades: float = 0.0) -> Tensor:
    """Return a random matrix whose columns fall off in size over some decades."""
    x = torch.randn(*shape, generator=generator(0, "matrix"), dtype=torch.float64)
    return x * torch.logspace(0, -decades, shape[-1], dtype=torch.float64)


@pytest.mark.parametrize(("shape", "decades"), [((40, 9), 0.0), ((9, 40), 0.0), ((5, 12, 3), 2.0), ((60, 20), 5.0)])
def test_the_sum_of_the_singular_values_and_its_gradient(shape: tuple[int, ...], decades: float) -> None:
    x, y = (matrix(*shape, decades=decades).requires_grad_() for _ in range(2))
    value, expected = by_products(x), torch.linalg.svdvals(y).sum(dim=-1)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
    value.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(x.grad, y.grad, rtol=0, atol=1e-10)


def test_of_a_matrix_without_full_rank_the_value_is_right_and_the_gradient_is_one() -> None:
    x = (matrix(30, 2) @ matrix(2, 8)).requires_grad_()
    by_products(x).backward()
    u, s, v = torch.linalg.svd(x.detach(), full_matrices=False)
    torch.testing.assert_close(by_products(x), s.sum(), rtol=1e-12, atol=0)
    torch.testing.assert_close(x.grad, u[:, :2] @ v[:2], rtol=0, atol=1e-7)
    assert torch.equal(polar(torch.zeros(3, 2)), torch.zeros(3, 2))


@pytest.mark.parametrize(("decades", "atol"), [(0.0, 2e-6), (1.5, 2e-6), (5.0, 1e-3)])
@pytest.mark.parametrize("dim", [4, 64])
def test_directpreds_matrix_is_that_of_the_eigenvectors(dim: int, decades: float, atol: float) -> None:
    z = matrix(256, dim, decades=decades).float()
    f = z.T @ z / len(z)
    torch.testing.assert_close(root_by_products(f, 0.01), root_spectrum(f, 0.01), rtol=0, atol=atol)


def test_directpreds_matrix_where_rounding_makes_eigenvalues_negative() -> None:
    z = (matrix(256, 2) @ matrix(2, 32)).float()
    f = z.T @ z / len(z)
    assert torch.linalg.eigvalsh(f)[0] < 0
    torch.testing.assert_close(root_by_products(f, 0.01), root_spectrum(f, 0.01), rtol=0, atol=1e-3)
    assert root_by_products(torch.zeros(3, 3), 0.1).isfinite().all()


def test_the_largest_eigenvalue_is_found_among_close_ones() -> None:
    values = torch.tensor([1.0, 1 - 1e-7, 0.999, 0.5, 0.0], dtype=torch.float64)
    basis = torch.linalg.qr(matrix(5, 5)).Q
    torch.testing.assert_close(largest_eigenvalue(basis * values @ basis.T), values[0], rtol=1e-7, atol=0)

"""The coding rate against eigenvalues, by hand, and against the loss of EMP-SSL in lightly, whose sign is wrong."""

import math

import pytest
import torch
from torch import Tensor

from ssl_zoo.batch import View
from ssl_zoo.objectives.coding_rate import CodingRate, coding_rate
from ssl_zoo.objectives.objective import Objective
from ssl_zoo.pairing.view_pairs import OneWay
from tests.tiny import paired


def embeddings(num: int = 2, batch: int = 9, dim: int = 4) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.randn(batch, dim, generator=g, dtype=torch.float64).requires_grad_() for _ in range(num)]


def oracle(z: Tensor, eps: float) -> Tensor:
    """1/2 sum_k log(1 + D / (B eps) lambda_k) over the eigenvalues of sum_b z_b z_b^T."""
    n, d = z.shape
    scatter = sum(torch.outer(row, row) for row in z)
    return 0.5 * torch.log1p(d / (n * eps) * torch.linalg.eigvalsh(scatter)).sum()


@pytest.mark.parametrize(("batch", "dim"), [(9, 4), (4, 9)])
def test_value_and_gradient_are_those_of_the_eigenvalues(batch: int, dim: int) -> None:
    z, w = embeddings(2, batch, dim)
    w.data.copy_(z.data)
    value, expected = coding_rate(z, 0.3), oracle(w, 0.3)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
    value.backward()
    expected.backward()
    torch.testing.assert_close(z.grad, w.grad, rtol=1e-9, atol=1e-12)


def test_by_hand() -> None:
    z = torch.eye(2, dtype=torch.float64)  # D / (B eps) = 2 / (2 * 0.5) = 2, so log det(I + 2 I) = 2 log 3
    assert coding_rate(z, 0.5).item() == pytest.approx(math.log(3))
    same = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)  # eigenvalues 2 and 0: 1/2 log(1 + 2 * 2)
    assert coding_rate(same, 0.5).item() == pytest.approx(0.5 * math.log(5))


def test_the_term_asks_for_more_volume() -> None:
    g = torch.Generator().manual_seed(1)
    spread = torch.randn(64, 8, generator=g)
    collapsed = torch.ones(64, 8) + 0.01 * spread
    assert CodingRate()([spread]) < CodingRate()([collapsed]) < 0


def test_mean_over_views_normalised_and_balanced() -> None:
    z = embeddings(3)
    unit = [x / x.norm(dim=1, keepdim=True) for x in z]
    mean = sum(oracle(x, 0.2) for x in unit) / 3
    torch.testing.assert_close(CodingRate()(z), -mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(CodingRate(balance=True)(z), -mean * (4 + 9) / (4 * 9), rtol=1e-12, atol=0)
    plain = sum(oracle(x, 0.2) for x in z) / 3
    torch.testing.assert_close(CodingRate(normalise=False)(z), -plain, rtol=1e-12, atol=0)


def test_lightly_has_the_same_number_with_the_other_sign() -> None:
    from lightly.loss.emp_ssl_loss import tcr_loss

    unit = torch.stack([x / x.norm(dim=1, keepdim=True) for x in embeddings(3)])
    torch.testing.assert_close(CodingRate(eps=0.2)(list(unit)), -tcr_loss(unit, eps=0.2), rtol=1e-6, atol=0)


def test_globals_only_where_it_is_asked_for() -> None:
    z = embeddings(3)
    views = [
        View(x, role=role, is_target=role == "global") for x, role in zip(z, ("global", "global", "local"), strict=True)
    ]
    for option, seen in (("all", z), ("globals", z[:2])):
        objective = Objective([("rate", 2.0, CodingRate(views=option))])
        value = objective(paired(OneWay(), z, z), z, views)["rate"]
        torch.testing.assert_close(value, 2 * CodingRate()(seen), rtol=1e-12, atol=0)


def test_gradient_in_float64() -> None:
    assert torch.autograd.gradcheck(lambda *z: CodingRate(balance=True)(list(z)), tuple(embeddings(2, 5, 3)))


@pytest.mark.parametrize("normalise", [True, False])
def test_a_dead_dimension_and_a_full_collapse_are_finite(normalise: bool) -> None:
    term = CodingRate(normalise=normalise)
    dead = torch.cat([embeddings(1)[0][:, :3], torch.ones(9, 1)], dim=1).detach().requires_grad_()
    point = torch.ones(9, 4).requires_grad_()
    zero = torch.zeros(9, 4).requires_grad_()
    for z in (dead, point, zero):
        value = term([z])
        value.backward()
        assert value.isfinite() and z.grad.isfinite().all()


def test_no_state_and_the_same_in_eval() -> None:
    term = CodingRate()
    z = embeddings()
    assert torch.equal(term(z), term.eval()(z)) and not list(term.buffers())

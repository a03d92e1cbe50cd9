"""TiCo's term over three steps against its algorithm written out, and against lightly's loss."""

import pytest
import torch
from torch import Tensor

from ssl_zoo.objectives.covariance_contrast import CovarianceContrast
from ssl_zoo.objectives.similarity import negative_cosine


def embeddings(seed: int, num: int = 1, batch: int = 9, dim: int = 4) -> list[Tensor]:
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, dim, generator=g, dtype=torch.float64).requires_grad_() for _ in range(num)]


class Paper:
    """The algorithm of the paper, one row at a time; C keeps its graph within a step only."""

    def __init__(self, dim: int, beta: float):
        self.c, self.beta = torch.zeros(dim, dim, dtype=torch.float64), beta

    def __call__(self, z: Tensor) -> Tensor:
        rows = [row / row.norm() for row in z]
        b = sum(torch.outer(row, row) for row in rows) / len(rows)
        c = self.beta * self.c + (1 - self.beta) * b
        self.c = c.detach()
        return sum(row @ c @ row for row in rows) / len(rows)


def test_three_steps_are_the_papers_algorithm_with_gradient_through_the_batchs_share() -> None:
    term, paper = CovarianceContrast(4, keep=0.8).double(), Paper(4, 0.8)
    for step in range(3):
        (z,), (w,) = embeddings(step), embeddings(step)
        value, expected = term([z]), paper(w)
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
        value.backward()
        expected.backward()
        torch.testing.assert_close(z.grad, w.grad, rtol=1e-10, atol=1e-14)
        term.after_step((step + 1) / 3)
        torch.testing.assert_close(term.covariance.value, paper.c, rtol=1e-12, atol=1e-15)


def test_by_hand() -> None:
    z = torch.tensor([[2.0, 0.0], [0.0, 3.0]])  # unit rows e1, e2: B = I/2, C = 0.1 B, mean z^T C z = 0.05
    term = CovarianceContrast(2, keep=0.9)
    assert term([z]).item() == pytest.approx(0.05)
    term.after_step(0.5)
    assert term([z]).item() == pytest.approx(0.9 * 0.1 / 2 + 0.05)


def test_three_steps_of_lightlys_loss_with_a_constant_c() -> None:
    from lightly.loss import TiCoLoss

    term, theirs = CovarianceContrast(4, through="none").double(), TiCoLoss(beta=0.9, rho=8.0)
    for step in range(3):
        (z, t), (w, s) = embeddings(step, 2), embeddings(step, 2)
        value, expected = 1 + negative_cosine(z, t) + 8 * term([z]), theirs(w, s)
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
        value.backward()
        expected.backward()
        torch.testing.assert_close(z.grad, w.grad, rtol=1e-10, atol=1e-14)
        term.after_step((step + 1) / 3)


def test_views_share_the_old_c_and_move_it_to_their_mean() -> None:
    z = embeddings(0, 2)
    term, first, second = (CovarianceContrast(4).double() for _ in range(3))
    torch.testing.assert_close(term(z), (first([z[0]]) + second([z[1]])) / 2, rtol=1e-12, atol=0)
    for each in (term, first, second):
        each.after_step(1.0)
    mean = (first.covariance.value + second.covariance.value) / 2
    torch.testing.assert_close(term.covariance.value, mean, rtol=1e-12, atol=1e-15)
    both = CovarianceContrast(4, views="sum").double()
    torch.testing.assert_close(both(z), 2 * CovarianceContrast(4).double()(z), rtol=1e-12, atol=0)


def test_accumulation_moves_c_once_to_the_mean_of_the_micro_batches() -> None:
    a, b = embeddings(0)[0], embeddings(1)[0]
    term = CovarianceContrast(4).double()
    first = term([a])
    term([b])
    assert torch.equal(term([a]), first)  # nothing has moved yet
    once = CovarianceContrast(4).double()
    once([a])
    once([b])
    once.after_step(0.1)
    units = [x / x.norm(dim=1, keepdim=True) for x in (a, b)]
    expected = 0.1 * sum(u.T @ u / 9 for u in units) / 2
    torch.testing.assert_close(once.covariance.value, expected.detach(), rtol=1e-12, atol=1e-15)


def test_state_resumes() -> None:
    one, other = CovarianceContrast(4).double(), CovarianceContrast(4).double()
    one(embeddings(0))
    one.after_step(0.1)
    other.load_state_dict(one.state_dict())
    assert list(one.state_dict()) == ["covariance.value"]
    assert torch.equal(one(embeddings(1)), other(embeddings(1)))


def test_same_value_in_eval_which_leaves_no_trace() -> None:
    term, z = CovarianceContrast(4).double(), embeddings(0)
    first = term.eval()(z)
    term.after_step(0.1)
    assert term.covariance.value.abs().sum() == 0
    assert torch.equal(term.train()(z), first)


@pytest.mark.parametrize("steps", [0, 2])
def test_gradient_in_float64(steps: int) -> None:
    term = CovarianceContrast(3).double()
    for step in range(steps):
        term(embeddings(step, 2, 5, 3))
        term.after_step(0.1)
    assert torch.autograd.gradcheck(lambda *z: term(list(z)), tuple(embeddings(7, 2, 5, 3)))


def test_a_dead_dimension_and_a_full_collapse_are_finite() -> None:
    for constant in (1.0, 0.0):
        dead = torch.cat([embeddings(0)[0][:, :3], torch.full((9, 1), constant)], dim=1).detach().requires_grad_()
        for z in (dead, torch.full((9, 4), constant).requires_grad_()):
            value = CovarianceContrast(4)([z])
            value.backward()
            assert value.isfinite() and z.grad.isfinite().all()

"""CorInfoMax's term over three steps against its recursion written out with eigenvalues."""

import math

import pytest
import torch
from torch import Tensor

from ssl_zoo.errors import UserError
from ssl_zoo.objectives.log_det_covariance import LogDetCovariance


def embeddings(seed: int, num: int = 2, batch: int = 9, dim: int = 4) -> list[Tensor]:
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, dim, generator=g, dtype=torch.float64).requires_grad_() for _ in range(num)]


class Paper:
    """Each view's mean and covariance, updated with the batch before their log det is taken."""

    def __init__(self, dim: int, keep: float, keep_mean: float, eps: float):
        self.keep, self.keep_mean, self.eps = keep, keep_mean, eps
        self.mu = [torch.zeros(dim, dtype=torch.float64)] * 2
        self.r = [torch.eye(dim, dtype=torch.float64)] * 2

    def __call__(self, z: list[Tensor]) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for v, x in enumerate(z):
            rows = [row / row.norm() for row in x]
            mu = self.keep_mean * self.mu[v] + (1 - self.keep_mean) * sum(rows) / len(rows)
            batch = sum(torch.outer(row - mu, row - mu) for row in rows) / len(rows)
            r = self.keep * self.r[v] + (1 - self.keep) * batch
            self.mu[v], self.r[v] = mu.detach(), r.detach()
            total = total - torch.log(torch.linalg.eigvalsh(r) + self.eps).sum() / x.shape[1]
        return total


def test_three_steps_are_the_recursion_with_gradient_through_mean_and_covariance() -> None:
    term = LogDetCovariance(4, keep=0.1, keep_mean=0.2, eps=1e-6)
    paper = Paper(4, 0.1, 0.2, 1e-6)
    for step in range(3):
        z, w = embeddings(step), embeddings(step)
        value, expected = term(z), paper(w)
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=0)
        value.backward()
        expected.backward()
        for x, y in zip(z, w, strict=True):
            torch.testing.assert_close(x.grad, y.grad, rtol=1e-8, atol=1e-12)
        term.after_step((step + 1) / 3)
        for v in range(2):
            torch.testing.assert_close(term.mean[v].value, paper.mu[v], rtol=1e-10, atol=1e-15)
            torch.testing.assert_close(term.covariance[v].value, paper.r[v], rtol=1e-10, atol=1e-15)


def test_by_hand() -> None:
    # two views of e1, -e1, e2, -e2 (twice as long): mean 0, covariance I/2, mixed half and half with I: 3/4 I
    z = 2 * torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    term = LogDetCovariance(2, keep=0.5, keep_mean=0.5, eps=1e-12)
    assert term([z, z]).item() == pytest.approx(-2 * (2 * math.log(0.75)) / 2)


def test_keep_weighs_the_old_value() -> None:
    z = embeddings(0)
    old = LogDetCovariance(4, keep=1.0, keep_mean=1.0, eps=1e-9)
    assert old(z).item() == pytest.approx(0, abs=1e-8)  # the covariance stays the identity
    term = LogDetCovariance(4, keep=0.0, keep_mean=0.0, eps=1e-9, normalise=False)
    expected = -sum(torch.logdet(torch.cov(x.T, correction=0)) for x in z) / 4
    torch.testing.assert_close(term(z), expected, rtol=1e-6, atol=0)


def test_accumulation_moves_once_to_the_mean_of_the_micro_batches() -> None:
    term = LogDetCovariance(4, keep=0.1, keep_mean=0.2)
    first = term(embeddings(0))
    term(embeddings(1))
    assert torch.equal(term.eval()(embeddings(0)), first)  # nothing has moved yet
    means = [term.mean[0].value.clone()]
    term.after_step(0.1)
    units = [x / x.norm(dim=1, keepdim=True) for x in (embeddings(0)[0], embeddings(1)[0])]
    expected = 0.2 * means[0] + 0.8 * (units[0].mean(0) + units[1].mean(0)) / 2
    torch.testing.assert_close(term.mean[0].value, expected.detach(), rtol=1e-12, atol=1e-15)


def test_state_resumes() -> None:
    one, other = LogDetCovariance(4), LogDetCovariance(4)
    one(embeddings(0))
    one.after_step(0.1)
    other.load_state_dict(one.state_dict())
    assert len(one.state_dict()) == 4
    assert torch.equal(one(embeddings(1)), other(embeddings(1)))


def test_same_value_in_eval_which_leaves_no_trace() -> None:
    term, z = LogDetCovariance(4), embeddings(0)
    first = term.eval()(z)
    term.after_step(0.1)
    assert torch.equal(term.covariance[0].value, torch.eye(4, dtype=torch.float64))
    assert torch.equal(term.train()(z), first)


@pytest.mark.parametrize("steps", [0, 2])
def test_gradient_in_float64(steps: int) -> None:
    term = LogDetCovariance(3, keep=0.1, keep_mean=0.1)
    for step in range(steps):
        term(embeddings(step, 2, 5, 3))
        term.after_step(0.1)
    assert torch.autograd.gradcheck(lambda *z: term(list(z)), tuple(embeddings(7, 2, 5, 3)))


def test_a_dead_dimension_and_a_full_collapse_are_finite_over_many_steps() -> None:
    for constant in (1.0, 0.0):
        dead = torch.cat([embeddings(0)[0][:, :3], torch.full((9, 1), constant)], dim=1).detach()
        for x in (dead, torch.full((9, 4), constant)):
            term = LogDetCovariance(4)
            for _ in range(30):  # the start, 0.01^30 of the identity, is forgotten
                z = [x.clone().requires_grad_() for _ in range(2)]
                value = term(z)
                value.backward()
                assert value.isfinite() and all(y.grad.isfinite().all() for y in z)
                term.after_step(0.1)


def test_another_number_of_views_is_a_user_error() -> None:
    with pytest.raises(UserError, match=r"made for 2 views but got 3; set its num_views"):
        LogDetCovariance(4)(embeddings(0, 3))

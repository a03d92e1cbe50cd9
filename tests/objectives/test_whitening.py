"""W-MSE's term: whitened means the covariance is the identity; against Gram-Schmidt and against lightly's loss."""

import pytest
import torch
from torch import Tensor

from ssl_zoo.errors import UserError
from ssl_zoo.objectives.whitening import WhitenedMSE, whiten


def embeddings(num: int = 2, batch: int = 12, dim: int = 3) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.randn(batch, dim, generator=g, dtype=torch.float64).requires_grad_() for _ in range(num)]


def gram_schmidt(z: Tensor) -> Tensor:
    """Each centred column less its part along the earlier ones, at length sqrt(B - 1): what L^-1 amounts to."""
    done: list[Tensor] = []
    for column in (z - z.mean(0)).T:
        for other in done:
            column = column - (column @ other) / (other @ other) * other
        done.append(column * ((len(z) - 1) / (column @ column)) ** 0.5)
    return torch.stack(done, dim=1)


def cosine_loss(a: Tensor, b: Tensor) -> Tensor:
    return sum(2 - 2 * (x @ y) / (x.norm() * y.norm()) for x, y in zip(a, b, strict=True)) / len(a)


def test_whitened_embeddings_have_the_identity_as_covariance() -> None:
    z = embeddings(1)[0] @ torch.tensor([[3.0, 1.0, 0.0], [0.0, 0.1, 2.0], [1.0, 0.0, 1.0]], dtype=torch.float64) + 5
    torch.testing.assert_close(torch.cov(whiten(z).T), torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-10)
    torch.testing.assert_close(whiten(z).mean(0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-10)


def test_whitening_is_gram_schmidt() -> None:
    z = embeddings(1)[0]
    torch.testing.assert_close(whiten(z), gram_schmidt(z), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("num", [2, 3])
def test_value_and_gradient_on_the_whole_batch(num: int) -> None:
    z, w = embeddings(num), embeddings(num)
    white = [gram_schmidt(x) for x in w]
    pairs = [(i, j) for i in range(num) for j in range(i + 1, num)]
    expected = sum(cosine_loss(white[i], white[j]) for i, j in pairs) / len(pairs)
    value = WhitenedMSE(sub_batch=None, eps=0.0)(z)
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=0)
    value.backward()
    expected.backward()
    for x, y in zip(z, w, strict=True):  # both views of every pair get their gradient
        torch.testing.assert_close(x.grad, y.grad, rtol=1e-8, atol=1e-11)
        assert x.grad.abs().sum() > 0


def test_lightlys_loss_on_one_sub_batch() -> None:
    from lightly.loss import WMSELoss

    z, w = (torch.cat(embeddings(3)).float().detach().requires_grad_() for _ in range(2))
    value = WhitenedMSE(sub_batch=12, eps=0.0)(list(z.chunk(3)))
    expected = WMSELoss(embedding_dim=3, w_size=12, num_samples=3, track_running_stats=False)(w)
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)  # theirs in float32
    value.backward()
    expected.backward()
    torch.testing.assert_close(z.grad, w.grad, rtol=1e-3, atol=1e-5)


def test_sub_batches_are_whitened_by_themselves() -> None:
    z = embeddings(2, batch=16)
    term = WhitenedMSE(sub_batch=8, eps=0.0)
    ((first, second),) = term._sub_batches(16, 3)
    assert sorted(torch.cat([first, second]).tolist()) == list(range(16)) and len(first) == len(second) == 8
    white = [[gram_schmidt(x[index]) for index in (first, second)] for x in z]
    expected = (cosine_loss(white[0][0], white[1][0]) + cosine_loss(white[0][1], white[1][1])) / 2
    torch.testing.assert_close(term(z), expected, rtol=1e-10, atol=0)


def test_a_batch_is_cut_evenly_into_sub_batches_of_at_least_the_size() -> None:
    assert [len(x) for x in WhitenedMSE(sub_batch=8)._sub_batches(21, 3)[0]] == [11, 10]
    assert [len(x) for x in WhitenedMSE(sub_batch=8)._sub_batches(7, 3)[0]] == [7]


def test_shuffles_depend_on_step_iteration_and_seed_only() -> None:
    def order(term: WhitenedMSE) -> list[list[int]]:
        return [torch.cat(parts).tolist() for parts in term._sub_batches(12, 3)]

    term = WhitenedMSE(sub_batch=6, iterations=2)
    first = order(term)
    assert first == order(term) == order(WhitenedMSE(sub_batch=6, iterations=2)) and first[0] != first[1]
    assert first != order(WhitenedMSE(sub_batch=6, iterations=2, seed=1))
    term.after_step(0.1)
    assert order(term) != first
    resumed = WhitenedMSE(sub_batch=6, iterations=2)
    resumed.load_state_dict(term.state_dict())
    assert order(resumed) == order(term)


def test_iterations_are_averaged() -> None:
    z = embeddings(2, batch=16)
    many = WhitenedMSE(sub_batch=8, iterations=3, eps=0.0)
    values = []
    for indices in many._sub_batches(16, 3):
        white = [torch.cat([gram_schmidt(x[index]) for index in indices]) for x in z]
        values.append(cosine_loss(*white))
    torch.testing.assert_close(many(z), sum(values) / 3, rtol=1e-10, atol=0)


def test_a_dead_dimension_and_a_full_collapse_are_finite() -> None:
    for constant in (1.0, 0.0):
        dead = [torch.cat([x[:, :2], torch.full((12, 1), constant)], 1).detach().requires_grad_() for x in embeddings()]
        point = [torch.full((12, 3), constant).requires_grad_() for _ in range(2)]
        for z in (dead, point):
            value = WhitenedMSE(sub_batch=None)(z)
            value.backward()
            assert value.isfinite() and all(x.grad.isfinite().all() for x in z)


def test_a_singular_covariance_without_shrinkage_is_nan_not_a_wrong_number() -> None:
    dead = [torch.cat([x[:, :2], torch.ones(12, 1)], 1) for x in embeddings()]
    assert WhitenedMSE(sub_batch=None, eps=0.0)(dead).isnan()


def test_same_value_in_eval() -> None:
    term, z = WhitenedMSE(sub_batch=6), embeddings()
    assert torch.equal(term(z), term.eval()(z))


def test_too_few_samples_are_a_user_error() -> None:
    with pytest.raises(UserError, match="3 samples cannot whiten 3 dimensions"):
        WhitenedMSE()(embeddings(2, batch=3, dim=3))

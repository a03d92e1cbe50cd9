"""Numbers from a hash: of the right distribution, and functions of key, step and place alone."""

import torch

from ssl_zoo.objectives.slices import Slices
from ssl_zoo.objectives.whitening import WhitenedMSE
from ssl_zoo.rng import hashed_normal, hashed_order


def test_hashed_numbers_are_normal_and_uncorrelated() -> None:
    x = hashed_normal(1, 2, torch.arange(512), 64)
    assert x.shape == (512, 64) and x.dtype == torch.float32 and x.isfinite().all() and x.abs().max() < 6
    quantiles = torch.distributions.Normal(0, 1).cdf(x.flatten().sort().values)
    expected = (torch.arange(x.numel()) + 0.5) / x.numel()
    assert (quantiles - expected).abs().max() < 1.63 / x.numel() ** 0.5  # Kolmogorov and Smirnov, at 1 %
    correlation = torch.corrcoef(x.T) - torch.eye(64)
    assert correlation.abs().max() < 5 / 512**0.5
    assert torch.equal(x[3:5], hashed_normal(1, 2, torch.arange(3, 5), 64))
    for key, step in ((0, 2), (1, 3)):
        assert not torch.equal(x, hashed_normal(key, step, torch.arange(512), 64))


def test_a_hashed_order_holds_each_number_once_and_all_places_are_equally_likely() -> None:
    orders = torch.stack([hashed_order(0, torch.tensor(step), 4) for step in range(400)])
    assert torch.equal(orders.sort(dim=1).values, torch.arange(4).expand(400, 4))
    counts = torch.stack([orders[:, place].bincount(minlength=4) for place in range(4)])
    assert ((counts - 100) ** 2 / 100).sum() < 21.7  # chi-squared with 9 degrees of freedom, at 1 %


def test_terms_draw_by_the_hash_off_the_cpu(monkeypatch) -> None:
    like = torch.zeros(2, 6)
    plain = Slices(4, seed=0)(like)
    monkeypatch.setattr("ssl_zoo.rng.draws_on_host", lambda device: False)
    slices, term = Slices(4, seed=0), WhitenedMSE(sub_batch=6)
    hashed, (order,) = slices(like), term._sub_batches(12, 3)
    torch.testing.assert_close(hashed.norm(dim=0), torch.ones(4))
    assert not torch.equal(plain, hashed) and torch.equal(hashed, slices(like))
    assert torch.equal(torch.cat(order).sort().values, torch.arange(12))
    for part in (slices.step, term):
        part.advance() if part is slices.step else part.after_step(0.1)
    assert not torch.equal(slices(like), hashed)
    assert not torch.equal(torch.cat(term._sub_batches(12, 3)[0]), torch.cat(order))

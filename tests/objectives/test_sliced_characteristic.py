"""LeJEPA's SIGReg against the closed form of its integral, golden numbers, and lightly's loss."""

import math

import pytest
import torch
from torch import Tensor

from ssl_zoo.objectives.sliced_characteristic import SlicedCharacteristic, epps_pulley
from ssl_zoo.objectives.slices import Slices


def embeddings(num: int = 2, batch: int = 9, dim: int = 4) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.randn(batch, dim, generator=g, dtype=torch.float64) for _ in range(num)]


def closed_form(x: Tensor) -> Tensor:
    """The integral over the whole line, from int exp(i t a) exp(-c t^2 / 2) dt = sqrt(2 pi / c) exp(-a^2 / (2 c))."""
    among = (-((x[:, None] - x[None, :]) ** 2) / 2).exp().mean() * math.sqrt(2 * math.pi)
    to_gauss = (-(x**2) / 4).exp().mean() * math.sqrt(math.pi)
    return among - 2 * to_gauss + math.sqrt(2 * math.pi / 3)


def test_value_and_gradient_are_those_of_the_closed_form() -> None:
    x = embeddings()[0].requires_grad_()
    value = epps_pulley(x, knots=1001, reach=9.0)
    expected = torch.stack([closed_form(column) for column in x.unbind(dim=1)])
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-12)
    mine, theirs = (torch.autograd.grad(v.sum(), x, retain_graph=True)[0] for v in (value, expected))
    torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-12)


def test_golden_number_of_a_collapsed_sample() -> None:
    # All samples at 0: sqrt(2 pi) - 2 sqrt(pi) + sqrt(2 pi / 3) = 2.506628 - 3.544908 + 1.447203
    value = epps_pulley(torch.zeros(5, 1, dtype=torch.float64), knots=1001, reach=9.0)
    assert value.item() == pytest.approx(0.408923, abs=1e-6)


def test_the_codes_rule_by_hand() -> None:
    # Knots 0, 1.5, 3, steps 0.75, 1.5, 0.75, twice; samples at 0, so that the error is (1 - g)^2 with g = exp(-t^2 / 2)
    g1, g2 = math.exp(-1.125), math.exp(-4.5)
    expected = 2 * (1.5 * (1 - g1) ** 2 * g1 + 0.75 * (1 - g2) ** 2 * g2)
    assert epps_pulley(torch.zeros(3, 1), knots=3).item() == pytest.approx(expected, rel=1e-6)


def test_a_gaussian_sample_is_near_zero_and_others_are_not() -> None:
    g = torch.Generator().manual_seed(0)
    gauss = torch.randn(20000, 1, generator=g)
    coin = torch.randint(0, 2, (20000, 1), generator=g) * 2.0 - 1  # mean 0 and variance 1 too
    assert epps_pulley(gauss).item() < 1e-3 < 1e-2 < epps_pulley(coin).item()


def test_number_of_samples_is_a_factor_that_can_be_left_out() -> None:
    z = embeddings()
    with_factor, without = (SlicedCharacteristic(slices=8, times_samples=flag)(z) for flag in (True, False))
    torch.testing.assert_close(with_factor, 9 * without)


def test_agrees_with_lightly_on_the_same_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    from lightly.loss.lejepa_loss import SIGReg

    z = torch.stack([x.float() for x in embeddings(batch=32)])
    ours = SlicedCharacteristic(slices=16)
    theirs = SIGReg(num_vectors=16)
    monkeypatch.setattr(theirs, "_generate_unit_vectors", lambda *_: ours.directions(z[0]))
    torch.testing.assert_close(ours(list(z)), theirs(z), rtol=1e-5, atol=0)


def test_slices_are_unit_a_function_of_the_step_and_survive_a_checkpoint() -> None:
    like = torch.zeros(2, 6)
    first, second = Slices(4, seed=0), Slices(4, seed=0)
    torch.testing.assert_close(first(like).norm(dim=0), torch.ones(4))
    assert torch.equal(first(like), second(like)) and torch.equal(first(like), first(like))
    before = first(like)
    first.step.advance()
    assert not torch.equal(first(like), before)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(like), second(like))
    assert not torch.equal(Slices(4, seed=1)(like), Slices(4, seed=0)(like))
    torch.testing.assert_close(second(like.double()), first(like).double(), rtol=0, atol=0)


def test_a_dead_dimension_gives_finite_loss_and_gradient() -> None:
    z = [torch.cat([x[:, :3], torch.ones(9, 1, dtype=x.dtype)], dim=1).requires_grad_() for x in embeddings()]
    value = SlicedCharacteristic(slices=8)(z)
    value.backward()
    assert value.isfinite() and all(x.grad.isfinite().all() for x in z)

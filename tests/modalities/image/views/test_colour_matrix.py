"""The jitter as one matrix: equal to the changes one by one where nothing is clipped, and what differs, in numbers."""

import itertools

import pytest
import torch
from torch import Tensor

from ssl_zoo.modalities.image.views import colour
from ssl_zoo.modalities.image.views.colour_matrix import _turns, recolour

ORDERS = torch.tensor(list(itertools.permutations(range(4))))


def images(num: int, channels: int, low: float = 0.4, high: float = 0.6, size: int = 9) -> Tensor:
    """Images whose values are far from 0 and 1, so that the changes below clip nothing."""
    g = torch.Generator().manual_seed(0)
    return (low + (high - low) * torch.rand(num, channels, size, size, generator=g)).double()


def draws(num: int, turn: float) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    factors = 0.9 + 0.2 * torch.rand(num, 4, generator=g).double()
    factors[:, 3] = turn
    return factors, ORDERS[torch.arange(num) % len(ORDERS)]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_brightness_contrast_and_saturation_are_the_exact_ones_in_every_order(channels: int) -> None:
    x = images(24, channels)
    factors, order = draws(24, 0.0)
    chosen, used = torch.arange(24) % 5 != 0, (True, True, channels == 3, channels == 3)
    result = recolour(x, factors, order, chosen, used, None)
    torch.testing.assert_close(result, colour.jitter(x, factors, order, chosen, used), atol=1e-12, rtol=0)
    assert float((result - x).abs().max()) > 0.01


def test_all_four_changes_are_made_in_each_samples_order() -> None:
    """The oracle: torchvision's changes one by one, the hue by the rotation; nothing is clipped."""
    x = images(24, 3)
    factors, order = draws(24, 0.07)
    everywhere = torch.ones(24, dtype=torch.bool)
    result = recolour(x, factors, order, everywhere, (True,) * 4, None)
    for i in range(24):
        expected = x[i : i + 1]
        for number in order[i].tolist():
            factor = factors[i : i + 1, number]
            if number == 3:
                expected = (_turns(factor).permute(2, 0, 1) @ expected.flatten(2)).view_as(expected)
            else:
                expected = colour.JITTERS[number](expected, factor)
        torch.testing.assert_close(result[i : i + 1], expected, atol=1e-8, rtol=0)  # grey weights are float32 there


def test_the_order_counts_where_the_hue_turns() -> None:
    """Brightness, contrast and saturation commute; the grey value that saturation blends with is not hue's axis."""
    x = images(24, 3)
    factors, order = draws(24, 0.1)
    everywhere = torch.ones(24, dtype=torch.bool)
    one, other = (recolour(x, factors, o, everywhere, (True,) * 4, None) for o in (order, order.flip(1)))
    assert float((one - other).abs().max()) > 1e-3


@pytest.mark.parametrize("third", [1, 2])
def test_the_hue_is_hsvs_at_thirds_of_the_circle(third: int) -> None:
    x = images(4, 3)
    factor = torch.full((4,), third / 3).double()
    expected = colour.hue(x, factor)
    turned = (_turns(factor).permute(2, 0, 1) @ x.flatten(2)).view_as(x)
    torch.testing.assert_close(turned, expected, atol=1e-6, rtol=0)  # colour.hue computes its constants in float32


def test_grey_comes_after_the_jitter() -> None:
    x = images(6, 3)
    factors, order = draws(6, 0.1)
    chosen, grey = torch.tensor([True, False] * 3), torch.tensor([True] * 3 + [False] * 3)
    plain = recolour(x, factors, order, chosen, (True,) * 4, None)
    result = recolour(x, factors, order, chosen, (True,) * 4, grey)
    torch.testing.assert_close(result[grey], colour.luma(plain[grey]).expand(-1, 3, -1, -1), atol=1e-12, rtol=0)
    assert torch.equal(result[~grey], plain[~grey])


def test_changes_that_are_not_used_are_not_made() -> None:
    x = images(5, 3)
    factors, order = draws(5, 0.1)
    everywhere = torch.ones(5, dtype=torch.bool)
    assert torch.allclose(recolour(x, factors, order, everywhere, (False,) * 4, None), x, atol=1e-15)
    assert torch.allclose(recolour(x, factors, order, ~everywhere, (True,) * 4, None), x, atol=1e-15)


def test_the_difference_from_torchvisions_jitter_on_the_full_range_is_what_the_docs_say() -> None:
    """Uniform noise is the worst case: most values are near a bound or saturated."""
    g = torch.Generator().manual_seed(2)
    num = 240
    x = torch.rand(num, 3, 32, 32, generator=g)
    low, high = torch.tensor([0.6, 0.6, 0.6, -0.1]), torch.tensor([1.4, 1.4, 1.4, 0.1])
    factors = torch.lerp(low, high, torch.rand(num, 4, generator=g))
    order, everywhere = ORDERS[torch.arange(num) % 24], torch.ones(num, dtype=torch.bool)
    exact = colour.jitter(x, factors, order, everywhere, (True,) * 4)
    fast = recolour(x, factors, order, everywhere, (True,) * 4, None)
    mean = float((exact - fast).abs().mean()) * 255
    change = float((exact - x).abs().mean()) * 255
    assert mean < 12 and mean < change / 3  # levels of 255; the jitter itself moves them by more than three times that

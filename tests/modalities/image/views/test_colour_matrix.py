"""The jitter as one matrix: equal to the changes one by one where nothing is clipped, and what differs, in numbers."""

import itertools

import pytest
import torch
import torchvision.transforms.v2.functional as TF
from torch import Tensor

from ssl_zoo.modalities.image.views.colour_matrix import hue_rotations, recolour

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


def brightness(image: Tensor, factor: float) -> Tensor:
    return (image * factor).clamp(0, 1)


def contrast(image: Tensor, factor: float) -> Tensor:
    """About the mean of each channel: bands of other quantities have no common grey."""
    return torch.lerp(image.mean(dim=(1, 2), keepdim=True), image, factor).clamp(0, 1)


ADJUST = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)
OTHER = (brightness, contrast)
"""torchvision changes images of 1 or 3 channels only."""


def one_by_one(x: Tensor, factors: Tensor, order: Tensor, chosen: Tensor, used: tuple[bool, ...]) -> Tensor:
    """torchvision's changes of one image after the other, each in its own order."""
    made = []
    for image, factor, turns, wanted in zip(x, factors.tolist(), order.tolist(), chosen.tolist(), strict=True):
        for number in turns if wanted else []:
            if used[number] and (number, factor[number]) != (3, 0.0):  # torchvision would turn to float32
                image = (ADJUST if len(image) in (1, 3) else OTHER)[number](image, factor[number])
        made.append(image)
    return torch.stack(made)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_brightness_contrast_and_saturation_are_the_exact_ones_in_every_order(channels: int) -> None:
    x = images(24, channels)
    factors, order = draws(24, 0.0)
    chosen, used = torch.arange(24) % 5 != 0, (True, True, channels == 3, channels == 3)
    result = recolour(x, factors, order, chosen, used, None)
    torch.testing.assert_close(result, one_by_one(x, factors, order, chosen, used), atol=1e-12, rtol=0)
    assert float((result - x).abs().max()) > 0.01


def test_all_four_changes_are_made_in_each_samples_order() -> None:
    """The oracle: torchvision's changes one by one, the hue by the rotation; nothing is clipped."""
    x = images(24, 3)
    factors, order = draws(24, 0.07)
    everywhere = torch.ones(24, dtype=torch.bool)
    result = recolour(x, factors, order, everywhere, (True,) * 4, None)
    for i in range(24):
        expected = x[i]
        for number in order[i].tolist():
            if number == 3:
                rotation = hue_rotations(factors[i : i + 1, 3])[..., 0]
                expected = (rotation @ expected.flatten(1)).view_as(expected)
            else:
                expected = ADJUST[number](expected, float(factors[i, number]))
        torch.testing.assert_close(result[i], expected, atol=1e-8, rtol=0)


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
    expected = TF.adjust_hue(x, third / 3 if third == 1 else third / 3 - 1)
    turned = (hue_rotations(factor).permute(2, 0, 1) @ x.flatten(2)).view_as(x)
    torch.testing.assert_close(turned, expected, atol=1e-6, rtol=0)  # torchvision turns the hue in float32


def test_grey_comes_after_the_jitter() -> None:
    x = images(6, 3)
    factors, order = draws(6, 0.1)
    chosen, grey = torch.tensor([True, False] * 3), torch.tensor([True] * 3 + [False] * 3)
    plain = recolour(x, factors, order, chosen, (True,) * 4, None)
    result = recolour(x, factors, order, chosen, (True,) * 4, grey)
    torch.testing.assert_close(result[grey], TF.rgb_to_grayscale(plain[grey], 3), atol=1e-12, rtol=0)
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
    exact = one_by_one(x, factors, order, everywhere, (True,) * 4)
    fast = recolour(x, factors, order, everywhere, (True,) * 4, None)
    mean = float((exact - fast).abs().mean()) * 255
    change = float((exact - x).abs().mean()) * 255
    assert mean < 12 and mean < change / 3  # levels of 255; the jitter itself moves them by more than three times that

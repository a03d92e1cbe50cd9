"""Colour: batched changes with a parameter a sample equal torchvision's on one image after another."""

import itertools

import pytest
import torch
import torchvision.transforms.v2.functional as TF
from torch import Tensor

from ssl_zoo.modalities.image.views import colour

ADJUST = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)
TOLERANCE = 1e-5


def images(num: int, channels: int = 3, size: int = 12) -> Tensor:
    """Random images with the values where cases meet: black, white, greys, pure and equal channels."""
    x = torch.rand(num, channels, size, size, generator=torch.Generator().manual_seed(0))
    x[:, :, 0, 0], x[:, :, 0, 1], x[:, :, 0, 2] = 0, 1, 0.5
    if channels == 3:
        for place, pixel in enumerate(itertools.product([0.0, 0.25, 1.0], repeat=3)):
            x[:, :, 1 + place // 12, place % 12] = torch.tensor(pixel)
    return x


def per_sample(x: Tensor, factors: Tensor, adjust) -> Tensor:
    return torch.stack([adjust(image, float(factor)) for image, factor in zip(x, factors, strict=True)])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("number, low, high", [(0, 0, 2), (1, 0, 2), (2, 0, 2), (3, -0.5, 0.5)])
def test_each_change_is_torchvisions(number, low, high, channels):
    x = images(41, channels)
    factors = torch.linspace(low, high, len(x))  # both ends, and no change in the middle
    result = colour.JITTERS[number](x, factors)
    torch.testing.assert_close(result, per_sample(x, factors, ADJUST[number]), atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(result[20], x[20], atol=1e-6, rtol=0)
    assert float(result.min()) >= 0 and float(result.max()) <= 1


def test_grey_is_torchvisions_and_only_where_it_is_chosen():
    x, chosen = images(6), torch.arange(6) % 2 == 0
    result = colour.grey(x, chosen)
    torch.testing.assert_close(result[chosen], TF.rgb_to_grayscale(x[chosen], 3), atol=TOLERANCE, rtol=0)
    assert torch.equal(result[~chosen], x[~chosen])
    single = images(6, 1)
    assert torch.equal(colour.grey(single, chosen), single)


@pytest.mark.parametrize("threshold", [0.0, 0.25, 128 / 255, 1.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_solarise_is_torchvisions_and_only_where_it_is_chosen(threshold, channels):
    x, chosen = images(6, channels), torch.arange(6) % 2 == 0
    result = colour.solarise(x, chosen, threshold)
    assert torch.equal(result[chosen], TF.solarize(x[chosen], threshold)) and torch.equal(result[~chosen], x[~chosen])


def test_solarise_inverts_the_pixels_at_the_threshold_as_pil_does():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    result = colour.solarise(levels.float() / 255, torch.tensor([True]), 128 / 255)
    assert torch.equal((result * 255).round(), TF.solarize(levels, 128).float())


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_applies_torchvisions_changes_in_each_samples_order(channels):
    order = torch.tensor(list(itertools.permutations(range(4))))
    x, g = images(len(order), channels), torch.Generator().manual_seed(1)
    factors = torch.rand(len(x), 4, generator=g) * torch.tensor([1.6, 1.6, 1.6, 1.0]) + torch.tensor(
        [0.2, 0.2, 0.2, -0.5]
    )
    chosen = torch.arange(len(x)) % 5 != 0
    expected = []
    for image, factor, turns, wanted in zip(x, factors, order, chosen, strict=True):
        for number in turns.tolist() if wanted else []:
            image = ADJUST[number](image, float(factor[number]))
        expected.append(image)
    before = x.clone()
    result = colour.jitter(x, factors, order, chosen, (True,) * 4)
    torch.testing.assert_close(result, torch.stack(expected), atol=TOLERANCE, rtol=0)
    assert torch.equal(x, before)  # the images given are left as they are
    if channels == 3:  # the order matters, so the equality above says something
        assert float((result - colour.jitter(x, factors, order.flip(1), chosen, (True,) * 4)).abs().max()) > 0.05


@pytest.mark.parametrize("number", range(4))
def test_jitter_leaves_out_the_changes_that_are_not_used(number):
    x, g = images(8), torch.Generator().manual_seed(1)
    factors = torch.rand(8, 4, generator=g) * 0.5
    order = torch.rand(8, 4, generator=g).argsort(dim=1)
    used = tuple(i == number for i in range(4))
    result = colour.jitter(x, factors, order, torch.ones(8, dtype=torch.bool), used)
    assert torch.equal(result, colour.JITTERS[number](x, factors[:, number]))


def test_jitter_of_no_sample_changes_nothing():
    x = images(3)
    none = torch.zeros(3, dtype=torch.bool)
    assert torch.equal(colour.jitter(x, torch.zeros(3, 4), torch.arange(4).expand(3, 4), none, (True,) * 4), x)

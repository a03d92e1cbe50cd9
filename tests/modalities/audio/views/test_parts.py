"""The parts of the views, each against its formula or a plain implementation of one sample."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_zoo.modalities.audio.log_mel import MelSettings
from ssl_zoo.modalities.audio.sound import Sound
from ssl_zoo.modalities.audio.views import backgrounds, crops, excerpts, picture
from ssl_zoo.rng import generator

G = generator(0, "views")


def test_mixing_adds_powers() -> None:
    """BYOL-A: log((1 - ratio) exp(x) + ratio exp(background))."""
    x, background = torch.randn(2, 5, 6, 7, generator=G, dtype=torch.float64)
    ratio = torch.tensor([0.0, 0.1, 0.25, 0.399, 0.4], dtype=torch.float64)
    r = ratio[:, None, None]
    expected = torch.log((1 - r) * torch.exp(x) + r * torch.exp(background))
    torch.testing.assert_close(backgrounds.mix(x, background, ratio), expected)
    assert torch.equal(backgrounds.mix(x, background, ratio)[0], x[0])
    torch.testing.assert_close(backgrounds.mix(x, x, ratio), x)
    loud = backgrounds.mix(x.float() + 500, background.float() + 500, ratio.float())
    torch.testing.assert_close(loud, (expected + 500).float())


def test_made_noise_is_of_mean_0_and_its_spectra_fall() -> None:
    settings = MelSettings(8000, 512, 512, 160, 32, 60, 3800)
    noise = backgrounds.made_noise(64, 5000, settings)
    assert noise.shape == (64, 32, 32) and torch.equal(noise, backgrounds.made_noise(64, 5000, settings))
    torch.testing.assert_close(noise.mean(dim=(1, 2)), torch.zeros(64), rtol=0, atol=1e-5)
    # Bands get wider as frequencies rise, so that white noise rises; brown noise falls by 2 in log power per log Hz.
    low, high = noise[:, 8].mean(dim=1), noise[:, 24].mean(dim=1)
    slope = (high - low) / math.log(2595 / 700)
    assert slope.min() < -0.5 < 0 < slope.max() and slope.max() - slope.min() > 1


def crop_of_one(x: Tensor, extent: Tensor, place: Tensor, scales, boundary) -> Tensor:
    """Return the crop of a spectrogram `(F, T)` as BYOL-A makes it: on a canvas of zeros, cut, bicubic resize."""
    sizes = [int(side * factor) for side, factor in zip(x.shape, boundary, strict=True)]
    canvas = torch.zeros(*sizes)
    top, left = ((outer - inner) // 2 for outer, inner in zip(sizes, x.shape, strict=True))
    canvas[top : top + x.shape[0], left : left + x.shape[1]] = x
    cut = []
    for axis in range(2):
        low, high = scales[axis]
        num = min(max(1, int((low + (high - low) * extent[axis].item()) * x.shape[axis])), sizes[axis])
        start = min(int(place[axis].item() * (sizes[axis] - num + 1)), sizes[axis] - num)
        cut.append(slice(start, start + num))
    return F.interpolate(canvas[cut[0], cut[1]][None, None], x.shape, mode="bicubic", align_corners=True)[0, 0]


@pytest.mark.parametrize("boundary", [(1.0, 1.5), (1.0, 1.0), (1.3, 2.0)])
@pytest.mark.parametrize("scales", [((0.6, 1.5), (0.6, 1.5)), ((0.02, 0.3), (1.0, 1.0))])
def test_crops_are_those_of_a_plain_implementation(boundary, scales) -> None:
    x = torch.randn(20, 24, 31, generator=G)
    drawn = torch.rand(20, 4, generator=G)
    drawn[0], drawn[1] = 0.0, 1 - 2**-24
    found = x
    for axis in range(2):
        start, num = crops.draw_sides(
            drawn[:, 2 * axis], drawn[:, 2 * axis + 1], x.shape[1 + axis], scales[axis], boundary[axis]
        )
        found = crops.resize_axis(found, start, num, 1 + axis)
    expected = [crop_of_one(each, d[0::2], d[1::2], scales, boundary) for each, d in zip(x, drawn, strict=True)]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-4)


def test_what_is_seen_is_within_the_sample() -> None:
    start, extent = crops.seen(torch.tensor([-0.2, 0.1, 0.9, 1.5, -2.0]), torch.tensor([0.5, 0.2, 0.4, 0.4, 0.1]))
    torch.testing.assert_close(start, torch.tensor([0.0, 0.1, 0.9, 0.999, 0.0]))
    torch.testing.assert_close(extent, torch.tensor([0.3, 0.2, 0.1, 0.001, 0.001]))


def test_excerpts_of_longer_and_shorter_recordings() -> None:
    ramp = Sound(torch.arange(1, 11).to(torch.int16), 8000)
    places = [i / 100 for i in range(100)]
    assert sorted({excerpts.first_sample(10, 4, u) for u in places}) == list(range(7))
    assert sorted({excerpts.first_sample(4, 10, u) for u in places}) == list(range(-6, 1))
    assert excerpts.first_sample(10, 4, math.nextafter(1, 0)) == 6
    whole = ramp.part(0, 10)
    assert torch.equal(excerpts.excerpt(ramp, 3, 4, "zeros"), whole[3:7])
    padded = excerpts.excerpt(ramp, -2, 15, "zeros")
    assert torch.equal(padded, torch.cat([torch.zeros(2), whole, torch.zeros(3)]))
    again = excerpts.excerpt(ramp, -2, 25, "repeat")
    assert torch.equal(again, torch.cat([whole[-2:], whole, whole, whole[:3]]))
    assert excerpts.place_in(10, -2, 15) == (-0.2, 1.5)


def test_colours_go_from_dark_to_bright() -> None:
    colours = picture.coloured(torch.linspace(-1, 3, 50), -1, 3)
    assert colours.shape == (3, 50) and colours.dtype == torch.uint8
    assert colours[:, 0].tolist() == [68, 1, 84] and colours[:, -1].tolist() == [253, 231, 37]
    grey = (colours.double() * torch.tensor([0.299, 0.587, 0.114])[:, None]).sum(dim=0)
    assert (grey.diff() > 0).all()
    assert torch.equal(
        picture.coloured(torch.tensor([-9.0, 9.0]), 0, 1), picture.coloured(torch.tensor([0.0, 1.0]), 0, 1)
    )

"""Large images one at a time: the same crops and blurs as by matrices, and so as torchvision's."""

import pytest
import torch
import torchvision.transforms.v2.functional as TF

from ssl_zoo.modalities.image.views import geometry, geometry_large
from ssl_zoo.modalities.image.views import render as rendering
from ssl_zoo.modalities.image.views.augment import Augment
from ssl_zoo.rng import generator


def images(num: int, height: int, width: int, channels: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (num, channels, height, width), generator=generator(0, "x"), dtype=torch.uint8)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("box", [[0, 0, 150, 130], [20, 3, 40, 60], [149, 129, 1, 1], [10, 11, 96, 96]])
def test_a_cut_is_torchvisions_resized_crop(interpolation, box):
    (image,) = images(1, 150, 130)
    mode = TF.InterpolationMode(interpolation)
    expected = TF.resized_crop(image, *box, [96, 96], interpolation=mode, antialias=True)
    made = geometry_large.cut(image, box, 96, interpolation)
    assert made.dtype == torch.uint8 and made.shape == (3, 96, 96)
    if interpolation == "bilinear":
        assert int((made.int() - expected.int()).abs().max()) <= 1
    in_float = TF.resized_crop(image.float(), *box, [96, 96], interpolation=mode, antialias=True).clamp(0, 255)
    assert float((made - in_float).abs().max()) <= 1


@pytest.mark.parametrize("height, width", [(96, 96), (100, 70), (33, 16), (7, 40)])
@pytest.mark.parametrize("sigma, radius", [(0.1, 6), (2.0, 6), (0.7, 3), (1.0, 0)])
def test_bands_blur_as_whole_matrices_do(height, width, sigma, radius):
    x = torch.rand(3, height, width, generator=generator(0, "x"))
    kernel = geometry.half_kernels(torch.tensor([sigma]), radius)
    expected = geometry.convolve(x[None], kernel)[0]
    for out in (torch.empty_like(x), x):  # the last one in place
        geometry_large.convolve_large(x, kernel[0], out=out)
        torch.testing.assert_close(out, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("colour", ["matrix", "exact"])
def test_large_views_are_those_of_matrices_within_a_level(monkeypatch, interpolation, colour):
    """The jitter is left out: it may enlarge what rounding to whole levels changes."""
    policy = Augment(size=72, interpolation=interpolation, colour=colour, jitter=0.0, blur=0.5)
    x = images(6, 90, 80)
    payload = policy.collate(x, policy.draw(generator(0, "views"), 6))
    large = policy(payload)
    monkeypatch.setattr(geometry_large, "LARGE", 1000)
    for one, other in zip(large, policy(payload), strict=True):
        assert float(((one.data - other.data).abs() * policy.std).max()) <= 1.01 / 255
        assert torch.equal(one.aux["box"], other.aux["box"])


@pytest.mark.parametrize("size", [24, 72])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_views_are_the_same_whatever_the_blocks_and_threads(monkeypatch, threads, size):
    policy = Augment(size=size, solarise=[0.0, 0.5])
    x = images(20, size + 8, size + 8)
    payload = policy.collate(x, policy.draw(generator(0, "views"), 20))
    whole = policy(payload)
    before = torch.get_num_threads()
    monkeypatch.setattr(rendering, "BLOCK", 3 * 2 * 3 * size**2)
    try:
        torch.set_num_threads(threads)
        parts = policy(payload)
        again = policy(payload)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for one, other, third in zip(whole, parts, again, strict=True):
        torch.testing.assert_close(one.data, other.data, atol=1e-5, rtol=0)
        assert torch.equal(other.data, third.data)


@pytest.mark.parametrize("size", [8, 72])
def test_an_error_in_a_block_reaches_the_caller(monkeypatch, size):
    monkeypatch.setattr(rendering, "BLOCK", 1)
    monkeypatch.setattr(rendering._Maps, "apply", lambda *_: (_ for _ in ()).throw(ValueError("broken")))
    policy = Augment(size=size)
    with pytest.raises(ValueError, match="broken"):
        policy(policy.collate(images(4, size, size), policy.draw(generator(0, "views"), 4)))

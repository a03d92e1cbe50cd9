"""Large images one at a time: the same crops and blurs as by matrices, and so as torchvision's."""

from dataclasses import replace

import pytest
import torch
import torchvision.transforms.v2.functional as TF

from ssl_zoo.modalities.image.views import geometry, geometry_large
from ssl_zoo.modalities.image.views.augment import Augment
from ssl_zoo.modalities.image.views.parallel import in_turn, side_by_side
from ssl_zoo.modalities.image.views.render import render
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


CPU = torch.device("cpu")


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_large_views_are_those_of_matrices_within_a_level(interpolation):
    """The jitter is left out: it may enlarge what rounding to whole levels changes."""
    policy = Augment(size=72, interpolation=interpolation, jitter=0.0, blur=0.5)
    x = images(6, 90, 80)
    params, _ = policy.sample_params(policy.collate(x, policy.draw(generator(0, "views"), 6)))
    settings = policy.settings(CPU)
    one_by_one, by_matrices = render(x, params, settings), render(x, params, replace(settings, large=1000))
    assert not torch.equal(one_by_one, by_matrices)
    assert float(((one_by_one - by_matrices).abs() * policy.std).max()) <= 1.01 / 255


@pytest.mark.parametrize("size", [24, 72])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("colour", ["matrix", "exact"])
def test_views_are_the_same_whatever_the_blocks_and_threads(threads, size, colour):
    policy = Augment(size=size, solarise=[0.0, 0.5], colour=colour)
    x = images(20, size + 8, size + 8)
    params, _ = policy.sample_params(policy.collate(x, policy.draw(generator(0, "views"), 20)))
    settings = policy.settings(CPU)
    whole = render(x, params, settings)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        parts = render(x, params, settings, block=3 * 2 * 3 * size**2)
        again = render(x, params, settings, block=3 * 2 * 3 * size**2)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(whole, parts, atol=1e-5, rtol=0)
    assert torch.equal(parts, again)


@pytest.mark.parametrize("run", [in_turn, side_by_side])
@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_in_a_job_reaches_the_caller(threads, run):
    def broken() -> None:
        raise ValueError("broken")

    done: list[int] = []
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        with pytest.raises(ValueError, match="broken"):
            run([lambda: done.append(1), broken])
        assert torch.get_num_threads() == threads and done == [1]
        run([lambda: done.append(2)])  # and jobs run after it
        assert done == [1, 2]
    finally:
        torch.set_num_threads(before)

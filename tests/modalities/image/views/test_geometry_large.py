"""Large views on a CPU: the same crops and blurs as by matrices, and so as torchvision's."""

from dataclasses import replace

import pytest
import torch
import torchvision.transforms.v2.functional as TF

from ssl_zoo.modalities.image.views import geometry, geometry_large
from ssl_zoo.modalities.image.views.augment import Augment
from ssl_zoo.modalities.image.views.blur import Blur, BlurByTaps, blur_some
from ssl_zoo.modalities.image.views.parallel import free_threads, one_thread, side_by_side
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


@pytest.mark.parametrize("size", [96, 33, 7])
@pytest.mark.parametrize("sigma, radius", [(0.1, 6), (2.0, 6), (0.7, 3), (1.0, 0)])
def test_taps_blur_as_whole_matrices_do(size, sigma, radius):
    x = torch.rand(5, 2, 3, size, size, generator=generator(0, "x"))
    chosen = torch.tensor([[False, True], [False, False], [True, True], [False, True], [True, False]])
    kernels = geometry.half_kernels(torch.linspace(sigma, 1.3, 10), radius).view(5, 2, -1)
    expected = torch.where(
        chosen[..., None, None, None], geometry.convolve(x.flatten(0, 1), kernels.flatten(0, 1)).view_as(x), x
    )
    blur = BlurByTaps(Blur(chosen.T, kernels.transpose(0, 1)), size)
    for start, stop in ((4, 5), (0, 2), (2, 4)):
        blur.apply(x[start:stop].flatten(0, 1), start, stop)
    torch.testing.assert_close(x, expected, atol=1e-5, rtol=0)
    rest = x[:, 1].contiguous()
    blur_some(rest, ~chosen[:, 1], kernels[:, 1])
    torch.testing.assert_close(rest[1], geometry.convolve(expected[1, 1:], kernels[1, 1:])[0], atol=1e-5, rtol=0)


def rendered(policy: Augment, x: torch.Tensor, **changed: int) -> torch.Tensor:
    params = policy.sample_params(policy.collate(x, policy.draw(generator(0, "views"), len(x))))
    return render(x, params, replace(policy.settings(x.device), **changed))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("sides, levels", [((90, 80), 0.002), ((70, 66), 0.002), ((144, 99), 0.002), ((160, 90), 1.01)])
def test_large_views_are_those_of_matrices(sides, levels, interpolation):
    """Made by taps; of images twice as large as the views, one at a time and within a level.

    The jitter is left out there: it may enlarge what rounding to whole levels changes.
    """
    policy = Augment(size=72, interpolation=interpolation, blur=0.5, jitter=0.0 if levels > 1 else 0.8)
    x = images(6, *sides)
    made, by_matrices = rendered(policy, x), rendered(policy, x, large=1000)
    assert not torch.equal(made, by_matrices)
    assert float(((made - by_matrices).abs() * policy.std).max()) <= levels / 255


def test_a_large_view_depends_on_its_own_sample_alone():
    """Whatever is in the rest of the batch, to the bit: so processes may share a batch."""
    policy = Augment(size=72, sigma=(1.0, 1.5))
    x = images(9, 90, 80)
    payload = policy.collate(x, policy.draw(generator(0, "views"), 9))
    whole = policy(payload)
    for part in (slice(0, 4), slice(4, 9), slice(2, 3)):
        for view, all_of_it in zip(policy({name: value[part] for name, value in payload.items()}), whole, strict=True):
            assert torch.equal(view.tensor, all_of_it.tensor[part])


@pytest.mark.parametrize("size", [24, 72])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("colour", ["matrix", "exact"])
def test_views_are_the_same_whatever_the_blocks_and_threads(threads, size, colour):
    policy = Augment(size=size, solarise=[0.0, 0.5], colour=colour)
    x = images(20, size + 8, size + 8)
    params = policy.sample_params(policy.collate(x, policy.draw(generator(0, "views"), 20)))
    settings = policy.settings(x.device)
    whole = render(x, params, settings)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        with one_thread():
            assert free_threads() == threads
            parts = render(x, params, settings, block=3 * 2 * 3 * size**2)
            with torch.inference_mode():
                again = render(x, params, settings, block=3 * 2 * 3 * size**2)
        assert torch.get_num_threads() == threads and free_threads() == 1
    finally:
        torch.set_num_threads(before)
    assert torch.equal(whole, parts) and torch.equal(parts, again)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_an_error_in_a_job_reaches_the_caller(threads):
    def broken() -> None:
        raise ValueError("broken")

    done: list[int] = []
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        with one_thread(), pytest.raises(ValueError, match="broken"):
            side_by_side([lambda: done.append(1), broken])
        assert torch.get_num_threads() == threads and done == [1]
        with one_thread():
            side_by_side([lambda: done.append(torch.get_num_threads())] * 8)  # and jobs run after it
        assert done == [1] * 9
    finally:
        torch.set_num_threads(before)

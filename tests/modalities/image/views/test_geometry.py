"""Geometry: batched crops, resizes and blurs equal torchvision's, one sample at a time."""

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as TF
from PIL import Image, ImageFilter
from torch import Tensor
from torchvision.transforms import RandomResizedCrop

from ssl_zoo.modalities.image.views import geometry
from ssl_zoo.modalities.image.views.crops import CropsByMatrices
from ssl_zoo.modalities.image.views.crops_large import CropsByTaps
from ssl_zoo.modalities.image.views.geometry import blur_radius, convolve, crop_boxes, draw_crops, half_kernels
from ssl_zoo.modalities.image.views.resample import Spans


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian_blur(x: Tensor, sigma: Tensor, radius: int) -> Tensor:
    return convolve(x, half_kernels(sigma, radius))


def random_boxes(g: torch.Generator, num: int, height: int, width: int) -> Tensor:
    """Boxes of every extent from one pixel to the whole image; the first is the whole, the second one pixel."""
    h = torch.randint(1, height + 1, (num,), generator=g)
    w = torch.randint(1, width + 1, (num,), generator=g)
    h[0], w[0], h[1], w[1] = height, width, 1, 1
    top = (torch.rand(num, generator=g) * (height - h + 1)).floor()
    left = (torch.rand(num, generator=g) * (width - w + 1)).floor()
    return torch.stack([top, left, h.float(), w.float()], dim=1)


def resized_crop(
    x: Tensor,
    boxes: Tensor,
    size: int,
    interpolation: str = "bilinear",
    flip: Tensor | None = None,
    by: str = "matrices",
) -> Tensor:
    """Crops of one view, made in two blocks; everything else is left out."""
    num, channels = x.shape[:2]
    given = (x, boxes[None], size, interpolation, None if flip is None else flip[None], None)
    crops = CropsByMatrices(*given) if by == "matrices" else CropsByTaps(*given)
    planes = [crops.planes(0, num // 2), crops.planes(num // 2, num)]
    return torch.cat(planes, dim=1)[0, :, :channels].unflatten(2, (size, size))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    "height, width, size",
    [(32, 32, 32), (96, 96, 32), (20, 20, 20), (224, 224, 32), (60, 100, 32), (101, 37, 24), (32, 32, 97), (5, 3, 8)],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_resized_crop_is_torchvisions(interpolation, height, width, size, channels):
    g, num = generator(), 16
    levels = torch.randint(256, (num, channels, height, width), generator=g, dtype=torch.uint8)
    x = levels.float()
    boxes = random_boxes(g, num, height, width)
    flip = torch.rand(num, generator=g) < 0.5
    assert 0 < flip.sum() < num
    mode = TF.InterpolationMode(interpolation)
    expected = torch.stack(
        [
            TF.resized_crop(image, *map(int, box), [size, size], interpolation=mode, antialias=True)
            for image, box in zip(x, boxes, strict=True)
        ]
    )
    of_levels = expected.clamp(0, 255)
    mirrored = torch.where(flip.view(-1, 1, 1, 1), TF.horizontal_flip(of_levels), of_levels)
    for by in ("matrices", "taps"):
        made = resized_crop(x, boxes, size, interpolation, by=by)
        torch.testing.assert_close(made, expected, atol=0.01, rtol=0)  # of 255 levels
        result = resized_crop(levels, boxes, size, interpolation, by=by)
        assert result.shape == (num, channels, size, size) and result.dtype == torch.float32
        torch.testing.assert_close(result, of_levels, atol=0.01, rtol=0)
        made = resized_crop(levels, boxes, size, interpolation, flip, by)
        torch.testing.assert_close(made, mirrored, atol=0.01, rtol=0)


def all_spans(num_in: int) -> tuple[Tensor, Tensor]:
    """Start and length of all spans of so many pixels, in no order, each `(2, N / 2)`."""
    found = torch.tensor([(s, n) for s in range(num_in) for n in range(1, num_in - s + 1)])
    start, length = found[torch.randperm(len(found), generator=generator())].float().T.unflatten(1, (2, -1))
    return start, length


def written(found: Spans, num_in: int, num_out: int) -> Tensor:
    """The matrices, in two parts."""
    views, num = found.start.shape
    out = torch.empty(views, num, num_in, num_out)
    for part in (slice(0, 3), slice(3, num)):
        made = torch.empty(views, part.stop - part.start, num_in, num_out)
        found.write(part.start, part.stop, made)
        out[:, part] = made
    return out


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("num_in, num_out", [(7, 5), (4, 9), (16, 16)])
def test_the_table_has_the_matrices_of_all_spans(interpolation, num_in, num_out):
    start, length = all_spans(num_in)
    response = geometry.frequency_response(
        geometry.half_kernels(torch.rand(start.numel(), generator=generator()) + 0.1, 3), num_out
    )
    for mirror in (None, torch.rand(start.shape, generator=generator()) < 0.5):
        for blur in (None, response.view(*start.shape, num_out)):
            made = []
            for limit in (2**21, 0):
                found = Spans(start, length, mirror, num_in, num_out, interpolation, blur, table=limit)
                assert (found.table is None) == (limit == 0)
                made.append(written(found, num_in, num_out))
            assert torch.equal(*made)
            assert len(made[0].flatten(0, 1).unique(dim=0)) > start.numel() / 2  # not all alike


@pytest.mark.parametrize("num_in, num_out", [(7, 5), (4, 9), (16, 16), (3, 1)])
def test_spans_with_a_blur_are_resampled_then_convolved(num_in, num_out):
    start, length = all_spans(num_in)
    radius = min(6, num_out - 1)
    sigma = torch.linspace(0.1, 2, start.numel())
    kernels = geometry.half_kernels(sigma, radius)
    response = geometry.frequency_response(kernels, num_out).view(*start.shape, num_out)
    plain, blurred = (
        written(Spans(start, length, None, num_in, num_out, "bilinear", x), num_in, num_out) for x in (None, response)
    )
    # Row by row of the matrices: reflection at the border, then a convolution.
    padded = torch.nn.functional.pad(plain.flatten(0, 1), (radius, radius), mode="reflect")
    taps = torch.cat([kernels[:, 1:].flip(1), kernels], dim=1)
    expected = torch.stack(
        [torch.nn.functional.conv1d(x[:, None], k[None, None])[:, 0] for x, k in zip(padded, taps, strict=True)]
    )
    torch.testing.assert_close(blurred.flatten(0, 1), expected, atol=2e-6, rtol=0)


def test_a_whole_image_at_its_own_size_is_left_as_it_is():
    x = torch.rand(2, 3, 20, 20, generator=generator())
    torch.testing.assert_close(resized_crop(x, torch.tensor([[0.0, 0, 20, 20]] * 2), 20), x, atol=1e-6, rtol=0)


def torchvision_boxes(num: int, height: int, width: int, scale, ratio) -> Tensor:
    image = torch.empty(1, height, width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return torch.tensor([RandomResizedCrop.get_params(image, scale, ratio) for _ in range(num)]).float()


def our_boxes(num: int, height: int, width: int, scale, ratio) -> Tensor:
    return crop_boxes(draw_crops(generator(), num), torch.full((num,), height), torch.full((num,), width), scale, ratio)


def quantities(boxes: Tensor, height: int, width: int) -> dict[str, Tensor]:
    top, left, h, w = boxes.unbind(1)
    return {
        "area": h * w,
        "aspect": w / h,
        "top": top,
        "left": left,
        "middle": top + h / 2,
        "place among the possible": (top + 1) / (height - h + 2) + (left + 1) / (width - w + 2),
        "area and place": h * w * top,
    }


def distance(a: Tensor, b: Tensor) -> float:
    """The largest difference between two empirical distribution functions (Kolmogorov and Smirnov)."""
    at = torch.cat([a, b]).unique()
    below = [torch.searchsorted(x.sort().values, at, right=True) / len(x) for x in (a, b)]
    return float((below[0] - below[1]).abs().max())


@pytest.mark.parametrize(
    "height, width, scale, ratio",
    [
        (32, 32, (0.2, 1.0), (3 / 4, 4 / 3)),
        (60, 100, (0.08, 1.0), (3 / 4, 4 / 3)),  # wide: some tries do not fit
        (20, 20, (0.5, 0.9), (0.5, 1.0)),
    ],
)
def test_crops_have_torchvisions_distribution(height, width, scale, ratio):
    num = 20_000
    ours, theirs = our_boxes(num, height, width, scale, ratio), torchvision_boxes(num, height, width, scale, ratio)
    a, b = quantities(ours, height, width), quantities(theirs, height, width)
    for name in a:
        # Two equal distributions stay below 1.95 sqrt(2 / num) = 0.0195 in 999 of 1000 cases; seeds are fixed.
        assert distance(a[name], b[name]) < 0.0195, name
    other = quantities(our_boxes(num, height, width, (scale[0] * 0.8, scale[1]), ratio), height, width)
    assert distance(other["area"], b["area"]) > 0.0195  # the test has the power to tell
    top, left, h, w = ours.unbind(1)
    assert bool((ours == ours.round()).all()) and bool((top >= 0).all()) and bool((left >= 0).all())
    assert bool((top + h <= height).all()) and bool((left + w <= width).all())


@pytest.mark.parametrize(
    "height, width, scale",
    [(10, 1000, (0.5, 1.0)), (1000, 11, (0.5, 1.0)), (2, 301, (0.3, 1.0)), (40, 45, (4.0, 4.0)), (1, 64, (0.9, 1.0))],
)
@pytest.mark.parametrize("ratio", [(3 / 4, 4 / 3), (0.9, 1.1)])
def test_where_no_try_fits_the_central_crop_is_torchvisions(height, width, scale, ratio):
    expected = torchvision_boxes(4, height, width, scale, ratio)
    assert torch.equal(our_boxes(4, height, width, scale, ratio), expected) and len(expected.unique(dim=0)) == 1


def test_images_of_several_sizes_get_the_boxes_they_would_get_alone():
    drawn = draw_crops(generator(), 3)
    sizes = torch.tensor([[32, 48], [10, 1000], [7, 7]])
    together = crop_boxes(drawn, sizes[:, 0], sizes[:, 1], (0.2, 1.0), (3 / 4, 4 / 3))
    for i, (height, width) in enumerate(sizes):
        alone = crop_boxes(drawn[i : i + 1], height[None], width[None], (0.2, 1.0), (3 / 4, 4 / 3))
        assert torch.equal(together[i], alone[0])


@pytest.mark.parametrize("height, width, greatest", [(32, 32, 2.0), (20, 33, 2.0), (48, 24, 1.0), (4, 5, 2.0)])
@pytest.mark.parametrize("channels", [1, 3])
def test_blur_is_torchvisions(height, width, greatest, channels):
    num = 20
    x = torch.rand(num, channels, height, width, generator=generator())
    sigma = torch.linspace(0.1, greatest, num)
    radius = blur_radius(greatest, min(height, width))
    side = [2 * radius + 1] * 2
    expected = torch.stack([TF.gaussian_blur(i, side, [float(s)] * 2) for i, s in zip(x, sigma, strict=True)])
    torch.testing.assert_close(gaussian_blur(x, sigma, radius), expected, atol=1e-5, rtol=0)


def test_the_blurs_kernel_reaches_three_sigma_where_the_image_allows():
    assert [blur_radius(2.0, 224), blur_radius(0.5, 32), blur_radius(2.0, 4), blur_radius(2.0, 1)] == [6, 2, 3, 0]


def smooth_image(size: int) -> Tensor:
    """A random image with the falling spectrum of a photograph, uint8."""
    frequency = torch.fft.fftfreq(size)
    decay = 1 / (frequency[:, None] ** 2 + frequency**2).sqrt().clamp(min=1 / size)
    noise = torch.fft.fft2(torch.randn(size, size, generator=generator(3)))
    image = torch.fft.ifft2(noise * decay).real
    low, high = image.min(), image.max()
    return ((image - low) / (high - low) * 255).round().to(torch.uint8)


def rms(x: Tensor) -> float:
    return float(x[8:-8, 8:-8].square().mean().sqrt())  # inside: PIL repeats the border pixel, torchvision reflects


@pytest.mark.parametrize("sigma", [0.5, 1.0, 1.5, 2.0])
def test_blur_has_pils_strength(sigma):  # T33
    """PIL approximates the Gaussian by boxes; a radius read as anything but sigma is far outside of that."""
    image = smooth_image(96)

    def pil(radius: float) -> Tensor:
        return torch.from_numpy(
            np.array(Image.fromarray(image.numpy()).filter(ImageFilter.GaussianBlur(radius)))
        ).float()

    blurred = gaussian_blur(image.float()[None, None], torch.tensor([sigma]), blur_radius(sigma, 96))[0, 0]
    error = rms(blurred - pil(sigma))
    assert error < 0.25 * rms(blurred - image.float())
    assert error < 0.5 * min(rms(blurred - pil(sigma * 1.5)), rms(blurred - pil(sigma / 1.5)))

"""Crop, resize, flip and blur of image batches, with parameters per sample.

Crop with resize, and blur, are separable linear maps: a matrix product on the rows and one on the columns, each with
a matrix a sample. The weights are those of torch's antialiased interpolation, so the results are torchvision's. Of
large images the matrices are mostly zeros: on a CPU, those are made by `ssl_zoo.modalities.image.geometry_large`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

Interpolation = Literal["bilinear", "bicubic"]
TRIES = 10
"""Tries at a crop that fits, as in torchvision's RandomResizedCrop."""

_FAR = 1e6
"""A distance in pixels at which every filter is zero."""


def draw_crops(generator: torch.Generator, *shape: int) -> Tensor:
    """Return uniform numbers `(*shape, TRIES, 4)` for `crop_boxes`: area, aspect ratio, top, left of each try."""
    return torch.rand(*shape, TRIES, 4, generator=generator)


def crop_boxes(
    drawn: Tensor, height: Tensor, width: Tensor, scale: tuple[float, float], ratio: tuple[float, float]
) -> Tensor:
    """Return boxes with the distribution of torchvision's `RandomResizedCrop.get_params`.

    Args:
        drawn: uniform numbers `(B, TRIES, 4)`.
        height: of each image in pixels, `(B,)`.
        width: of each image in pixels, `(B,)`.
        scale: least and largest area, as fractions of the image's.
        ratio: least and largest width / height; its logarithm is uniform.

    Returns:
        top, left, height, width in pixels, `(B, 4)`, whole numbers in float.
    """
    high, wide = height[:, None].to(drawn.dtype), width[:, None].to(drawn.dtype)
    area = high * wide * (scale[0] + (scale[1] - scale[0]) * drawn[..., 0])
    low, top_ratio = math.log(ratio[0]), math.log(ratio[1])
    aspect = torch.exp(low + (top_ratio - low) * drawn[..., 1])
    w, h = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (w > 0) & (w <= wide) & (h > 0) & (h <= high)
    top = (drawn[..., 2] * (high - h + 1)).floor().clamp(max=high - h)
    left = (drawn[..., 3] * (wide - w + 1)).floor().clamp(max=wide - w)
    tries = torch.stack([top, left, h, w], dim=-1)  # (B, TRIES, 4)
    first = fits.to(torch.uint8).argmax(dim=1)
    chosen = tries[torch.arange(len(tries), device=tries.device), first]
    return torch.where(fits.any(dim=1)[:, None], chosen, _central(high[:, 0], wide[:, 0], ratio))


def _central(high: Tensor, wide: Tensor, ratio: tuple[float, float]) -> Tensor:
    """Return the largest central box whose aspect ratio is allowed: what is taken when no try fits."""
    w = torch.minimum(wide, (high * ratio[1]).round())
    h = torch.minimum(high, (wide / ratio[0]).round())
    h, w = h.clamp(min=1), w.clamp(min=1)
    return torch.stack([((high - h) / 2).floor(), ((wide - w) / 2).floor(), h, w], dim=-1)


def _cubic(x: Tensor) -> Tensor:
    """Return Keys' cubic filter at distances x >= 0, with a = -0.5 as in antialiased torch."""
    a = -0.5
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def resample_weights(
    start: Tensor,
    length: Tensor,
    num_in: int,
    num_out: int,
    interpolation: Interpolation,
    mirror: Tensor | None = None,
) -> Tensor:
    """Return the matrices `(B, num_out, num_in)` that resample the span [start, start + length) to `num_out` pixels.

    Args:
        start: first pixel of each span, `(B,)`, whole numbers.
        length: of each span in pixels, `(B,)`.
        num_in: pixels that there are.
        num_out: pixels to make.
        interpolation: the filter, which widens with the reduction (antialiasing).
        mirror: which spans to read backwards, bool `(B,)`.
    """
    device, dtype = start.device, torch.float32
    start, length = start.to(dtype)[:, None], length.to(dtype)[:, None]
    scale = length / num_out
    stretch = scale.clamp(min=1)
    centre = scale * (torch.arange(num_out, device=device, dtype=dtype) + 0.5)  # (B, num_out), from the span's start
    if mirror is not None:
        centre = torch.where(mirror[:, None], length - centre, centre)
    pixel = torch.arange(num_in, device=device, dtype=dtype) + 0.5 - start  # (B, num_in)
    pixel = torch.where((pixel > 0) & (pixel < length), pixel, _FAR)  # pixels beside the span count for nothing
    weights = torch.sub(pixel[:, None, :], centre[:, :, None]).abs_()
    if interpolation == "bilinear":
        weights = torch.sub(stretch[:, :, None], weights, out=weights).clamp_min_(0)  # a triangle, times stretch
    else:
        weights = _cubic(weights.div_(stretch[:, :, None]))
    return weights.mul_(weights.sum(dim=2, keepdim=True).reciprocal_())


def resized_crops(
    x: Tensor, boxes: Tensor, size: int, interpolation: Interpolation = "bilinear", flip: Tensor | None = None
) -> Tensor:
    """Cut several boxes out of each image, resize them with antialiasing, and flip some.

    Equal to torchvision's `resized_crop` (antialiased, float) of the same boxes; a bicubic result can leave the range.

    Args:
        x: images `(B, C, H, W)`, of any type; computed in float32.
        boxes: top, left, height, width in pixels, `(V, B, 4)`.
        size: height and width of the results.
        interpolation: of the resize.
        flip: which results to mirror left to right, bool `(V, B)`.

    Returns:
        `(V, B, C, size, size)`, float32; the rows of one image are not adjacent in memory: `(V, B, size, C, size)`.
    """
    (views, num), channels = boxes.shape[:2], x.shape[1]
    flat = boxes.flatten(0, 1)
    rows = resample_weights(flat[:, 0], flat[:, 2], x.shape[2], size, interpolation)
    mirror = None if flip is None else flip.flatten()
    columns = resample_weights(flat[:, 1], flat[:, 3], x.shape[3], size, interpolation, mirror)
    # One product makes the rows of all views: (B, V size, H) @ (B, H, C W).
    rows = rows.view(views, num, size, -1).transpose(0, 1).reshape(num, views * size, -1)
    source = x.transpose(1, 2).to(torch.float32, memory_format=torch.contiguous_format).flatten(2)
    made = torch.bmm(rows, source).view(num, views, size * channels, -1)
    columns = columns.view(views, num, size, -1).transpose(2, 3)
    result = x.new_empty(views, num, size * channels, size, dtype=torch.float32)
    for view in range(views):
        torch.bmm(made[:, view], columns[view], out=result[view])
    return result.view(views, num, size, channels, size).transpose(2, 3)


def resized_crop(
    x: Tensor, boxes: Tensor, size: int, interpolation: Interpolation = "bilinear", flip: Tensor | None = None
) -> Tensor:
    """Cut one box `(B, 4)` out of each image: `resized_crops` for one view."""
    return resized_crops(x, boxes[None], size, interpolation, None if flip is None else flip[None])[0]


def blur_radius(sigma: float, size: int) -> int:
    """Return the radius of the blur's kernel in pixels: three sigma, as far as reflection at the border allows."""
    return min(math.ceil(3 * sigma), size - 1)


def half_kernels(sigma: Tensor, radius: int) -> Tensor:
    """Return the middle tap and those on one side of it, `(B, radius + 1)`, of Gaussian kernels whose taps add to 1."""
    half = torch.exp(-0.5 * (torch.arange(radius + 1, device=sigma.device) / sigma[:, None]) ** 2)
    return half / (2 * half.sum(dim=1, keepdim=True) - half[:, :1])


@lru_cache(maxsize=32)
def _blur_basis(radius: int, num: int, device: torch.device) -> Tensor:
    """Return `(radius + 1, num * num)`: the matrix of a blur is its half kernel times this."""
    with torch.inference_mode(False):
        offsets = torch.arange(-radius, radius + 1, device=device)
        source = (torch.arange(num, device=device)[:, None] + offsets).abs()  # reflection at the border
        source = torch.where(source >= num, 2 * (num - 1) - source, source)  # (num, 2 radius + 1)
        place = torch.arange(num, device=device)[:, None] * num + source
        basis = torch.zeros(radius + 1, num * num, device=device)
        basis.index_put_((offsets.abs().expand_as(place), place), basis.new_ones(()), accumulate=True)
        return basis


def gaussian_blur(x: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Blur each image with its own Gaussian.

    Args:
        x: images `(B, C, H, W)`.
        sigma: standard deviations in pixels, `(B,)`, positive.
        radius: the kernel has 2 radius + 1 taps; radius < min(H, W).

    Returns:
        `(B, C, H, W)`, with reflection at the border as in torchvision's `gaussian_blur`.
    """
    return convolve(x, half_kernels(sigma, radius))


def convolve(x: Tensor, kernels: Tensor) -> Tensor:
    """Convolve rows and columns of each image with its symmetric kernel `(B, radius + 1)`, see `gaussian_blur`."""
    num, channels, height, width = x.shape
    radius = kernels.shape[1] - 1
    rows = (kernels @ _blur_basis(radius, height, x.device)).view(num, height, height)
    columns = rows if height == width else (kernels @ _blur_basis(radius, width, x.device)).view(num, width, width)
    across = torch.bmm(x.reshape(num, channels * height, width), columns.transpose(1, 2)).view_as(x)
    result = torch.empty_like(across)
    for channel in range(channels):
        result[:, channel] = torch.bmm(rows, across[:, channel])
    return result

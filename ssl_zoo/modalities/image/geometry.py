"""Crop, resize, flip and blur of image batches, with parameters per sample.

Crop with resize, and blur, are separable linear maps: each is a matrix product on the rows and one on the columns, with
a matrix a sample. The weights are those of torch's antialiased interpolation, so the results are torchvision's.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Interpolation = Literal["bilinear", "bicubic"]
TRIES = 10
"""Tries at a crop that fits, as in torchvision's RandomResizedCrop."""


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


def _kernel(x: Tensor, interpolation: Interpolation) -> Tensor:
    """Return the interpolation filter at x: a triangle, or Keys' cubic with a = -0.5 as in antialiased torch."""
    x = x.abs()
    if interpolation == "bilinear":
        return (1 - x).clamp(min=0)
    a = -0.5
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def resample_weights(start: Tensor, length: Tensor, num_in: int, num_out: int, interpolation: Interpolation) -> Tensor:
    """Return the matrices `(B, num_out, num_in)` that resample the span [start, start + length) to `num_out` pixels."""
    device, dtype = start.device, torch.float32
    scale = (length / num_out).to(dtype)[:, None, None]
    stretch = scale.clamp(min=1)  # antialias: the filter widens with the reduction
    support = (1.0 if interpolation == "bilinear" else 2.0) * stretch
    centre = scale * (torch.arange(num_out, device=device, dtype=dtype)[None, :, None] + 0.5)
    pixel = torch.arange(num_in, device=device, dtype=dtype)[None, None, :] - start.to(dtype)[:, None, None]
    first = (centre - support + 0.5).floor().clamp(min=0)
    last = torch.minimum((centre + support + 0.5).floor(), length.to(dtype)[:, None, None])
    weights = _kernel((pixel - centre + 0.5) / stretch, interpolation) * ((pixel >= first) & (pixel < last))
    return weights / weights.sum(dim=2, keepdim=True)


def resized_crop(
    x: Tensor, boxes: Tensor, size: int, interpolation: Interpolation = "bilinear", flip: Tensor | None = None
) -> Tensor:
    """Cut a box out of each image, resize it with antialiasing, and flip some.

    Equal to torchvision's `resized_crop` (antialiased, float) of the same boxes; a bicubic result can leave [0, 1].

    Args:
        x: images `(B, C, H, W)`, float.
        boxes: top, left, height, width in pixels, `(B, 4)`.
        size: height and width of the result.
        interpolation: of the resize.
        flip: which samples to mirror left to right, bool `(B,)`.

    Returns:
        `(B, C, size, size)`.
    """
    rows = resample_weights(boxes[:, 0], boxes[:, 2], x.shape[2], size, interpolation)
    columns = resample_weights(boxes[:, 1], boxes[:, 3], x.shape[3], size, interpolation)
    if flip is not None:
        columns = torch.where(flip[:, None, None], columns.flip(1), columns)
    rows, columns = rows.to(x.dtype), columns.to(x.dtype)
    return rows[:, None] @ x @ columns.transpose(1, 2)[:, None]


def blur_radius(sigma: float, size: int) -> int:
    """Return the radius of the blur's kernel in pixels: three sigma, as far as reflection at the border allows."""
    return min(math.ceil(3 * sigma), size - 1)


def _blur_weights(sigma: Tensor, radius: int, num: int) -> Tensor:
    """Return the matrices `(B, num, num)` of a Gaussian blur with reflection at the border."""
    offsets = torch.arange(-radius, radius + 1, device=sigma.device)
    kernel = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    source = (torch.arange(num, device=sigma.device)[:, None] + offsets).abs()  # (num, 2 radius + 1)
    source = torch.where(source >= num, 2 * (num - 1) - source, source)
    weights = sigma.new_zeros(len(sigma), num, num)
    return weights.scatter_add_(2, source.expand(len(sigma), -1, -1), kernel[:, None, :].expand(-1, num, -1))


def gaussian_blur(x: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Blur each image with its own Gaussian.

    Args:
        x: images `(B, C, H, W)`.
        sigma: standard deviations in pixels, `(B,)`, positive.
        radius: the kernel has 2 radius + 1 taps; radius < min(H, W).

    Returns:
        `(B, C, H, W)`, with reflection at the border as in torchvision's `gaussian_blur`.
    """
    rows = _blur_weights(sigma, radius, x.shape[2]).to(x.dtype)
    columns = rows if x.shape[2] == x.shape[3] else _blur_weights(sigma, radius, x.shape[3]).to(x.dtype)
    return rows[:, None] @ x @ columns.transpose(1, 2)[:, None]

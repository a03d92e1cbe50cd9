"""Boxes to crop, and the blur of image batches, with parameters per sample.

Blur is a separable linear map, as is a resize (see `resample`): a matrix product on the rows and
one on the columns, with one matrix per sample. Of large images the matrices are mostly zeros: on a CPU, those are
made by `geometry_large`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Interpolation = Literal["bilinear", "bicubic"]
Numbers = NDArray[np.floating[Any]]
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
    # By NumPy, whose operations on so few numbers take half the time; its exponential has other last bits.
    given = drawn.numpy()
    high, wide = (side.to(drawn.dtype).numpy()[:, None] for side in (height, width))
    low, high_ratio = math.log(ratio[0]), math.log(ratio[1])
    aspect = torch.from_numpy(low + (high_ratio - low) * given[..., 1]).exp_().numpy()
    area = high * wide * (scale[0] + (scale[1] - scale[0]) * given[..., 0])
    w, h = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
    fits = (w > 0) & (w <= wide) & (h > 0) & (h <= high)
    first = np.arange(len(given)), fits.argmax(axis=1)
    w, h, (down, right), high, wide = w[first], h[first], given[first][:, 2:].T, high[:, 0], wide[:, 0]
    top = np.minimum(np.floor(down * (high - h + 1)), high - h)
    left = np.minimum(np.floor(right * (wide - w + 1)), wide - w)
    boxes = np.stack([top, left, h, w], axis=1)
    if not fits[first].all():
        boxes = np.where(fits[first][:, None], boxes, _central(high, wide, ratio))
    return torch.from_numpy(boxes)


def _central(high: Numbers, wide: Numbers, ratio: tuple[float, float]) -> Numbers:
    """Return the largest central box whose aspect ratio is allowed: what is taken when no try fits."""
    w = np.maximum(np.minimum(wide, np.rint(high * ratio[1])), 1)
    h = np.maximum(np.minimum(high, np.rint(wide / ratio[0])), 1)
    return np.stack([np.floor((high - h) / 2), np.floor((wide - w) / 2), h, w], axis=-1)


def blur_radius(sigma: float, size: int) -> int:
    """Return the radius of the blur's kernel in pixels: three sigma, as far as reflection at the border allows."""
    return min(math.ceil(3 * sigma), size - 1)


def half_kernels(sigma: Tensor, radius: int) -> Tensor:
    """Return the middle tap and those on one side of it, `(B, radius + 1)`, of Gaussian kernels whose taps add to 1."""
    half = torch.exp(-0.5 * (torch.arange(radius + 1, device=sigma.device) / sigma[:, None]) ** 2)
    return half / (2 * half.sum(dim=1, keepdim=True) - half[:, :1])


@lru_cache(maxsize=32)
def cosine_basis(num: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the cosines that fit in `num` pixels, one per column, and the inverse of that matrix; both `(num, num)`.

    They are the type I discrete cosine transform: a symmetric blur with reflection at the border (without the border
    pixel twice) only scales each of them.
    """
    with torch.inference_mode(False):
        step = torch.arange(num, dtype=torch.float64)
        cosines = torch.cos(math.pi / max(num - 1, 1) * step[:, None] * step)
        return cosines.float().to(device), torch.linalg.inv(cosines).float().to(device)


def frequency_response(kernels: Tensor, num: int) -> Tensor:
    """Return the factors `(B, num)` by which half kernels `(B, radius + 1)` scale the cosines of `num` pixels."""
    twice = torch.cat([kernels[..., :1], 2 * kernels[..., 1:]], dim=-1)
    return twice @ cosine_basis(num, kernels.device)[0][: kernels.shape[-1]]


def blur_matrices(kernels: Tensor, num: int) -> Tensor:
    """Return the matrices `(B, num, num)` of convolutions with half kernels `(B, radius + 1)`, and reflections."""
    cosines, inverse = cosine_basis(num, kernels.device)
    return (cosines * frequency_response(kernels, num)[:, None]) @ inverse


def convolve(x: Tensor, kernels: Tensor) -> Tensor:
    """Convolve rows and columns of each image with its own symmetric kernel.

    Args:
        x: images `(B, C, H, W)`.
        kernels: half kernels `(B, radius + 1)` with radius < min(H, W); see `half_kernels`.

    Returns:
        `(B, C, H, W)`, with reflection at the border as in torchvision's `gaussian_blur`.
    """
    num, channels, height, width = x.shape
    rows = blur_matrices(kernels, height)
    columns = rows if height == width else blur_matrices(kernels, width)
    across = torch.bmm(x.reshape(num, channels * height, width), columns.transpose(1, 2)).view_as(x)
    result = torch.empty_like(across)
    for channel in range(channels):
        result[:, channel] = torch.bmm(rows, across[:, channel])
    return result


def change_some(x: Tensor, chosen: Tensor, change: Callable[[Tensor, Tensor | slice], Tensor]) -> None:
    """Replace the chosen samples of `x`, bool `(B,)`, by `change(samples, their index)`."""
    if x.device.type != "cpu":  # to know which would make the host wait for the device
        torch.where(chosen.view(-1, 1, 1, 1), change(x, slice(None)), x, out=x)
        return
    index = torch.nonzero(chosen).squeeze(1)
    if len(index):
        x.index_copy_(0, index, change(x.index_select(0, index), index))


def blur_some(x: Tensor, chosen: Tensor, kernels: Tensor) -> None:
    """Convolve the chosen samples of `x` `(B, C, H, W)`, bool `(B,)`, with their kernels `(B, radius + 1)`."""
    change_some(x, chosen, lambda some, index: convolve(some, kernels[index]))

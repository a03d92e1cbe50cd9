"""Random resized crops of spectrograms, in frequency and time (BYOL-A, Niizumi et al. 2021, arXiv 2103.06695).

The spectrogram lies in the middle of a larger empty one, the virtual crop boundary, so that crops may reach beyond it.
"""

from __future__ import annotations

import torch
from torch import Tensor

_A = -0.75
"""Of the cubic convolution, as torch and OpenCV have it (Keys 1981)."""


def draw_sides(
    extent: Tensor, place: Tensor, size: int, scale: tuple[float, float], boundary: float
) -> tuple[Tensor, Tensor]:
    """Return first index and extent of crops along one axis, whole numbers; the first may be below 0.

    Args:
        extent: `(N,)`, uniform in [0, 1).
        place: `(N,)`, uniform in [0, 1).
        size: of the axis.
        scale: least and largest extent, as fractions of the size.
        boundary: size of the virtual boundary, as a factor of the size, at least 1.
    """
    canvas = int(size * boundary)
    low, high = scale
    num = ((low + (high - low) * extent) * size).long().clamp(1, canvas)
    room = canvas - num
    start = torch.minimum((place * (room + 1)).long(), room)
    return start - (canvas - size) // 2, num


def resize_axis(x: Tensor, start: Tensor, num: Tensor, dim: int) -> Tensor:
    """Return a crop of each spectrogram along one axis, at the size of the whole: cubic, corners on corners.

    What lies beyond the spectrogram is 0. Equal to `interpolate(crop, mode="bicubic", align_corners=True)`.

    Args:
        x: `(N, F, T)`.
        start: `(N,)` first index of the crop, which may be outside.
        num: `(N,)` its extent.
        dim: 1 or 2.
    """
    size = x.shape[dim]
    step = (num - 1).to(x.dtype) / max(1, size - 1)
    at = torch.arange(size, device=x.device) * step[:, None]
    left = at.floor()
    fraction = at - left
    total = torch.zeros_like(x)
    for tap in (-1, 0, 1, 2):
        index = torch.minimum((left.long() + tap).clamp(min=0), num[:, None] - 1) + start[:, None]
        weight = _cubic((fraction - tap).abs()) * ((index >= 0) & (index < size))
        index = index.clamp(0, size - 1)
        index, weight = (each.unsqueeze(3 - dim) for each in (index, weight))
        total = total + x.gather(dim, index.expand_as(x)) * weight
    return total


def _cubic(distance: Tensor) -> Tensor:
    near = ((_A + 2) * distance - (_A + 3)) * distance.square() + 1
    far = ((_A * distance - 5 * _A) * distance + 8 * _A) * distance - 4 * _A
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, torch.zeros_like(far)))


def seen(start: Tensor, extent: Tensor, least: float = 1e-3) -> tuple[Tensor, Tensor]:
    """Return start and extent of what is within 0 and 1 of a part of a sample; at least a thousandth."""
    low, high = start.clamp(0, 1 - least), (start + extent).clamp(0, 1)
    return low, (high - low).clamp(min=least)

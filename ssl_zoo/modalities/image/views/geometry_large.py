"""Crop, resize and blur of large images on a CPU, one at a time: there the matrices of `geometry` are mostly zeros.

A crop is torch's own antialiased interpolation. A bilinear one computes in whole numbers, within one level of 255 of
the result in float; a bicubic one in float, since whole numbers would be cut at 0 and 255 between its two passes, and
so are those of images of more than 8 bits. A blur is made band by band, from the pixels that its kernel reaches.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_zoo.modalities.image.units import has_range, white
from ssl_zoo.modalities.image.views.geometry import Interpolation

LARGE = 64
"""Views with more pixels a side than this are made one at a time on a CPU."""

_BAND = 16
_MANY = 2**22


def is_large(x: Tensor, size: int, large: int = LARGE) -> bool:
    """Return whether views of `size` pixels, of data on this device, are made one at a time."""
    return x.device.type == "cpu" and size > large


def cut(image: Tensor, box: list[int], size: int, interpolation: Interpolation) -> Tensor:
    """Cut a box out of an image and resize it with antialiasing, as torchvision's `resized_crop`.

    Args:
        image: `(C, H, W)`, uint8, uint16 or float32.
        box: top, left, height, width in pixels.
        size: height and width of the result.
        interpolation: of the resize.

    Returns:
        `(C, size, size)`, of the same type; integers are rounded.
    """
    top, left, height, width = box
    part = image[None, :, top : top + height, left : left + width]
    if (height, width) == (size, size):
        return part[0]
    if interpolation == "bilinear" and image.dtype == torch.uint8:
        return F.interpolate(part, (size, size), mode=interpolation, antialias=True)[0]
    # In float, a photograph takes four times its memory: its channels are done one after the other.
    parts = part.split(1, dim=1) if part.numel() > _MANY else (part,)
    made = torch.cat([F.interpolate(x.float(), (size, size), mode=interpolation, antialias=True) for x in parts], 1)
    if not has_range(image.dtype):
        return made[0]
    return made.round_().clamp_(0, white(image.dtype)).to(image.dtype)[0]


@lru_cache(maxsize=32)
def _band_basis(radius: int) -> Tensor:
    """Return `(radius + 1, _BAND * (_BAND + 2 radius))`: a half kernel times this is the matrix of a band."""
    with torch.inference_mode(False):
        row, column = torch.meshgrid(torch.arange(_BAND), torch.arange(_BAND + 2 * radius), indexing="ij")
        away = (column - row - radius).abs().flatten()
        return (torch.arange(radius + 1)[:, None] == away).float()


def convolve_large(x: Tensor, kernel: Tensor, out: Tensor) -> None:
    """Convolve the rows and columns of one image with a symmetric kernel, with reflection at the border.

    Args:
        x: `(C, H, W)`, of any type.
        kernel: of `geometry.half_kernels`, `(radius + 1,)`; radius < min(H, W).
        out: `(C, H, W)`, float32, contiguous, written to; may be `x`.
    """
    channels, height, width = x.shape
    radius = len(kernel) - 1
    reach = _BAND + 2 * radius
    band = (kernel @ _band_basis(radius)).view(_BAND, reach)
    down, over = -(-height // _BAND), -(-width // _BAND)  # bands, the last ones beyond the border
    length = down * _BAND + 2 * radius
    tall = torch.empty(channels, length, width, device=x.device)
    tall[:, radius : radius + height] = x
    _reflect(tall, 1, radius, height)
    strips = tall.as_strided((channels, down, reach, width), (length * width, _BAND * width, width, 1))
    rows = torch.empty(channels, down, _BAND, width, device=x.device)
    for strip, made in zip(strips, rows, strict=True):
        torch.bmm(band.expand(down, -1, -1), strip, out=made)
    length = over * _BAND + 2 * radius
    wide = torch.empty(channels, height, length, device=x.device)
    wide[:, :, radius : radius + width] = rows.view(channels, down * _BAND, width)[:, :height]
    _reflect(wide, 2, radius, width)
    strips = wide.as_strided((over, channels * height, reach), (_BAND, length, 1))
    columns = torch.empty(over, channels * height, _BAND, device=x.device)
    torch.bmm(strips, band.T.expand(over, -1, -1), out=columns)
    whole, lines = width // _BAND, out.flatten(0, 1)
    lines[:, : whole * _BAND].unflatten(1, (whole, _BAND)).copy_(columns[:whole].transpose(0, 1))
    if over > whole:
        lines[:, whole * _BAND :] = columns[whole, :, : width - whole * _BAND]


def _reflect(x: Tensor, dim: int, radius: int, length: int) -> None:
    """Fill the pixels around `length` ones that begin at `radius`: reflections, and beyond what is read, zeros."""

    def part(start: int, num: int) -> Tensor:
        return x.narrow(dim, start, num)

    part(0, radius).copy_(part(radius + 1, radius).flip(dim))
    part(radius + length, radius).copy_(part(length - 1, radius).flip(dim))
    part(length + 2 * radius, x.shape[dim] - length - 2 * radius).zero_()

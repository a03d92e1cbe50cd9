"""Crop, resize and blur of large images on a CPU, one at a time: there the matrices of `geometry` are mostly zeros.

A crop is torch's own antialiased interpolation. A bilinear one computes in whole numbers, within one level of 255 of
the result in float; a bicubic one in float, since whole numbers would be cut at 0 and 255 between its two passes. A
blur is made band by band, from the pixels that its kernel reaches.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_zoo.modalities.image.geometry import Interpolation

LARGE = 64
"""Views with more pixels a side than this are made one at a time on a CPU."""

_BAND = 16


def cut(image: Tensor, box: list[int], size: int, interpolation: Interpolation) -> Tensor:
    """Cut a box out of an image and resize it with antialiasing, as torchvision's `resized_crop`.

    Args:
        image: uint8 `(C, H, W)`.
        box: top, left, height, width in pixels.
        size: height and width of the result.
        interpolation: of the resize.

    Returns:
        uint8 `(C, size, size)`.
    """
    top, left, height, width = box
    part = image[None, :, top : top + height, left : left + width]
    if (height, width) == (size, size):
        return part[0]
    if interpolation == "bilinear":
        return F.interpolate(part, (size, size), mode=interpolation, antialias=True)[0]
    made = F.interpolate(part.float(), (size, size), mode=interpolation, antialias=True)
    return made.round_().clamp_(0, 255).to(torch.uint8)[0]


@lru_cache(maxsize=32)
def _band_basis(radius: int) -> Tensor:
    """Return `(radius + 1, _BAND * (_BAND + 2 radius))`: a half kernel times this is the matrix of a band."""
    with torch.inference_mode(False):
        row, column = torch.meshgrid(torch.arange(_BAND), torch.arange(_BAND + 2 * radius), indexing="ij")
        away = (column - row - radius).abs().flatten()
        return (torch.arange(radius + 1)[:, None] == away).float()


def convolve_large(x: Tensor, kernel: Tensor) -> Tensor:
    """Convolve the rows and columns of one image with a symmetric kernel, with reflection at the border.

    Args:
        x: `(C, H, W)`, float32, contiguous.
        kernel: of `geometry.half_kernels`, `(radius + 1,)`; radius < min(H, W).
    """
    channels, height, width = x.shape
    radius = len(kernel) - 1
    reach = _BAND + 2 * radius
    band = (kernel @ _band_basis(radius)).view(_BAND, reach)
    down, over = -(-height // _BAND), -(-width // _BAND)  # bands, the last ones beyond the border
    tall = _padded(x, (0, 0, radius, radius), (0, 0, 0, down * _BAND - height))
    strips = tall.as_strided((channels, down, reach, width), (tall.shape[1] * width, _BAND * width, width, 1))
    rows = torch.matmul(band, strips).view(channels, down * _BAND, width)[:, :height]
    wide = _padded(rows, (radius, radius, 0, 0), (0, over * _BAND - width, 0, 0))
    lines, length = channels * height, wide.shape[2]
    strips = wide.as_strided((over, lines, reach), (_BAND, length, 1))
    columns = torch.bmm(strips, band.T.expand(over, -1, -1))  # (bands, C H, _BAND)
    return columns.transpose(0, 1).reshape(channels, height, over * _BAND)[:, :, :width]


def _padded(x: Tensor, reflected: tuple[int, ...], zeros: tuple[int, ...]) -> Tensor:
    x = F.pad(x, reflected, mode="reflect")
    return (F.pad(x, zeros) if any(zeros) else x).contiguous()

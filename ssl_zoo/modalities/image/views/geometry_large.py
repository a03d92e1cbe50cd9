"""Crop and resize of one image on a CPU: where images are of several sizes, or much larger than their views.

This is torch's own antialiased interpolation. A bilinear one computes in whole numbers, within one level of 255 of
the result in float; a bicubic one in float, since whole numbers would be cut at 0 and 255 between its two passes, and
so are those of images of more than 8 bits.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_zoo.modalities.image.units import has_range, white
from ssl_zoo.modalities.image.views.geometry import Interpolation

LARGE = 64
"""Views with more pixels a side than this are large."""

_MANY = 2**22


def is_large(x: Tensor, size: int, large: int = LARGE) -> bool:
    """Return whether views of `size` pixels are made by taps and not by matrices: of large ones, on a CPU."""
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

"""Plain views of images as a module that an exported graph may hold: resize, crop and normalisation of uint8 images.

A graph has no function for torchvision's resize of uint8, so it is written out here: whole-number weights, first along
the rows, then along the columns, with rounding after each. Weights and sums are whole numbers in float64, so that any
library that runs the graph makes the same levels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ssl_zoo.modalities.image.views.geometry import Interpolation

_BITS = 22
"""The most bits of a weight's fraction."""

_LARGEST = 2**15
"""Weights stay below it."""

_ENDS = 4
"""Resized pixels at each end of a side, where the largest weights may be."""


class PlainImages(nn.Module):
    """Short side resized to `size`, antialiased, the centre cropped, values divided by 255, normalised.

    Args:
        size: height and width of the result.
        interpolation: of the resize.
        mean: subtracted from each channel.
        std: divided by.

    Shapes: uint8 `(B, C, H, W)` -> float32 `(B, C, size, size)`, for any H and W.
    """

    mean: Tensor
    std: Tensor
    powers: Tensor
    out: Tensor
    ends: Tensor

    def __init__(self, size: int, interpolation: Interpolation, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.size, self.cubic = size, interpolation == "bicubic"
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("powers", 2.0 ** torch.arange(_BITS + 1, dtype=torch.float64))
        self.register_buffer("out", torch.arange(size, dtype=torch.float64))
        self.register_buffer("ends", torch.arange(_ENDS, dtype=torch.float64))

    def forward(self, images: Tensor) -> Tensor:
        """Return the plain views of images."""
        rows, columns = (torch.ones_like(images[0, 0, :, 0]), torch.ones_like(images[0, 0, 0, :]))
        rows, columns = (each.double().cumsum(0) - 0.5 for each in (rows, columns))  # the middles of the pixels
        height, width = rows[-1] + 0.5, columns[-1] + 0.5
        short = torch.minimum(height, width)
        x = images.double()
        x = _rounded(x, *self._weights(columns, width, short))
        x = _rounded(x.transpose(2, 3), *self._weights(rows, height, short)).transpose(2, 3)
        return (x.float() / 255 - self.mean) / self.std

    def _weights(self, middles: Tensor, length: Tensor, short: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights `(n, size)` of the pixels of a side, whole numbers, and what they are divided by."""
        resized = torch.floor(self.size * length / short)
        start = torch.round((resized - self.size) / 2)
        scale = length / resized
        weights = self._filter(middles, (start + self.out + 0.5) * scale, scale)
        ends = torch.cat([self.ends, resized - 1 - self.ends]).clamp(min=0)
        largest = torch.maximum(weights.max(), self._filter(middles, (ends + 0.5) * scale, scale).max())
        bits = (torch.floor(0.5 + largest * self.powers[1:]) < _LARGEST).sum()
        unit = self.powers[bits]
        return torch.sign(weights) * torch.floor(0.5 + weights.abs() * unit), unit

    def _filter(self, middles: Tensor, centres: Tensor, scale: Tensor) -> Tensor:
        """Return the weights `(n, m)` of pixels for m resized ones, which sum to 1 for each of these."""
        distance = ((middles[:, None] - centres) / scale.clamp(min=1)).abs()
        weights = _cubic(distance) if self.cubic else (1 - distance).clamp(min=0)
        return weights / weights.sum(dim=0)


def _cubic(x: Tensor) -> Tensor:
    """Return Keys' cubic filter at distances x >= 0, with a = -0.5 as in antialiased torch."""
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def _rounded(x: Tensor, weights: Tensor, unit: Tensor) -> Tensor:
    """Return levels of pixels resized along the last side, rounded half up."""
    return torch.floor((x @ weights) / unit + 0.5).clamp(0, 255)

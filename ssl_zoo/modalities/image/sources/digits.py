"""The embedded default data: real handwritten digits, scattered over a canvas. No download.

scikit-learn ships 1,797 digits of 8 x 8 pixels (E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits",
UCI 1998). As they are, raw pixels classify them almost perfectly, so they cannot show what training adds. Here each is
placed several times on a larger dark canvas, at a position, size and contrast that are a function of its index:
nearness in pixels then says little about the class, while crops and changes of contrast undo exactly what was done.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ssl_zoo import rng
from ssl_zoo.data.held import MemorySplit
from ssl_zoo.data.source import Modality
from ssl_zoo.data.strings import Strings
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.image.decode import check_channels
from ssl_zoo.registry import register

HELD_OUT = 5
"""Of each class, every fifth digit is for the test split."""


@register("source", "digits")
class Digits:
    """1,797 real handwritten digits, each placed several times on a larger canvas; embedded, needs no download.

    Whole digits are held out: no digit is in both splits.

    Args:
        modality: of images: 1 channel (grey) or 3 (the same grey three times).
        canvas: height and width of the images, in pixels.
        placements: images made of each digit.
        min_size: smallest height and width of a placed digit, in pixels.
        max_size: largest one; at most `canvas`.
        min_contrast: a digit's strokes are multiplied by a factor between this and 1.

    Raises:
        UserError: other channels, or sizes that do not fit the canvas.
    """

    modality = "image"
    splits = ("train", "test")
    notes = ()

    def __init__(
        self,
        modality: Modality,
        *,
        canvas: Annotated[int, Field(ge=8)] = 20,
        placements: Annotated[int, Field(ge=1)] = 4,
        min_size: Annotated[float, Field(ge=8)] = 12.0,
        max_size: Annotated[float, Field(ge=8)] = 16.0,
        min_contrast: Annotated[float, Field(gt=0, le=1)] = 0.6,
    ) -> None:
        channels = modality.spec.channels
        check_channels(channels, "digits")
        if not min_size <= max_size <= canvas:
            raise UserError(
                f"digits: sizes must be min_size <= max_size <= canvas, not {min_size:g}, {max_size:g}, {canvas}."
            )
        self.channels, self.canvas, self.placements = channels, canvas, placements
        self.sizes, self.min_contrast = (min_size, max_size), min_contrast

    def split(self, name: str) -> MemorySplit:
        """Return the split, its images made and held in memory (0.3 MB per thousand at the defaults)."""
        digits, labels = _digits()
        chosen = torch.nonzero(_held_out(labels) == (name == "test"))[:, 0].repeat_interleave(self.placements)
        copy = torch.arange(self.placements).repeat(len(chosen) // self.placements)
        # Drawn for all digits and then chosen from, so that an image depends on its digit alone.
        drawn = torch.rand(len(labels), self.placements, 4, generator=rng.generator(0, "digits"))[chosen, copy]
        images = self._place(digits[chosen], drawn).expand(-1, self.channels, -1, -1).contiguous()
        names = Strings(f"digit {d}, placement {c}" for d, c in zip(chosen.tolist(), copy.tolist(), strict=True))
        return MemorySplit(images, labels[chosen], [str(c) for c in range(10)], names)

    def _place(self, digits: Tensor, drawn: Tensor) -> Tensor:
        """Return digits `(N, 8, 8)` on canvases, uint8 `(N, 1, H, W)`, from four uniform numbers `(N, 4)` each."""
        low, high = self.sizes
        size = low + drawn[:, 0] * (high - low)
        corner = drawn[:, 1:3] * (self.canvas - size)[:, None]  # left, top
        # For every canvas pixel, the place in the digit that it shows: -1 and 1 are the digit's borders.
        centres = torch.arange(self.canvas) + 0.5
        place = (centres - corner[..., None]) / size[:, None, None] * 2 - 1  # (N, 2, canvas)
        across, down = (place[:, axis] for axis in range(2))
        grid = torch.stack(
            [across[:, None, :].expand(-1, self.canvas, -1), down[:, :, None].expand(-1, -1, self.canvas)], dim=-1
        )
        canvas = F.grid_sample(digits[:, None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        contrast = self.min_contrast + drawn[:, 3] * (1 - self.min_contrast)
        return (canvas * contrast[:, None, None, None] * 255).round().to(torch.uint8)


@cache
def _digits() -> tuple[Tensor, Tensor]:
    """Return scikit-learn's digits `(1797, 8, 8)` in 0..1 and their labels; not to be changed. Reading takes 40 ms."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return torch.from_numpy(bunch.images).float() / 16, torch.from_numpy(bunch.target).long()


def _held_out(labels: Tensor) -> Tensor:
    """Return which digits are for the test split: bool `(N,)`, the same share of every class."""
    rank = torch.empty_like(labels)
    for label in labels.unique():
        rank[labels == label] = torch.arange(int((labels == label).sum()))
    return rank % HELD_OUT == HELD_OUT - 1

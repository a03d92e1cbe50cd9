"""Resize and blur on a CPU by their taps: each row that is made is a weighted sum of a few rows.

The matrix that crops or blurs a large image is mostly zeros; what is left are its taps, two for each pixel of an
enlarged crop. The sums are torch's `embedding_bag`, whose kernel is made for rows of just this length and keeps them in
registers. The other side of the images is done on their transposes. All is in float, each sample by itself.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from ssl_zoo.modalities.image.views.geometry import Interpolation
from ssl_zoo.modalities.image.views.resample import cubic

_REACH = {"bilinear": 1, "bicubic": 2}
"""Half the width of a filter in pixels, before it widens with a reduction."""


def span_taps(
    start: Tensor, length: Tensor, mirror: Tensor | None, num_out: int, interpolation: Interpolation
) -> tuple[Tensor, Tensor]:
    """Return the taps of spans of rows or columns that are resampled; the weights are those of `resample_weights`.

    Args:
        start: first pixel of each span, `(...)`, whole numbers in float.
        length: of each span in pixels, `(...)`, whole numbers in float.
        mirror: which spans to read backwards, bool `(...)`; None reads none so.
        num_out: pixels that are made of each span.
        interpolation: the filter, which widens with the reduction (antialiasing).

    Returns:
        Which pixels are read, int32 `(..., num_out, taps)`, and what they count for, of the same shape; zero at the
        taps that a narrower filter has too many.
    """
    start, length = start[..., None], length[..., None]
    scale = length / num_out
    stretch = scale.clamp(min=1)
    reach = _REACH[interpolation] * stretch
    centre = scale * (torch.arange(num_out) + 0.5)  # (..., num_out), from the span's start
    if mirror is not None:
        centre = torch.where(mirror[..., None], length - centre, centre)
    taps = math.ceil(2 * float(reach.max()))
    # Taps come first here: the arithmetic runs along the longest dimension then.
    pixel = torch.arange(taps).view(-1, *[1] * centre.dim()) + (centre - reach + 0.5).floor_()
    away = (pixel + 0.5).sub_(centre).abs_().div_(stretch)
    weights = (1 - away).clamp_min_(0) if interpolation == "bilinear" else cubic(away)
    last = length - 1
    weights.masked_fill_((pixel < 0) | (pixel > last), 0)  # pixels outside the span count for nothing
    weights.div_(weights.sum(dim=0))
    pixel = torch.minimum(pixel.clamp_min_(0), last).add_(start)
    index = torch.empty(*centre.shape, taps, dtype=torch.int32).copy_(pixel.movedim(0, -1))
    return index, torch.empty(*centre.shape, taps).copy_(weights.movedim(0, -1))


@lru_cache(maxsize=128)
def counted(num: int, step: int) -> Tensor:
    """Return 0, step, 2 step, ..., `(num,)`, int32, which no caller may change."""
    with torch.inference_mode(False):
        return torch.arange(0, num * step, step, dtype=torch.int32)


def transposed(x: Tensor) -> Tensor:
    """Return contiguous images `(..., W, H)` of contiguous ones `(..., H, W)`.

    That is what a shuffle of channels does to each pixel, and torch does it to one in small blocks by vector
    instructions, many times faster than the copy of a transposed tensor.
    """
    height, width = x.shape[-2:]
    pixels = x.view(-1, 1, 1, height * width).permute(0, 3, 1, 2)
    return torch.channel_shuffle(pixels, height).view(*x.shape[:-2], width, height)


def add_rows(rows: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """Return weighted sums of rows.

    Args:
        rows: `(N, W)`, float32.
        index: which are added, int32 `(..., taps)`, contiguous.
        weights: what they count for, `(..., taps)`, contiguous.

    Returns:
        `(M, W)`, M the number of sums.
    """
    taps = index.shape[-1]
    first = counted(index.numel() // taps, taps)
    made: Tensor = torch.embedding_bag(rows, index.view(-1), first, mode=0, per_sample_weights=weights.view(-1))[0]
    return made


@lru_cache(maxsize=32)
def reflected(num: int, radius: int) -> Tensor:
    """Return the rows `(num, 2 radius + 1)` around each of `num`, with reflection at the border; int32, as `counted`.

    Args:
        num: of rows.
        radius: less than `num`.
    """
    with torch.inference_mode(False):
        near = (torch.arange(num)[:, None] + torch.arange(-radius, radius + 1)).abs()
        return torch.minimum(near, 2 * (num - 1) - near).int()

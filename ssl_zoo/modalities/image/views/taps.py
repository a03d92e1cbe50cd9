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


class Taps:
    """The taps of spans of rows or columns that are resampled; the weights are those of `resample_weights`.

    Args:
        start: first pixel of each span, `(B, V)`, whole numbers in float.
        length: of each span in pixels, `(B, V)`, whole numbers in float.
        mirror: which spans to read backwards, bool `(B, V)`; None reads none so.
        num_out: pixels that are made of each span.
        interpolation: the filter, which widens with the reduction (antialiasing).

    Attributes:
        index: which pixels are read, int32 `(B, V, num_out, taps)`.
        weights: what they count for, `(B, V, num_out, taps)`; zero at the taps that a narrower filter has too many.
    """

    def __init__(
        self, start: Tensor, length: Tensor, mirror: Tensor | None, num_out: int, interpolation: Interpolation
    ) -> None:
        start, length = start[..., None], length[..., None]
        scale = length / num_out
        stretch = scale.clamp(min=1)
        reach = _REACH[interpolation] * stretch
        centre = scale * (torch.arange(num_out) + 0.5)  # (B, V, num_out), from the span's start
        if mirror is not None:
            centre = torch.where(mirror[..., None], length - centre, centre)
        taps = math.ceil(2 * float(reach.max()))
        # Taps come first here: the arithmetic runs along the longest dimension then.
        pixel = torch.arange(taps).view(-1, 1, 1, 1) + (centre - reach + 0.5).floor_()
        away = (pixel + 0.5).sub_(centre).abs_().div_(stretch)
        weights = (1 - away).clamp_min_(0) if interpolation == "bilinear" else cubic(away)
        weights.masked_fill_((pixel < 0) | (pixel > length - 1), 0)  # pixels outside the span count for nothing
        weights.div_(weights.sum(dim=0))
        pixel = torch.minimum(pixel.clamp_min_(0), length - 1).add_(start)
        self.index = torch.empty(*centre.shape, taps, dtype=torch.int32).copy_(pixel.permute(1, 2, 3, 0))
        self.weights = torch.empty(*centre.shape, taps).copy_(weights.permute(1, 2, 3, 0))


def counted(num: int, step: int) -> Tensor:
    """Return 0, step, 2 step, ..., `(num,)`, int32."""
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
def _reflected(num: int, radius: int) -> Tensor:
    """Return the rows `(num, 2 radius + 1)` around each of `num`, with reflection at the border; int32."""
    with torch.inference_mode(False):
        near = (torch.arange(num)[:, None] + torch.arange(-radius, radius + 1)).abs()
        return torch.minimum(near, 2 * (num - 1) - near).int()


def convolve_rows(x: Tensor, chosen: Tensor, kernels: Tensor) -> Tensor:
    """Convolve along the rows of each group with a symmetric kernel, with reflection at the border.

    Args:
        x: `(B, groups, num, W)`, contiguous.
        chosen: which of the B, int64 `(N,)`.
        kernels: whole kernels `(N, 2 radius + 1)` with radius < num.

    Returns:
        `(N, groups, num, W)`.
    """
    groups, num, width = x.shape[1:]
    first = chosen.int().mul_(groups * num)[:, None] + counted(groups, num)
    index = first[..., None, None] + _reflected(num, kernels.shape[1] // 2)
    weights = kernels[:, None, None].expand(index.shape).contiguous()
    return add_rows(x.view(-1, width), index, weights).view(-1, groups, num, width)


def convolve_images(x: Tensor, chosen: Tensor, kernels: Tensor) -> Tensor:
    """Convolve the rows and columns of the chosen images of `(B, C, H, W)`; see `convolve_rows`."""
    down = transposed(convolve_rows(x, chosen, kernels))
    return transposed(convolve_rows(down, torch.arange(len(chosen)), kernels))

"""Which samples are blurred and with what kernels, and the blur of large views on a CPU."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ssl_zoo.modalities.image.views import geometry
from ssl_zoo.modalities.image.views.geometry_large import is_large
from ssl_zoo.modalities.image.views.taps import add_rows, counted, reflected, transposed


class Blur(NamedTuple):
    """The blur of each sample in each view.

    Attributes:
        chosen: which are blurred, bool `(V, B)`.
        kernels: half kernels `(V, B, radius + 1)`; see `geometry.half_kernels`.
    """

    chosen: Tensor
    kernels: Tensor


class BlurByTaps:
    """The blur of large views on a CPU by the taps of each row, with reflection at the border.

    Args:
        blur: None blurs none.
        channels: of the views.
        size: height and width of the views, more than the radius of the kernels.
        block: samples that are made at a time.
    """

    def __init__(self, blur: Blur | None, channels: int, size: int, block: int) -> None:
        self.num = 0
        if blur is None:
            return
        views, shape = len(blur.chosen), (channels, size, size)
        chosen = blur.chosen.T.flatten().nonzero().view(-1)  # the views of a sample follow each other
        half = blur.kernels.transpose(0, 1).flatten(0, 1)[chosen]
        self.num, self.shape, self.around = len(chosen), shape, reflected(size, half.shape[1] - 1)
        self.kernels = torch.cat([half[:, 1:].flip(1), half], dim=1)[:, None, None]
        self.before = [0, *blur.chosen.sum(dim=0).cumsum(0).tolist()]  # how many views of the samples before each
        self.chosen = chosen.remainder_(block * views)
        rows = counted(channels, size)[:, None, None]
        self.first = self.chosen.int()[:, None, None, None] * (channels * size) + rows
        self.again = counted(self.num, channels * size)[:, None, None, None] + rows

    def apply(self, x: Tensor, start: int, stop: int) -> None:
        """Blur the chosen ones of the views of samples start..stop - 1, `(num * V, C, S, S)`, in place."""
        if not self.num or self.before[start] == self.before[stop]:
            return
        part, size = slice(self.before[start], self.before[stop]), self.shape[1]
        index = self.first[part] + self.around  # (N, C, S, taps)
        weights = self.kernels[part].expand(index.shape).contiguous()
        down = transposed(add_rows(x.view(-1, size), index, weights).view(-1, *self.shape))
        index = self.again[: part.stop - part.start] + self.around
        across = add_rows(down.view(-1, size), index, weights).view(-1, *self.shape)
        x.index_copy_(0, self.chosen[part], transposed(across))


def blur_some(x: Tensor, chosen: Tensor, kernels: Tensor) -> None:
    """Blur the chosen ones of images, in place: by taps if they are large and on a CPU, else by matrices.

    Args:
        x: `(B, C, S, S)`, float32, contiguous.
        chosen: which are blurred, bool `(B,)`.
        kernels: half kernels `(B, radius + 1)`; see `geometry.half_kernels`.
    """
    num, channels, size, _ = x.shape
    if is_large(x, size):
        BlurByTaps(Blur(chosen[None], kernels[None]), channels, size, num).apply(x, 0, num)
    else:
        geometry.blur_some(x, chosen, kernels)

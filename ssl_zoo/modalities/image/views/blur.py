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
        size: height and width of the views, more than the radius of the kernels.
    """

    def __init__(self, blur: Blur | None, size: int) -> None:
        self.num = 0
        if blur is None:
            return
        self.views = len(blur.chosen)
        self.chosen = blur.chosen.T.flatten().nonzero().view(-1)  # the views of a sample follow each other
        half = blur.kernels.transpose(0, 1).flatten(0, 1)[self.chosen]
        self.num, self.around = len(self.chosen), reflected(size, half.shape[1] - 1)
        self.kernels = torch.cat([half[:, 1:].flip(1), half], dim=1)[:, None, None]
        self.before = [0, *blur.chosen.sum(dim=0).cumsum(0).tolist()]  # how many views of the samples before each

    def apply(self, x: Tensor, start: int, stop: int) -> None:
        """Blur the chosen ones of the views of samples start..stop - 1, `(num * V, C, S, S)`, in place."""
        part, chosen = self._chosen(start, stop)
        if len(chosen):
            down = transposed(self._down(x, chosen, part))
            across = self._down(down, counted(len(down), 1), part)
            x.index_copy_(0, chosen, transposed(across))

    def apply_down(self, x: Tensor, start: int, stop: int) -> None:
        """Blur them along one side alone, the second to last of `(num * V, N, S, W)`, in place."""
        part, chosen = self._chosen(start, stop)
        if len(chosen):
            x.index_copy_(0, chosen, self._down(x, chosen, part))

    def _chosen(self, start: int, stop: int) -> tuple[slice, Tensor]:
        """Return which of the kernels are for the views of samples start..stop - 1, and the places of those views."""
        if not self.num:
            return slice(0), counted(0, 1)
        part = slice(self.before[start], self.before[stop])
        return part, self.chosen[part] - start * self.views

    def _down(self, x: Tensor, images: Tensor, part: slice) -> Tensor:
        """Return the blur along one side of some images of `(M, N, S, W)`, with the kernels of `part`."""
        num, size, width = x.shape[1:]
        first = images.int()[:, None] * (num * size) + counted(num, size)
        index = first[..., None, None] + self.around  # (images, N, S, taps)
        weights = self.kernels[part].expand(index.shape).contiguous()
        return add_rows(x.view(-1, width), index, weights).view(-1, num, size, width)


def blur_some(x: Tensor, chosen: Tensor, kernels: Tensor) -> None:
    """Blur the chosen ones of images, in place: by taps if they are large and on a CPU, else by matrices.

    Args:
        x: `(B, C, S, S)`, float32, contiguous.
        chosen: which are blurred, bool `(B,)`.
        kernels: half kernels `(B, radius + 1)`; see `geometry.half_kernels`.
    """
    num, _, size, _ = x.shape
    if is_large(x, size):
        BlurByTaps(Blur(chosen[None], kernels[None]), size).apply(x, 0, num)
    else:
        geometry.blur_some(x, chosen, kernels)

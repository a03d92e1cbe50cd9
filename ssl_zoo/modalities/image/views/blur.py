"""Which samples are blurred, and with what kernels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ssl_zoo.modalities.image.views.taps import convolve_images


class Blur(NamedTuple):
    """The blur of each sample in each view.

    Attributes:
        chosen: which are blurred, bool `(V, B)`.
        kernels: half kernels `(V, B, radius + 1)`; see `geometry.half_kernels`.
    """

    chosen: Tensor
    kernels: Tensor

    def block(self, start: int, stop: int) -> BlurByTaps:
        """Return that of samples start..stop - 1, which come first; their views second."""
        chosen = self.chosen[:, start:stop].T.flatten().nonzero().view(-1)
        half = self.kernels[:, start:stop].transpose(0, 1).flatten(0, 1)[chosen]
        return BlurByTaps(chosen, torch.cat([half[:, 1:].flip(1), half], dim=1))


class BlurByTaps(NamedTuple):
    """The blur of a block of large views on a CPU.

    Attributes:
        chosen: which of the block's views are blurred, int64 `(N,)`.
        kernels: whole kernels `(N, 2 radius + 1)`.
    """

    chosen: Tensor
    kernels: Tensor

    def apply(self, x: Tensor) -> None:
        """Blur images `(B, C, H, W)`, in place."""
        if len(self.chosen):
            x.index_copy_(0, self.chosen, convolve_images(x, self.chosen, self.kernels))

"""Random directions for terms of one-dimensional projections of the embeddings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_zoo.parts import StepCounter
from ssl_zoo.rng import generator


class Slices(nn.Module):
    """Random unit vectors that change with every optimizer step, and are the same on every process and device.

    They are a function of (seed, step); the step is counted in a buffer, so that a resumed run has the slices
    that it would have had. All views, and all micro-batches of a step, have the same ones.

    Args:
        num: how many.
        seed: of the sequence.
    """

    def __init__(self, num: int, seed: int):
        super().__init__()
        self.num, self.seed = num, seed
        self.step = StepCounter()

    def forward(self, like: Tensor) -> Tensor:
        """Return the directions of this step, `(D, num)`, columns of unit length, for embeddings `(B, D)`."""
        source = generator(self.seed, "slices", int(self.step))
        # On the CPU whatever the device, so that devices agree; float32 whatever the type, so that types agree.
        drawn = torch.randn(like.shape[1], self.num, generator=source, device="cpu")
        return F.normalize(drawn, dim=0).to(like)

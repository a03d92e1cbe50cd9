"""Random directions for terms of one-dimensional projections of the embeddings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_zoo import rng
from ssl_zoo.parts import StepCounter


class Slices(nn.Module):
    """Random unit vectors that change with every optimizer step, and are the same on every process.

    They are a function of (seed, step); the step is counted in a buffer, so that a resumed run has the slices
    that it would have had. All views, and all micro-batches of a step, have the same ones. On a CPU they come from
    torch's generator, elsewhere from a hash that the device computes.

    Args:
        num: how many.
        seed: of the sequence.
    """

    def __init__(self, num: int, seed: int):
        super().__init__()
        self.num, self.seed = num, seed
        self.step = StepCounter()

    def forward(self, like: Tensor) -> Tensor:
        """Return the directions of this step, `(D, num)`, columns of unit length, for embeddings `(..., D)`."""
        # Float32 whatever the type, so that types agree.
        return F.normalize(self._drawn(like), dim=0).to(like)

    def _drawn(self, like: Tensor) -> Tensor:
        width = like.shape[-1]
        if rng.draws_on_host(like.device):
            source = rng.generator(self.seed, "slices", int(self.step))
            return torch.randn(width, self.num, generator=source)
        index = torch.arange(width, device=like.device)
        return rng.hashed_normal(rng.derive(self.seed, "slices"), self.step.steps, index, self.num)

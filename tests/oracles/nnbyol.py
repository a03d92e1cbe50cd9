"""NNBYOL in plain torch: BYOL (arXiv 2006.07733) with the nearest neighbours of NNCLR (arXiv 2104.14548)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.oracles import byol
from tests.oracles.networks import unit
from tests.oracles.nnsiam import nearest


class Oracle(byol.Oracle):
    """BYOL's loss with NN(t, Q) for the target t; the queue Q keeps the latest targets of the first view."""

    def __init__(self, encoder: nn.Module, width: int, dims: Sequence[int], predictor: Sequence[int], queue: int):
        super().__init__(encoder, width, dims, predictor)
        self.size, self.queue, self.new = queue, torch.zeros(0, dims[-1], dtype=torch.float64), torch.zeros(0)

    def choose(self, t: Tensor) -> Tensor:
        self.new = unit(t)  # the first view's target is chosen from last
        return nearest(t, self.queue)

    def after_step(self, progress: float) -> None:
        super().after_step(progress)
        self.queue = torch.cat([self.queue, self.new])[-self.size :]

"""NNSiam in plain torch: SimSiam (arXiv 2011.10566) with the nearest neighbours of NNCLR (arXiv 2104.14548)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.oracles import simsiam
from tests.oracles.networks import unit
from tests.oracles.simsiam import distance


class Oracle(simsiam.Oracle):
    """L = D(p1, NN(z2, Q))/2 + D(p2, NN(z1, Q))/2; the queue Q keeps the latest z1, of unit length."""

    def __init__(self, encoder: nn.Module, width: int, dims: Sequence[int], predictor: Sequence[int], queue: int):
        super().__init__(encoder, width, dims, predictor)
        self.size, self.queue, self.new = queue, torch.zeros(0, dims[-1], dtype=torch.float64), torch.zeros(0)

    def loss(self, views: Sequence[Tensor]) -> Tensor:
        z1, z2 = self.embed(views)
        p1, p2 = self.predictor(z1), self.predictor(z2)
        self.new = unit(z1.detach())
        return distance(p1, nearest(z2, self.queue)) / 2 + distance(p2, nearest(z1, self.queue)) / 2

    def after_step(self, progress: float) -> None:
        self.queue = torch.cat([self.queue, self.new])[-self.size :]


def nearest(z: Tensor, queue: Tensor) -> Tensor:
    """NN(z, Q) = argmin_{q in Q} |z/|z| - q|; z itself while Q is empty."""
    z = z.detach()
    return queue[torch.cdist(unit(z), queue).argmin(1)] if len(queue) else z

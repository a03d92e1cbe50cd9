"""SimSiam with VICReg's variance term in plain torch (arXiv 2011.10566, 2105.04906): -cos and v weigh the same."""

from collections.abc import Sequence

from torch import Tensor, nn

from tests.oracles import networks
from tests.oracles.networks import mlp
from tests.oracles.simsiam import distance
from tests.oracles.vicreg import variance


class Oracle(networks.Oracle):
    """SimSiam's networks, without the norm at the end of the projector."""

    def __init__(self, encoder: nn.Module, width: int, dims: Sequence[int], predictor: Sequence[int], mu: float = 1):
        super().__init__(encoder, mlp(width, dims), mlp(dims[-1], predictor, last_bias=True))
        self.mu = mu

    def loss(self, views: Sequence[Tensor]) -> Tensor:
        """L = [D(p1, z2) + D(p2, z1)]/2 + mu [v(z1) + v(z2)]/2."""
        z1, z2 = self.embed(views)
        p1, p2 = self.predictor(z1), self.predictor(z2)
        return distance(p1, z2) / 2 + distance(p2, z1) / 2 + self.regulariser(z1, z2)

    def regulariser(self, z1: Tensor, z2: Tensor) -> Tensor:
        return self.mu * (variance(z1) + variance(z2)) / 2

"""SimSiam in plain torch, from Algorithm 1 and section 3 of Chen & He 2021 (arXiv 2011.10566)."""

from collections.abc import Sequence

from torch import Tensor, nn

from tests.oracles import networks
from tests.oracles.networks import mlp, unit


class Oracle(networks.Oracle):
    """f = encoder and a 3-layer projection MLP (BN on all layers, none learned on the last); h = a bottleneck MLP."""

    def __init__(self, encoder: nn.Module, width: int, dims: Sequence[int], predictor: Sequence[int]):
        projector = nn.Sequential(*mlp(width, dims), nn.BatchNorm1d(dims[-1], affine=False))
        super().__init__(encoder, projector, mlp(dims[-1], predictor, last_bias=True))

    def loss(self, views: Sequence[Tensor]) -> Tensor:
        """L = D(p1, z2)/2 + D(p2, z1)/2."""
        z1, z2 = self.embed(views)
        p1, p2 = self.predictor(z1), self.predictor(z2)
        return distance(p1, z2) / 2 + distance(p2, z1) / 2


def distance(p: Tensor, z: Tensor) -> Tensor:
    """D(p, z) = - <p/|p|, stopgrad(z)/|z|>."""
    return -(unit(p) * unit(z.detach())).sum(1).mean()

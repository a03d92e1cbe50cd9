"""SimSiam in plain torch, from Algorithm 1 and section 3 of Chen & He 2021 (arXiv 2011.10566)."""

import torch
from torch import Tensor, nn


class SimSiam(nn.Module):
    """f = encoder and a 3-layer projection MLP (BN on all layers, none learned on the last); h = a bottleneck MLP."""

    def __init__(self, encoder: nn.Module, width: int, dim: int, bottleneck: int):
        super().__init__()
        self.encoder = encoder
        self.projector = nn.Sequential(
            nn.Linear(width, dim, bias=False), nn.BatchNorm1d(dim), nn.ReLU(),
            nn.Linear(dim, dim, bias=False), nn.BatchNorm1d(dim), nn.ReLU(),
            nn.Linear(dim, dim, bias=False), nn.BatchNorm1d(dim, affine=False),
        )  # fmt: skip
        self.predictor = nn.Sequential(
            nn.Linear(dim, bottleneck, bias=False), nn.BatchNorm1d(bottleneck), nn.ReLU(), nn.Linear(bottleneck, dim)
        )

    def loss(self, x1: Tensor, x2: Tensor) -> Tensor:
        """L = D(p1, z2)/2 + D(p2, z1)/2."""
        z1, z2 = self.projector(self.encoder(x1)), self.projector(self.encoder(x2))
        p1, p2 = self.predictor(z1), self.predictor(z2)
        return self.distance(p1, z2) / 2 + self.distance(p2, z1) / 2

    @staticmethod
    def distance(p: Tensor, z: Tensor) -> Tensor:
        """D(p, z) = - <p/|p|, stopgrad(z)/|z|>."""
        z = z.detach()
        p = p / torch.sqrt((p * p).sum(1, keepdim=True))
        z = z / torch.sqrt((z * z).sum(1, keepdim=True))
        return -(p * z).sum(1).mean()

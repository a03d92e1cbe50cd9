"""CorInfoMax in plain torch, from Ozsoy et al. 2022 (arXiv 2209.07999), equations 5 to 8, and the authors' code."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.oracles import networks
from tests.oracles.networks import mlp, unit


class Oracle(networks.Oracle):
    """alpha |z1 - z2|^2/(N D) - [log det(R1 + eps I) + log det(R2 + eps I)]/D; la weighs the old mu and R."""

    def __init__(
        self,
        encoder: nn.Module,
        width: int,
        dims: Sequence[int],
        alpha: float = 2000,
        la: float = 0.1,
        eps: float = 1e-8,
    ):
        super().__init__(encoder, mlp(width, dims, bias=True))
        self.alpha, self.la, self.eps = alpha, la, eps
        self.identity = torch.eye(dims[-1], dtype=torch.float64)
        self.r = [self.identity, self.identity]
        self.mu = [torch.zeros(dims[-1], dtype=torch.float64)] * 2

    def loss(self, views: Sequence[Tensor]) -> Tensor:
        z1, z2 = (unit(z) for z in self.embed(views))
        n, d = z1.shape
        self.new_mu = [self.la * mu + (1 - self.la) * z.mean(0) for mu, z in zip(self.mu, (z1, z2), strict=True)]
        self.new_r = []
        for r, z, mu in zip(self.r, (z1, z2), self.new_mu, strict=True):
            self.new_r.append(self.la * r + (1 - self.la) * torch.einsum("ni,nj->ij", z - mu, z - mu) / n)
        big_bang = sum(torch.logdet(r + self.eps * self.identity) for r in self.new_r) / d
        return self.alpha * ((z1 - z2) ** 2).sum() / (n * d) - big_bang

    def after_step(self, progress: float) -> None:
        self.mu, self.r = [x.detach() for x in self.new_mu], [x.detach() for x in self.new_r]

"""Barlow Twins in plain torch, from equations 1 and 2 of Zbontar et al. 2021 (arXiv 2103.03230)."""

import torch
from torch import Tensor, nn


class BarlowTwins(nn.Module):
    """Encoder and a 3-layer projector without biases; BN and ReLU after the first two layers."""

    def __init__(self, encoder: nn.Module, width: int, dim: int, lambd: float):
        super().__init__()
        self.encoder, self.lambd = encoder, lambd
        self.projector = nn.Sequential(
            nn.Linear(width, dim, bias=False), nn.BatchNorm1d(dim), nn.ReLU(),
            nn.Linear(dim, dim, bias=False), nn.BatchNorm1d(dim), nn.ReLU(),
            nn.Linear(dim, dim, bias=False),
        )  # fmt: skip

    def loss(self, x1: Tensor, x2: Tensor) -> Tensor:
        """sum_i (1 - C_ii)^2 + lambda sum_i sum_{j != i} C_ij^2."""
        a, b = self.projector(self.encoder(x1)), self.projector(self.encoder(x2))
        a, b = a - a.mean(0), b - b.mean(0)
        # C_ij = sum_b a_bi b_bj / (sqrt(sum_b a_bi^2) sqrt(sum_b b_bj^2))
        c = torch.einsum("bi,bj->ij", a, b) / torch.outer((a**2).sum(0).sqrt(), (b**2).sum(0).sqrt())
        loss = torch.zeros((), dtype=c.dtype)
        for i in range(len(c)):
            for j in range(len(c)):
                loss = loss + ((1 - c[i, i]) ** 2 if i == j else self.lambd * c[i, j] ** 2)
        return loss

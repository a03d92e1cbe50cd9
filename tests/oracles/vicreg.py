"""VICReg in plain torch, from equations 1 to 6 of Bardes et al. 2022 (arXiv 2105.04906).

The variance term is the mean over the two branches and the invariance term the mean over dimensions, as in the
authors' code.
"""

import torch
from torch import Tensor, nn


class VICReg(nn.Module):
    """Encoder and a 3-layer expander; BN and ReLU after the first two layers, no bias in the last."""

    def __init__(self, encoder: nn.Module, width: int, dim: int):
        super().__init__()
        self.encoder = encoder
        self.projector = nn.Sequential(
            nn.Linear(width, dim), nn.BatchNorm1d(dim), nn.ReLU(),
            nn.Linear(dim, dim), nn.BatchNorm1d(dim), nn.ReLU(),
            nn.Linear(dim, dim, bias=False),
        )  # fmt: skip

    def loss(self, x1: Tensor, x2: Tensor, lambd: float = 25, mu: float = 25, nu: float = 1) -> Tensor:
        """lambda s(Z, Z') + mu [v(Z) + v(Z')]/2 + nu [c(Z) + c(Z')]."""
        a, b = self.projector(self.encoder(x1)), self.projector(self.encoder(x2))
        invariance = ((a - b) ** 2).sum() / a.numel()
        return (
            lambd * invariance
            + mu * (self.variance(a) + self.variance(b)) / 2
            + nu * (self.covariance(a) + self.covariance(b))
        )

    @staticmethod
    def variance(z: Tensor) -> Tensor:
        """(1/d) sum_j max(0, 1 - sqrt(Var(z^j) + 1e-4)), the variance with /(n - 1)."""
        n = len(z)
        var = ((z - z.mean(0)) ** 2).sum(0) / (n - 1)
        return torch.clamp(1 - torch.sqrt(var + 1e-4), min=0).mean()

    @staticmethod
    def covariance(z: Tensor) -> Tensor:
        """(1/d) sum_{i != j} [C(Z)]_ij^2, C(Z) = 1/(n-1) sum_i (z_i - mean)(z_i - mean)^T."""
        n, d = z.shape
        c = sum(torch.outer(row, row) for row in z - z.mean(0)) / (n - 1)
        return (c[~torch.eye(d, dtype=torch.bool)] ** 2).sum() / d

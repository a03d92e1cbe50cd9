"""BYOL in plain torch, from section 3 of Grill et al. 2020 (arXiv 2006.07733)."""

import copy

import torch
from torch import Tensor, nn


def head(width: int, hidden: int, dim: int) -> nn.Sequential:
    """Linear, BN, ReLU, Linear without bias."""
    return nn.Sequential(
        nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, dim, bias=False)
    )


class BYOL(nn.Module):
    """Online theta: encoder, projector, predictor; target xi: a moving average of encoder and projector."""

    def __init__(self, encoder: nn.Module, width: int, hidden: int, dim: int):
        super().__init__()
        self.encoder, self.projector, self.predictor = encoder, head(width, hidden, dim), head(dim, hidden, dim)
        self.start_target()

    def start_target(self) -> None:
        """xi starts as theta."""
        self.target_encoder = copy.deepcopy(self.encoder)
        self.target_projector = copy.deepcopy(self.projector)

    def loss(self, x1: Tensor, x2: Tensor) -> Tensor:
        """L + L~: both directions, summed (equation 2 and the text after it)."""
        return self.one_direction(x1, x2) + self.one_direction(x2, x1)

    def one_direction(self, v: Tensor, v_prime: Tensor) -> Tensor:
        """|q/|q| - z'/|z'||^2."""
        q = self.predictor(self.projector(self.encoder(v)))
        with torch.no_grad():
            z = self.target_projector(self.target_encoder(v_prime))
        difference = q / q.norm(dim=1, keepdim=True) - z / z.norm(dim=1, keepdim=True)
        return (difference**2).sum(1).mean()

    @torch.no_grad()
    def move(self, tau: float) -> None:
        """xi <- tau xi + (1 - tau) theta."""
        pairs = [(self.target_encoder, self.encoder), (self.target_projector, self.projector)]
        for target, online in pairs:
            for xi, theta in zip(target.parameters(), online.parameters(), strict=True):
                xi.copy_(tau * xi + (1 - tau) * theta)

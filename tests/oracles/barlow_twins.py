"""Barlow Twins in plain torch, from equations 1 and 2 of Zbontar et al. 2021 (arXiv 2103.03230)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.oracles import networks
from tests.oracles.networks import mlp


class Oracle(networks.Oracle):
    """Encoder and a 3-layer projector without biases; BN and ReLU after the first two layers."""

    def __init__(self, encoder: nn.Module, width: int, dims: Sequence[int], lambd: float = 0.0051):
        super().__init__(encoder, mlp(width, dims))
        self.lambd = lambd

    def loss(self, views: Sequence[Tensor]) -> Tensor:
        """sum_i (1 - C_ii)^2 + lambda sum_i sum_{j != i} C_ij^2."""
        a, b = (z - z.mean(0) for z in self.embed(views))
        # C_ij = sum_b a_bi b_bj / (sqrt(sum_b a_bi^2) sqrt(sum_b b_bj^2))
        c = torch.einsum("bi,bj->ij", a, b) / torch.outer((a**2).sum(0).sqrt(), (b**2).sum(0).sqrt())
        loss = torch.zeros((), dtype=c.dtype)
        for i in range(len(c)):
            for j in range(len(c)):
                loss = loss + ((1 - c[i, i]) ** 2 if i == j else self.lambd * c[i, j] ** 2)
        return loss

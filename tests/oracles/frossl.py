"""FroSSL in plain torch, from equation 7 of Skean et al. 2024 (arXiv 2310.02903) and the authors' multi-view loss."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.oracles import networks
from tests.oracles.networks import mlp


class Oracle(networks.Oracle):
    """sum_v 2 log |K_v/tr K_v|_F + V sum_v MSE(sqrt(D) u_v, mean sqrt(D) u), u of unit columns, K = u u^T."""

    def __init__(self, encoder: nn.Module, width: int, dims: Sequence[int], invariance: float = 1):
        super().__init__(encoder, mlp(width, dims, bias=True, last_bias=True))
        self.invariance = invariance

    def loss(self, views: Sequence[Tensor]) -> Tensor:
        u = [z / (z**2).sum(0).sqrt() for z in self.embed(views)]
        mean = sum(u) / len(u)
        n, d = mean.shape
        total = mean.new_zeros(())
        for x in u:
            k = x @ x.T
            entropy = -2 * torch.log(torch.linalg.matrix_norm(k / torch.trace(k)))
            invariance = d * ((x - mean) ** 2).sum() / (n * d)
            total = total - entropy + self.invariance * len(u) * invariance
        return total

"""EMP-SSL in plain torch, from equations 2 and 3 of Tong et al. 2023 (arXiv 2304.03977) and the authors' code."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.oracles import networks
from tests.oracles.networks import in_one_pass, mlp, unit


class Oracle(networks.Oracle):
    """-(1/n) sum_i [R(Z_i) + lambda cos(Z_i, Zbar)] over n patches; the network ends with unit length."""

    def __init__(self, encoder: nn.Module, width: int, dims: Sequence[int], lambd: float = 200, eps: float = 0.2):
        super().__init__(encoder, mlp(width, dims, bias=True, last_bias=True))
        self.lambd, self.eps = lambd, eps

    def loss(self, views: Sequence[Tensor]) -> Tensor:
        z = [unit(x) for x in in_one_pass(self.encoder, self.projector, views)]
        mean = sum(z) / len(z)
        total = mean.new_zeros(())
        for x in z:
            total = total - coding_rate(x, self.eps) - self.lambd * (x * unit(mean)).sum(1).mean()
        return total / len(z)


def coding_rate(z: Tensor, eps: float) -> Tensor:
    """R(Z) = 1/2 log det(I + d/(b eps) Z^T Z); the code divides by eps, not by its square."""
    b, d = z.shape
    return torch.logdet(torch.eye(d, dtype=z.dtype) + d / (b * eps) * z.T @ z) / 2

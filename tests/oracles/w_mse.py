"""W-MSE in plain torch, from section 3 of Ermolov et al. 2021 (arXiv 2007.06346)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.oracles import networks
from tests.oracles.networks import mlp, unit


class Oracle(networks.Oracle):
    """2 - 2 cos of whitened views, mean over all pairs of views; sub-batches are whitened one by one."""

    def __init__(self, encoder: nn.Module, width: int, dims: Sequence[int], eps: float = 1e-6):
        super().__init__(encoder, mlp(width, dims, bias=True, last_bias=True))
        self.eps = eps

    def loss(self, views: Sequence[Tensor], sub_batches: Sequence[Tensor]) -> Tensor:
        v = [torch.cat([self.whiten(z[rows]) for rows in sub_batches]) for z in self.embed(views)]
        pairs = [(i, j) for i in range(len(v)) for j in range(i + 1, len(v))]
        return sum((2 - 2 * (unit(v[i]) * unit(v[j])).sum(1)).mean() for i, j in pairs) / len(pairs)

    def whiten(self, v: Tensor) -> Tensor:
        """W_V (v - mu_V), W_V^T W_V = Sigma_V^-1, by Cholesky; Sigma shrunk by eps to the identity."""
        sigma = (1 - self.eps) * torch.cov(v.T) + self.eps * torch.eye(v.shape[1], dtype=v.dtype)
        return (v - v.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(sigma)).T

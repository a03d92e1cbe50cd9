"""VIbCReg in plain torch: Lee & Aune 2021 (arXiv 2109.00783), with IterNorm (Huang et al. 2019, arXiv 1904.03441)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.oracles import networks
from tests.oracles.networks import mlp
from tests.oracles.vicreg import variance


class Oracle(networks.Oracle):
    """25 MSE + 25 [v(Z) + v(Z')] + 200 [c(Z) + c(Z')], with IterNorm at the end of the projector."""

    def __init__(self, encoder: nn.Module, width: int, dims: Sequence[int], nu: float = 200, groups: int = 64):
        super().__init__(encoder, mlp(width, dims, bias=True, last_bias=True, activation=nn.GELU))
        self.nu, self.groups = nu, groups

    def loss(self, views: Sequence[Tensor]) -> Tensor:
        a, b = (self.iter_norm(z) for z in self.embed(views))
        mse = ((a - b) ** 2).sum() / a.numel()
        return 25 * mse + 25 * (variance(a) + variance(b)) + self.nu * (correlation(a) + correlation(b))

    def iter_norm(self, z: Tensor) -> Tensor:
        """Sigma^(-1/2) (z - mu) of each group of channels: five Newton steps on Sigma / tr Sigma."""
        done = []
        for x in (z - z.mean(0)).chunk(self.groups, dim=1):
            identity = torch.eye(x.shape[1], dtype=x.dtype)
            sigma = x.T @ x / len(x) + 1e-5 * identity
            p, trace = identity, torch.trace(sigma)
            for _ in range(5):
                p = (3 * p - torch.linalg.matrix_power(p, 3) @ sigma / trace) / 2
            done.append(x @ p.T / trace.sqrt())
        return torch.cat(done, 1)


def correlation(z: Tensor) -> Tensor:
    """(1/d^2) sum_{i != j} R_ij^2, R the correlation matrix."""
    r = torch.corrcoef(z.T)
    return (r**2).sum() / len(r) ** 2 - (torch.diagonal(r) ** 2).sum() / len(r) ** 2

"""VICReg in plain torch, from equations 1 to 6 of Bardes et al. 2022 (arXiv 2105.04906).

The variance term is the mean over the two branches and the invariance term the mean over dimensions, as in the
authors' code.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.oracles import networks
from tests.oracles.networks import mlp


class Oracle(networks.Oracle):
    """Encoder and a 3-layer expander; BN and ReLU after the first two layers, no bias in the last."""

    def __init__(
        self,
        encoder: nn.Module,
        width: int,
        dims: Sequence[int],
        lambd: float = 25,
        mu: float = 25,
        nu: float = 1,
    ):
        super().__init__(encoder, mlp(width, dims, bias=True))
        self.lambd, self.mu, self.nu = lambd, mu, nu

    def loss(self, views: Sequence[Tensor]) -> Tensor:
        """lambda s(Z, Z') + mu [v(Z) + v(Z')]/2 + nu [c(Z) + c(Z')]."""
        a, b = self.embed(views)
        return (
            self.lambd * ((a - b) ** 2).sum() / a.numel()
            + self.mu * (variance(a) + variance(b)) / 2
            + self.nu * (covariance(a) + covariance(b))
        )


def variance(z: Tensor) -> Tensor:
    """(1/d) sum_j max(0, 1 - sqrt(Var(z^j) + 1e-4)), the variance with /(n - 1)."""
    var = ((z - z.mean(0)) ** 2).sum(0) / (len(z) - 1)
    return torch.clamp(1 - torch.sqrt(var + 1e-4), min=0).mean()


def covariance(z: Tensor) -> Tensor:
    """(1/d) sum_{i != j} [C(Z)]_ij^2, C(Z) = 1/(n-1) sum_i (z_i - mean)(z_i - mean)^T."""
    n, d = z.shape
    centred = z - z.mean(0)
    c = torch.einsum("ni,nj->ij", centred, centred) / (n - 1)
    return (c[~torch.eye(d, dtype=torch.bool)] ** 2).sum() / d

"""DirectPred in plain torch, from section 4 of Tian et al. 2021 (arXiv 2102.06810) and the authors' code."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.oracles import networks
from tests.oracles.byol import distance
from tests.oracles.networks import mlp


class Oracle(networks.Oracle):
    """BYOL's loss with a linear predictor W, set from the correlation F = rho F + (1 - rho) E[f f^T]; constant tau."""

    def __init__(
        self,
        encoder: nn.Module,
        width: int,
        dims: Sequence[int],
        rho: float = 0.3,
        eps: float = 0.01,
        tau: float = 0.996,
    ):
        super().__init__(encoder, mlp(width, dims, bias=True, affine=False, last_bias=True))
        self.rho, self.eps, self.tau = rho, eps, tau
        self.correlation: Tensor | None = None
        self.weight = torch.eye(dims[-1], dtype=torch.float64)

    def loss(self, views: Sequence[Tensor]) -> Tensor:
        f1, f2 = self.embed(views)
        f = torch.cat([f1, f2]).detach()
        self.new = torch.einsum("bi,bj->ij", f, f) / len(f)
        f_xi, g_xi = self.target
        t1, t2 = (g_xi(f_xi(x)) for x in views)
        return distance(f1 @ self.weight.T, t2) + distance(f2 @ self.weight.T, t1)

    def after_step(self, progress: float) -> None:
        old = self.correlation
        self.correlation = self.new if old is None else self.rho * old + (1 - self.rho) * self.new
        self.weight = self.predictor_of(self.correlation)
        self.move_target(self.tau)

    def predictor_of(self, f: Tensor) -> Tensor:
        """U diag(sqrt(s_j / max s) + eps) U^T for F = U diag(s) U^T."""
        u, s, _ = torch.linalg.svd(f)
        return u @ torch.diag((s / s.max()).sqrt() + self.eps) @ u.T

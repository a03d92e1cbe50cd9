"""TiCo in plain torch, from Algorithm 1 of Zhu et al. 2022 (arXiv 2206.10698), over both views and without the 1."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.oracles import networks
from tests.oracles.networks import cosine, mlp, unit


class Oracle(networks.Oracle):
    """-cos(z, t) + rho (1/n) sum_i z_i^T C z_i, mean over the views; C = beta C + (1 - beta) (1/n) sum_i z_i z_i^T."""

    def __init__(
        self,
        encoder: nn.Module,
        width: int,
        dims: Sequence[int],
        beta: float = 0.9,
        rho: float = 8,
        tau: float = 0.99,
    ):
        super().__init__(encoder, mlp(width, dims, bias=True, last_bias=True))
        self.beta, self.rho, self.tau = beta, rho, tau
        self.c = torch.zeros(dims[-1], dims[-1], dtype=torch.float64)

    def loss(self, views: Sequence[Tensor]) -> Tensor:
        z = [unit(x) for x in self.embed(views)]
        f_xi, g_xi = self.target
        t = [unit(g_xi(f_xi(x))) for x in views]
        b = [torch.einsum("ni,nj->ij", x, x) / len(x) for x in z]
        self.new = (sum(b) / 2).detach()
        total = z[0].new_zeros(())
        for z_i, t_j, b_i in zip(z, reversed(t), b, strict=True):
            c = self.beta * self.c + (1 - self.beta) * b_i  # each view with the same old C
            spread = torch.einsum("ni,ij,nj->n", z_i, c, z_i).mean()
            total = total + (-(z_i * t_j).sum(1).mean() + self.rho * spread) / 2
        return total

    def after_step(self, progress: float) -> None:
        self.c = self.beta * self.c + (1 - self.beta) * self.new
        self.move_target(cosine(self.tau, progress))

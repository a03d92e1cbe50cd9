"""LeJEPA in plain torch: Algorithms 1 and 2 of Balestriero & LeCun 2025 (arXiv 2511.08544), and the authors' code."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.oracles import networks
from tests.oracles.networks import in_one_pass, mlp


class Oracle(networks.Oracle):
    """(1 - lambda) mean_v |z_v - mu|^2/D + lambda mean_v SIGReg(z_v), mu the mean of the global views."""

    def __init__(self, encoder: nn.Module, width: int, dims: Sequence[int], lambd: float = 0.05):
        super().__init__(encoder, mlp(width, dims, bias=True, last_bias=True))
        self.lambd = lambd

    def loss(self, views: Sequence[Tensor], crops: Sequence[Tensor], directions: Tensor) -> Tensor:
        z = torch.stack(in_one_pass(self.encoder, self.projector, [*views, *crops]))  # (V, N, D)
        mu = z[: len(views)].mean(0)
        pull = ((z - mu) ** 2).mean()
        return (1 - self.lambd) * pull + self.lambd * sum(sigreg(x, directions) for x in z) / len(z)


def sigreg(z: Tensor, a: Tensor) -> Tensor:
    """Mean over the slices a of N int |phi(t) - exp(-t^2/2)|^2 exp(-t^2/2) dt, 17 points in [0, 3], doubled."""
    t = torch.linspace(0, 3, 17, dtype=z.dtype)
    x_t = (z @ a)[:, :, None] * t
    phi = torch.exp(1j * x_t).mean(0)  # the empirical characteristic function, (M, T)
    phi_0 = torch.exp(-(t**2) / 2)
    error = torch.abs(phi - phi_0) ** 2 * phi_0
    return len(z) * (2 * torch.trapezoid(error, t, dim=1)).mean()

"""VISReg in plain torch, from equations 1 to 8 of Wu et al. 2026 (arXiv 2606.02572), means over dimensions."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.oracles import networks
from tests.oracles.networks import in_one_pass, mlp


class Oracle(networks.Oracle):
    """(1 - lambda) pull to the mean of the global views + lambda mean_v [scale + shape + centre]."""

    def __init__(self, encoder: nn.Module, width: int, dims: Sequence[int], lambd: float = 0.9):
        super().__init__(encoder, mlp(width, dims, bias=True, last_bias=True, activation=nn.GELU))
        self.lambd = lambd

    def loss(self, views: Sequence[Tensor], crops: Sequence[Tensor], directions: Tensor) -> Tensor:
        z = torch.stack(in_one_pass(self.encoder, self.projector, [*views, *crops]))  # (V, B, D)
        pull = ((z - z[: len(views)].mean(0)) ** 2).mean()
        return (1 - self.lambd) * pull + self.lambd * sum(regulariser(x, directions) for x in z) / len(z)


def regulariser(z: Tensor, w: Tensor) -> Tensor:
    """mean (1 - sigma)^2 + sliced W_2^2 of (z - mu)/sg(sigma) from N(0, 1) + mean mu^2."""
    b = len(z)
    mu, sigma = z.mean(0), z.std(0, correction=0).clamp(min=1e-6)
    quantiles = torch.distributions.Normal(0.0, 1.0).icdf(torch.arange(1, b + 1, dtype=z.dtype) / (b + 1))
    projected = ((z - mu) / sigma.detach()) @ w
    shape = ((torch.sort(projected, dim=0).values - quantiles[:, None]) ** 2).mean()
    return ((1 - sigma) ** 2).mean() + shape + (mu**2).mean()

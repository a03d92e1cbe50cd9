"""DINO in plain torch, from Algorithm 1 of Caron et al. 2021 (arXiv 2104.14294)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.oracles import networks
from tests.oracles.networks import cosine, in_one_pass, mlp, unit


class WeightNormed(nn.Module):
    """Unit length, and a layer whose rows are g v/|v|."""

    def __init__(self, width: int, prototypes: int):
        super().__init__()
        self.v, self.g = nn.Parameter(torch.empty(prototypes, width)), nn.Parameter(torch.empty(prototypes, 1))

    def forward(self, x: Tensor) -> Tensor:
        return unit(x) @ (self.g * unit(self.v)).T


class Oracle(networks.Oracle):
    """H(P_t, P_s) over pairs of a global view of the teacher and another view of the student."""

    def __init__(
        self,
        encoder: nn.Module,
        width: int,
        dims: Sequence[int],
        prototypes: int,
        momentum: float = 0.9,
        tau: float = 0.996,
        warmup: float = 30 / 300,
    ):
        head = mlp(width, dims, bias=True, last_bias=True, norm=None, activation=nn.GELU)
        super().__init__(encoder, nn.Sequential(head, WeightNormed(dims[-1], prototypes)))
        self.momentum, self.tau, self.warmup = momentum, tau, warmup
        self.centre, self.tau_t = torch.zeros(prototypes, dtype=torch.float64), 0.04

    def loss(self, views: Sequence[Tensor], crops: Sequence[Tensor]) -> Tensor:
        s = in_one_pass(self.encoder, self.projector, [*views, *crops])
        t = in_one_pass(*self.target, views)
        self.mean = torch.cat(t).mean(0)
        p_s = [torch.softmax(x / 0.1, 1) for x in s]
        p_t = [torch.softmax((x - self.centre) / self.tau_t, 1) for x in t]
        pairs = [-(q * p.log()).sum(1).mean() for i, p in enumerate(p_s) for j, q in enumerate(p_t) if i != j]
        return sum(pairs) / len(pairs)

    def after_step(self, progress: float) -> None:
        self.centre = self.momentum * self.centre + (1 - self.momentum) * self.mean
        self.tau_t = 0.04 + (0.07 - 0.04) * min(progress / self.warmup, 1)
        self.move_target(cosine(self.tau, progress))

"""BYOL in plain torch, from section 3 of Grill et al. 2020 (arXiv 2006.07733)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.oracles import networks
from tests.oracles.networks import cosine, mlp, unit


class Oracle(networks.Oracle):
    """Online theta: encoder, projector, predictor; target xi: a moving average of encoder and projector."""

    def __init__(
        self, encoder: nn.Module, width: int, dims: Sequence[int], predictor: Sequence[int], tau: float = 0.996
    ):
        super().__init__(encoder, mlp(width, dims, bias=True), mlp(dims[-1], predictor, bias=True))
        self.tau = tau

    def loss(self, views: Sequence[Tensor]) -> Tensor:
        """L + L~: both directions, summed (equation 2 and the text after it)."""
        z = self.embed(views)
        q1, q2 = (self.predictor(x) for x in z)
        with torch.no_grad():
            f_xi, g_xi = self.target
            t1, t2 = (g_xi(f_xi(x)) for x in views)
        return distance(q1, self.choose(t2)) + distance(q2, self.choose(t1)) + self.regulariser(*z)

    def choose(self, t: Tensor) -> Tensor:
        """What is predicted: the target as it stands."""
        return t

    def regulariser(self, z1: Tensor, z2: Tensor) -> Tensor:
        """BYOL has none."""
        return z1.new_zeros(())

    def after_step(self, progress: float) -> None:
        self.move_target(cosine(self.tau, progress))


def distance(q: Tensor, z: Tensor) -> Tensor:
    """|q/|q| - z/|z||^2."""
    return ((unit(q) - unit(z)) ** 2).sum(1).mean()

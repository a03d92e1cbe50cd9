"""BYOL with VICReg's variance term in plain torch (arXiv 2006.07733, 2105.04906): pull and v weigh the same."""

from collections.abc import Sequence

from torch import Tensor, nn

from tests.oracles import byol
from tests.oracles.vicreg import variance


class Oracle(byol.Oracle):
    """L + L~ + mu [v(z1) + v(z2)]/2, z the projector's output; tau 0.99, BYOL's for 100 epochs."""

    def __init__(
        self,
        encoder: nn.Module,
        width: int,
        dims: Sequence[int],
        predictor: Sequence[int],
        tau: float = 0.99,
        mu: float = 1,
    ):
        super().__init__(encoder, width, dims, predictor, tau)
        self.mu = mu

    def regulariser(self, z1: Tensor, z2: Tensor) -> Tensor:
        return self.mu * (variance(z1) + variance(z2)) / 2

"""SimSiam with VICReg's variance and covariance terms in plain torch: 25 : 25 : 1 as in arXiv 2105.04906."""

from torch import Tensor

from tests.oracles import simsiam_variance
from tests.oracles.vicreg import covariance


class Oracle(simsiam_variance.Oracle):
    """L = [D(p1, z2) + D(p2, z1)]/2 + [v(z1) + v(z2)]/2 + 1/25 [c(z1) + c(z2)]."""

    def regulariser(self, z1: Tensor, z2: Tensor) -> Tensor:
        return super().regulariser(z1, z2) + (covariance(z1) + covariance(z2)) / 25

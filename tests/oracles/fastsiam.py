"""FastSiam in plain torch, from section 3 of Pototzky et al. 2022: SimSiam with the mean of the other views' z."""

from collections.abc import Sequence

from torch import Tensor

from tests.oracles import simsiam
from tests.oracles.simsiam import distance


class Oracle(simsiam.Oracle):
    """L = (1/K) sum_i D(p_i, mean_{j != i} z_j) over K views."""

    def loss(self, views: Sequence[Tensor]) -> Tensor:
        z = self.embed(views)
        total = z[0].new_zeros(())
        for i, x in enumerate(z):
            others = [y for j, y in enumerate(z) if j != i]
            total = total + distance(self.predictor(x), sum(others) / len(others))
        return total / len(views)

"""The term `covariance_contrast`: TiCo (Zhu et al. 2022, arXiv 2206.10698)."""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ssl_zoo.distributed import collectives
from ssl_zoo.parts import Running, Term
from ssl_zoo.registry import register


@register("term", "covariance_contrast")
class CovarianceContrast(Term):
    """Overlap of z with the directions that past and present embeddings fill: mean_i z_i^T C z_i (TiCo).

    z is of unit length. C = keep C + (1 - keep) B with B = mean_i z_i z_i^T, uncentred, and C = 0 at first; with keep 0
    the term is |B|_F^2. Each view is mixed with the same old C, and C then moves to the mean of the views' B; for one
    view this is the paper's algorithm.

    Args:
        dim: width of z.
        keep: beta, the weight of the old C.
        through: `batch` lets gradient flow through B in C, as in the paper's algorithm; `none` takes C as a constant,
            as lightly does.
        views: `mean` over the views, or their `sum`.
    """

    inputs = "set"

    def __init__(
        self,
        dim: int,
        *,
        keep: Annotated[float, Field(ge=0, le=1)] = 0.9,
        through: Literal["batch", "none"] = "batch",
        views: Literal["mean", "sum"] = "mean",
    ):
        super().__init__()
        self.through, self.views = through, views
        self.covariance = Running(torch.zeros(dim, dim), keep)

    def forward(self, z: Sequence[Tensor]) -> Tensor:
        """Return the scalar for the embeddings of all views, each `(B, D)`."""
        total = torch.stack([self._one(F.normalize(x, dim=1)) for x in z]).sum()
        return total / len(z) if self.views == "mean" else total

    def _one(self, z: Tensor) -> Tensor:
        b = collectives.product(z, z) / len(z)
        c = self.covariance.mix(b if self.through == "batch" else b.detach())
        return (c * b).sum()  # mean_i z_i^T C z_i = trace(C B)

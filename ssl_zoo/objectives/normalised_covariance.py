"""The term `normalised_covariance` of VIbCReg: correlations instead of covariances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from ssl_zoo.distributed import collectives
from ssl_zoo.objectives.decorrelation import off_diagonal_energy, standardise
from ssl_zoo.objectives.seen import over_views
from ssl_zoo.parts import Term
from ssl_zoo.registry import register


def normalised_covariance(z: Tensor, eps: float = 1e-12) -> Tensor:
    """Return (1/D^2) sum_{i != j} R_ij^2, R the correlations of z `(..., B, D)` (Lee & Aune 2021, arXiv 2109.00783).

    Args:
        z: embeddings `(B, D)`.
        eps: the least variance of a dimension that is divided by.
    """
    unit = standardise(z, eps)
    return off_diagonal_energy(collectives.product(unit, unit) / z.shape[-2]) / z.shape[-1] ** 2


@register("term", "normalised_covariance")
class NormalisedCovariance(Term):
    """Squared correlations between dimensions (VIbCReg, arXiv 2109.00783).

    VICReg's covariance term scaled to [0, 1]: it does not grow with the embedding's scale or width, so one weight fits
    several widths.

    Args:
        eps: the least variance of a dimension that is divided by.
        views: `sum` over the views as in the authors' code, or their `mean`.
    """

    inputs = "set"
    batched = True

    def __init__(self, *, eps: Annotated[float, Field(gt=0)] = 1e-12, views: Literal["mean", "sum"] = "sum"):
        super().__init__()
        self.eps, self.views = eps, views

    def forward(self, z: Sequence[Tensor] | Tensor) -> Tensor:
        """Return the scalar for the embeddings of all views, each `(B, D)`."""
        total = over_views(lambda x: normalised_covariance(x, self.eps), z).sum()
        return total / len(z) if self.views == "mean" else total

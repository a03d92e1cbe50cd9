"""Terms that keep the space open: `cross_correlation` (Barlow Twins), `variance` and `covariance` (VICReg)."""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from ssl_zoo.distributed import collectives
from ssl_zoo.objectives.seen import over_views
from ssl_zoo.parts import Term
from ssl_zoo.registry import register

Positive = Annotated[float, Field(gt=0)]


def off_diagonal_energy(matrix: Tensor) -> Tensor:
    """Return the sum of the squares off the diagonal of square matrices `(..., D, D)`: `(...)`."""
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    return matrix.square().sum(dim=(-2, -1)) - diagonal.square().sum(dim=-1)


def standardise(z: Tensor, eps: float) -> Tensor:
    """Return z `(..., B, D)` with mean 0 and (biased) variance 1 in each dimension.

    `eps` is the least variance that is divided by, not an addend: the paper's formula holds exactly for every dimension
    that is alive, and a dead one gives zeros and a finite gradient.
    """
    centred = z - z.mean(dim=-2, keepdim=True)
    return centred * centred.square().mean(dim=-2, keepdim=True).clamp_min(eps).rsqrt()


def cross_correlation(p: Tensor, t: Tensor, off_diagonal: float = 0.005, eps: float = 1e-5) -> Tensor:
    """Return sum_i (1 - C_ii)^2 + lambda sum_{i != j} C_ij^2 (Zbontar et al. 2021, equations 1 and 2).

    C is the cross-correlation of p and t over the batch, each standardised by its own statistics.

    Args:
        p: embeddings `(B, D)` of one view.
        t: embeddings `(B, D)` of the other.
        off_diagonal: lambda.
        eps: the least variance of a dimension that is divided by.
    """
    c = collectives.product(standardise(p, eps), standardise(t, eps)) / len(p)
    return (1 - c.diagonal()).square().sum() + off_diagonal * off_diagonal_energy(c)


@register("term", "cross_correlation")
class CrossCorrelation(Term):
    """Distance of the two views' cross-correlation matrix from the identity (Barlow Twins, equation 1).

    Args:
        off_diagonal: lambda; 0.005 in the paper, 0.0051 in the authors' code.
        eps: the least variance of a dimension that is divided by.
    """

    inputs = "pair"

    def __init__(self, *, off_diagonal: Annotated[float, Field(ge=0)] = 0.005, eps: Positive = 1e-5):
        super().__init__()
        self.off_diagonal, self.eps = off_diagonal, eps

    def forward(self, p: Tensor, t: Tensor) -> Tensor:
        """Return the scalar for p and t `(B, D)`."""
        return cross_correlation(p, t, self.off_diagonal, self.eps)


def variance(z: Tensor, std: float = 1.0, eps: float = 1e-4) -> Tensor:
    """Return mean_j max(0, std - sqrt(Var(z_j) + eps)) `(...)` of z `(..., B, D)` (Bardes et al. 2022, equation 1)."""
    return torch.relu(std - (z.var(dim=-2) + eps).sqrt()).mean(dim=-1)


@register("term", "variance")
class Variance(Term):
    """Hinge on the standard deviation of each dimension, to keep it above a value (VICReg, equations 1 and 2).

    Args:
        std: the least standard deviation, gamma.
        eps: added to the variance under the root.
        views: `mean` over the views as in the authors' code, or their `sum` as in the paper (twice the weight).
    """

    inputs = "set"
    batched = True

    def __init__(self, *, std: Positive = 1.0, eps: Positive = 1e-4, views: Literal["mean", "sum"] = "mean"):
        super().__init__()
        self.std, self.eps, self.views = std, eps, views

    def forward(self, z: Sequence[Tensor] | Tensor) -> Tensor:
        """Return the scalar for the embeddings of all views, each `(B, D)`."""
        total = over_views(lambda x: variance(x, self.std, self.eps), z).sum()
        return total / len(z) if self.views == "mean" else total


def covariance(z: Tensor) -> Tensor:
    """Return (1/D) sum_{i != j} C_ij^2, C the covariance over the batch with /(B - 1) (VICReg, eq. 3 and 4).

    Args:
        z: embeddings `(..., B, D)`.

    Returns:
        `(...)`.
    """
    centred = z - z.mean(dim=-2, keepdim=True)
    c = collectives.product(centred, centred) / (z.shape[-2] - 1)
    return off_diagonal_energy(c) / z.shape[-1]


@register("term", "covariance")
class Covariance(Term):
    """Squared covariances between dimensions (VICReg, equations 3 and 4).

    Args:
        views: `sum` over the views as in the paper and the authors' code, or their `mean`.
    """

    inputs = "set"
    batched = True

    def __init__(self, *, views: Literal["mean", "sum"] = "sum"):
        super().__init__()
        self.views = views

    def forward(self, z: Sequence[Tensor] | Tensor) -> Tensor:
        """Return the scalar for the embeddings of all views, each `(B, D)`."""
        total = over_views(covariance, z).sum()
        return total / len(z) if self.views == "mean" else total

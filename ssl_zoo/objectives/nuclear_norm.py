"""The term `nuclear_norm`: MMCR (Yerxa et al. 2023, arXiv 2303.03307)."""

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ssl_zoo.heads.newton import polar
from ssl_zoo.objectives.seen import stacked
from ssl_zoo.parts import Term
from ssl_zoo.registry import register


def nuclear_norm(z: Sequence[Tensor] | Tensor, local: float = 0.0) -> Tensor:
    """Return -|C|_* + local mean_b |Z_b|_* (Yerxa et al. 2023), |.|_* the sum of the singular values.

    With views on the unit sphere, C `(B, D)` holds the mean over the views of each sample, and Z_b `(V, D)` the views
    of sample b. The first part grows with the batch: at best it is sqrt(D B) for B >= D. In float64: the gradient of a
    small singular value is a direction that float32 hardly knows.

    Args:
        z: embeddings of the V views, each `(B, D)`.
        local: the weight lambda of the second part.
    """
    u = F.normalize(stacked(z).transpose(0, 1).double(), dim=2)  # (B, V, D)
    value = -sum_of_singular_values(u.mean(dim=1))
    if local > 0:
        value = value + local * sum_of_singular_values(u).sum() / len(u)
    return value.to(z[0].dtype)


def sum_of_singular_values(x: Tensor) -> Tensor:
    """Return the nuclear norm `(...)` of x `(..., N, D)`.

    On a CPU from the singular values. Elsewhere from products of matrices alone, since a solver makes the host wait:
    the polar factor is the gradient, and its inner product with x the value. The two differ where a singular value is
    below 1e-7 of the largest: there the gradient is anything, and becomes 0.
    """
    return torch.linalg.svdvals(x).sum(dim=-1) if x.device.type == "cpu" else by_products(x)


def by_products(x: Tensor) -> Tensor:
    """Return what `sum_of_singular_values` does, by Newton's iteration; of its gradient there is no gradient."""
    return (polar(x.detach()) * x).sum(dim=(-2, -1))


@register("term", "nuclear_norm")
class NuclearNorm(Term):
    """Minus the nuclear norm of the samples' mean views: least where they fill the space and views agree (MMCR).

    Args:
        local: weight of the nuclear norm of the views of one sample; 0 by default in the authors' code.
    """

    inputs = "set"
    batched = True

    def __init__(self, *, local: Annotated[float, Field(ge=0)] = 0.0):
        super().__init__()
        self.local = local

    def forward(self, z: Sequence[Tensor] | Tensor) -> Tensor:
        """Return the scalar for the embeddings of all views, each `(B, D)`."""
        return nuclear_norm(z, self.local)

"""The term `coding_rate`: the log-det volume of the embeddings (EMP-SSL, SimDINO)."""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ssl_zoo.distributed import collectives
from ssl_zoo.objectives.seen import over_views
from ssl_zoo.parts import Term
from ssl_zoo.registry import register


def coding_rate(z: Tensor, eps: float) -> Tensor:
    """Return R = 1/2 log det(I + D / (B eps) Z^T Z) (Tong et al. 2023, EMP-SSL, arXiv 2304.03977).

    In float64: a batch that is nearly of rank one gives a matrix whose condition number float32 does not hold.

    Args:
        z: embeddings `(..., B, D)`.
        eps: allowed distortion. The authors' code divides by eps itself, the paper by its square.

    Returns:
        `(...)`, at least 0, of the type of z.
    """
    n, d = z.shape[-2:]
    x = z.double()
    small = collectives.product(x, x) if n >= d else x @ x.mT  # det(I + Z^T Z) = det(I + Z Z^T)
    identity = torch.eye(min(n, d), dtype=x.dtype, device=x.device)
    factor = torch.linalg.cholesky_ex(identity + d / (n * eps) * small).L
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1).to(z.dtype)


@register("term", "coding_rate")
class CodingRate(Term):
    """Minus the coding rate, the mean over views: it is least where the embeddings of each view fill the space.

    Args:
        eps: allowed distortion, not squared: 0.2 in EMP-SSL, 0.05 in SimDINO's commands.
        normalise: bring z to unit length first; both methods' networks end so.
        views: `all` (EMP-SSL) or `globals` (SimDINO).
        balance: multiply by (D + B) / (D B), which makes the term independent of the width and of the batch; SimDINO's
            code calls it a heuristic.
    """

    batched = True

    def __init__(
        self,
        *,
        eps: Annotated[float, Field(gt=0)] = 0.2,
        normalise: bool = True,
        views: Literal["all", "globals"] = "all",
        balance: bool = False,
    ):
        super().__init__()
        self.eps, self.normalise, self.balance = eps, normalise, balance
        self.inputs = "globals" if views == "globals" else "set"

    def forward(self, z: Sequence[Tensor] | Tensor) -> Tensor:
        """Return the scalar for the embeddings of the views, each `(B, D)`."""
        rate = over_views(self._rate, z).mean()
        n, d = z[0].shape
        return -rate * ((d + n) / (d * n) if self.balance else 1.0)

    def _rate(self, z: Tensor) -> Tensor:
        return coding_rate(F.normalize(z, dim=-1) if self.normalise else z, self.eps)

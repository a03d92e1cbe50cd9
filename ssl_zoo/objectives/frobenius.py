"""FroSSL (Skean et al. 2024, arXiv 2310.02903): `log_frobenius` keeps the space open, `column_mse` pulls."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_zoo.distributed import collectives
from ssl_zoo.parts import Term
from ssl_zoo.registry import register


def log_frobenius(z: Tensor) -> Tensor:
    """Return 2 log |K / tr K|_F, K = Z^T Z of the columns brought to unit length (Skean et al. 2024, FroSSL).

    It is minus the matrix entropy of order 2: -log D where the columns are orthogonal, 0 where they are all parallel.

    Args:
        z: embeddings `(B, D)`.
    """
    u = F.normalize(z, dim=0)
    k = collectives.product(u, u) if len(u) > u.shape[1] else u @ u.T  # the same non-zero eigenvalues
    floor = torch.finfo(z.dtype).tiny
    return k.square().sum().clamp_min(floor).log() - 2 * k.trace().clamp_min(floor).log()


def column_mse(z: Sequence[Tensor]) -> Tensor:
    """Return V D sum_v MSE(u_v, mean of all u), u the embeddings with columns of unit length.

    Args:
        z: embeddings of the V views, each `(B, D)`.
    """
    u = torch.stack([F.normalize(x, dim=0) for x in z])
    return len(z) * u.shape[2] * (u - u.mean(dim=0)).square().mean(dim=(1, 2)).sum()


@register("term", "log_frobenius")
class LogFrobenius(Term):
    """Minus the entropy of the embeddings' covariance, without its eigenvalues; sum over views (FroSSL)."""

    inputs = "set"

    def forward(self, z: Sequence[Tensor]) -> Tensor:
        """Return the scalar for the embeddings of all views, each `(B, D)`."""
        return torch.stack([log_frobenius(x) for x in z]).sum()


@register("term", "column_mse")
class ColumnMSE(Term):
    """Distance of every view from the mean view, dimensions scaled to unit length over the batch (FroSSL)."""

    inputs = "set"

    def forward(self, z: Sequence[Tensor]) -> Tensor:
        """Return the scalar for the embeddings of all views, each `(B, D)`."""
        return column_mse(z)

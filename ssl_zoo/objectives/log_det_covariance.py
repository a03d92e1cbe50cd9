"""The term `log_det_covariance`: CorInfoMax's entropy of the embeddings (Ozsoy et al. 2022, arXiv 2209.07999)."""

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ssl_zoo.distributed import collectives
from ssl_zoo.errors import UserError
from ssl_zoo.parts import Running, Term
from ssl_zoo.registry import register

Fraction = Annotated[float, Field(ge=0, le=1)]


def log_det(matrix: Tensor, eps: float) -> Tensor:
    """Return log det(M + eps I) of a positive semi-definite matrix `(D, D)`."""
    identity = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    return torch.linalg.slogdet(matrix + eps * identity).logabsdet


@register("term", "log_det_covariance")
class LogDetCovariance(Term):
    """Minus the log-volume of the running covariance of each view's embeddings (CorInfoMax).

    -1/D sum_v log det(R_v + eps I). mu = keep mu + (1 - keep) mean(z), then R = keep R + (1 - keep) E[(z - mu)
    (z - mu)^T], both with the current batch and with gradient through it. In float64.

    Args:
        dim: width of z.
        num_views: views, each with a mean and a covariance of its own.
        keep: weight of the old covariance: 0.01 on CIFAR, 0.1 on ImageNet (the code's `la_R`, which weighs the old
            value; the paper's lambda).
        keep_mean: weight of the old mean (`la_mu`).
        eps: added to the diagonal.
        start: the first covariance is this much of the identity.
        normalise: bring z to unit length first, as the authors' network ends.
    """

    inputs = "set"

    def __init__(
        self,
        dim: int,
        *,
        num_views: Annotated[int, Field(ge=1)] = 2,
        keep: Fraction = 0.01,
        keep_mean: Fraction = 0.01,
        eps: Annotated[float, Field(gt=0)] = 1e-8,
        start: Annotated[float, Field(ge=0)] = 1.0,
        normalise: bool = True,
    ):
        super().__init__()
        self.eps, self.normalise = eps, normalise
        exact = torch.float64
        each = range(num_views)
        self.mean = nn.ModuleList(Running(torch.zeros(dim, dtype=exact), keep_mean) for _ in each)
        self.covariance = nn.ModuleList(Running(start * torch.eye(dim, dtype=exact), keep) for _ in each)

    def forward(self, z: Sequence[Tensor]) -> Tensor:
        """Return the scalar for the embeddings of all views, each `(B, D)`.

        Raises:
            UserError: another number of views than `num_views`.
        """
        if len(z) != len(self.mean):
            raise UserError(
                f"objective.log_det_covariance: made for {len(self.mean)} views but got {len(z)}; set its num_views."
            )
        each = zip(z, self.mean, self.covariance, strict=True)
        total = torch.stack([self._one(x.double(), mean, covariance) for x, mean, covariance in each]).sum()
        return -(total / z[0].shape[1]).to(z[0].dtype)

    def _one(self, z: Tensor, mean: nn.Module, covariance: nn.Module) -> Tensor:
        assert isinstance(mean, Running) and isinstance(covariance, Running)
        if self.normalise:
            z = F.normalize(z, dim=1)
        centred = z - mean.mix(z.mean(dim=0))
        return log_det(covariance.mix(collectives.product(centred, centred) / len(z)), self.eps)

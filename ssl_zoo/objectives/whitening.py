"""The term `whitened_mse`: W-MSE (Ermolov et al. 2021, arXiv 2007.06346)."""

from collections.abc import Sequence
from itertools import combinations
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ssl_zoo.errors import UserError
from ssl_zoo.objectives.similarity import squared_error
from ssl_zoo.parts import StepCounter, Term
from ssl_zoo.registry import register
from ssl_zoo.rng import generator


def whiten(z: Tensor, eps: float = 0.0) -> Tensor:
    """Return L^-1 (z - mean), L L^T = (1 - eps) cov(z) + eps I (Ermolov et al. 2021, section 3).

    With eps = 0 the covariance over the batch, with /(B - 1), is the identity.

    Args:
        z: embeddings `(B, D)`.
        eps: shrinkage towards the identity, which keeps a dead dimension finite.

    Returns:
        `(B, D)`; NaN where the covariance is singular and eps is 0.
    """
    centred = z - z.mean(dim=0)
    covariance = centred.T @ centred / (len(z) - 1)
    identity = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    factor, failed = torch.linalg.cholesky_ex((1 - eps) * covariance + eps * identity)
    factor = torch.where(failed == 0, factor, torch.nan)
    return torch.linalg.solve_triangular(factor, centred.T, upper=False).T


@register("term", "whitened_mse")
class WhitenedMSE(Term):
    """2 - 2 cos of each pair of views, mean over samples and pairs, after each view is whitened (W-MSE).

    The batch is shuffled, by the step and the seed alone, and cut into sub-batches; each view of each is whitened by
    itself, in float64.

    Args:
        sub_batch: least size of a sub-batch; the batch is cut evenly into as many as it holds, and is one sub-batch
            if it holds none. None never cuts. The authors take 2 D: 128 for 64 dimensions.
        iterations: the loss is the mean over this many shuffles.
        eps: shrinkage of the covariance towards the identity; 0 in the authors' code, where a dead dimension is fatal.
        seed: of the shuffles.
    """

    inputs = "set"

    def __init__(
        self,
        *,
        sub_batch: Annotated[int, Field(ge=2)] | None = 128,
        iterations: Annotated[int, Field(ge=1)] = 1,
        eps: Annotated[float, Field(ge=0, lt=1)] = 1e-6,
        seed: Annotated[int, Field(ge=0)] = 0,
    ):
        super().__init__()
        self.sub_batch, self.iterations, self.eps, self.seed = sub_batch, iterations, eps, seed
        self.step = StepCounter()

    def forward(self, z: Sequence[Tensor]) -> Tensor:
        """Return the scalar for the embeddings of all views, each `(B, D)`.

        Raises:
            UserError: a sub-batch has no more samples than z has dimensions, so that its covariance is singular.
        """
        exact = [x.double() for x in z]
        values = []
        for indices in self._sub_batches(*z[0].shape):
            white = [torch.cat([whiten(x[index.to(x.device)], self.eps) for index in indices]) for x in exact]
            values += [squared_error(a, b, normalise=True, over="sum") for a, b in combinations(white, 2)]
        return torch.stack(values).mean().to(z[0].dtype)

    def _sub_batches(self, num: int, dim: int) -> list[tuple[Tensor, ...]]:
        """Return the indices of each sub-batch, for each iteration."""
        parts = max(1, num // (self.sub_batch or num))
        if num // parts <= dim:
            raise UserError(
                f"objective.whitened_mse: {num // parts} samples cannot whiten {dim} dimensions; make the batch or "
                "sub_batch larger (twice the dimensions is usual), or the projector's last width smaller."
            )
        step = int(self.step)
        draws = (generator(self.seed, "whitening", step, i) for i in range(self.iterations))
        return [torch.randperm(num, generator=g).tensor_split(parts) for g in draws]

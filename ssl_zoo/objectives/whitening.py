"""The term `whitened_mse`: W-MSE (Ermolov et al. 2021, arXiv 2007.06346)."""

from collections.abc import Sequence
from itertools import combinations, groupby
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ssl_zoo import rng
from ssl_zoo.errors import UserError
from ssl_zoo.objectives.seen import stacked
from ssl_zoo.objectives.similarity import squared_error
from ssl_zoo.parts import StepCounter, Term
from ssl_zoo.registry import register

CPU = torch.device("cpu")


def whiten(z: Tensor, eps: float = 0.0) -> Tensor:
    """Return L^-1 (z - mean), L L^T = (1 - eps) cov(z) + eps I (Ermolov et al. 2021, section 3).

    With eps = 0 the covariance over the batch, with /(B - 1), is the identity.

    Args:
        z: embeddings `(..., B, D)`.
        eps: shrinkage towards the identity, which keeps a dead dimension finite.

    Returns:
        `(..., B, D)`; NaN where the covariance is singular and eps is 0.
    """
    centred = z - z.mean(dim=-2, keepdim=True)
    covariance = centred.mT @ centred / (z.shape[-2] - 1)
    identity = torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
    factor, failed = torch.linalg.cholesky_ex((1 - eps) * covariance + eps * identity)
    factor = torch.where((failed == 0)[..., None, None], factor, torch.nan)
    return torch.linalg.solve_triangular(factor, centred.mT, upper=False).mT


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
    batched = True

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

    def forward(self, z: Sequence[Tensor] | Tensor) -> Tensor:
        """Return the scalar for the embeddings of all views, each `(B, D)`.

        Raises:
            UserError: a sub-batch has no more samples than z has dimensions, so that its covariance is singular.
        """
        exact = stacked(z).double()
        pairs = list(combinations(range(len(z)), 2))
        values = []
        num, dim = z[0].shape
        for indices in self._sub_batches(num, dim, z[0].device):
            white = self._whitened(exact, indices)
            a, b = (torch.stack([white[pair[side]] for pair in pairs]) for side in (0, 1))
            values.append(squared_error(a, b, normalise=True, over="sum"))
        return torch.cat(values).mean().to(z[0].dtype)

    def _whitened(self, z: Tensor, indices: Sequence[Tensor]) -> Tensor:
        """Return every view of z `(V, B, D)` with its sub-batches one after the other, each whitened by itself."""
        white = []
        for _, same in groupby(indices, key=len):  # two sizes at most, and all of a size at once
            index = list(same)
            mixed = z[:, torch.cat(index)].unflatten(1, (len(index), -1))
            white.append(whiten(mixed, self.eps).flatten(1, 2))
        return torch.cat(white, dim=1)

    def _sub_batches(self, num: int, dim: int, device: torch.device = CPU) -> list[tuple[Tensor, ...]]:
        """Return the indices of each sub-batch, for each iteration."""
        parts = max(1, num // (self.sub_batch or num))
        if num // parts <= dim:
            raise UserError(
                f"objective.whitened_mse: {num // parts} samples cannot whiten {dim} dimensions; make the batch or "
                "sub_batch larger (twice the dimensions is usual), or the projector's last width smaller."
            )
        return [self._order(num, i, device).tensor_split(parts) for i in range(self.iterations)]

    def _order(self, num: int, iteration: int, device: torch.device) -> Tensor:
        """Return the samples in shuffled order."""
        if rng.draws_on_host(device):
            return torch.randperm(num, generator=rng.generator(self.seed, "whitening", int(self.step), iteration))
        return rng.hashed_order(rng.derive(self.seed, "whitening", iteration), self.step.steps, num)

"""The term `sliced_characteristic` (SIGReg): Gaussianity of random slices of the embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ssl_zoo.objectives.seen import stacked
from ssl_zoo.objectives.slices import Slices
from ssl_zoo.parts import Term
from ssl_zoo.registry import register

MOST = 2**25
"""Numbers, samples x slices x knots, up to which several views are computed at once."""


def epps_pulley(x: Tensor, knots: int = 17, reach: float = 3.0) -> Tensor:
    """Return the distance of the sample's characteristic function from the Gaussian's, of each column of `x`.

    2 int_0^reach |phi(t) - exp(-t^2/2)|^2 exp(-t^2/2) dt with phi(t) = mean_n exp(i t x_n), by the trapezoidal rule;
    the integrand is even, so this is the integral over [-reach, reach] (Balestriero & LeCun 2025, arXiv 2511.08544,
    the Epps-Pulley statistic without its factor N).

    Args:
        x: samples `(..., N, M)` of M distributions.
        knots: points of the rule in [0, reach].
        reach: where the integral ends.

    Returns:
        `(..., M)`, at least 0.
    """
    t = torch.linspace(0, reach, knots, device=x.device, dtype=x.dtype)
    gauss = torch.exp(-t.square() / 2)
    step = torch.full_like(t, reach / (knots - 1))
    step[0] /= 2
    step[-1] /= 2
    angle = x.unsqueeze(-1) * t  # (..., N, M, knots)
    error = (angle.cos().mean(dim=-3) - gauss).square() + angle.sin().mean(dim=-3).square()
    return 2 * (error * gauss * step).sum(dim=-1)


@register("term", "sliced_characteristic")
class SlicedCharacteristic(Term):
    """Gaussianity of random slices, by their characteristic function (SIGReg of LeJEPA, arXiv 2511.08544).

    The mean over views and slices of the Epps-Pulley statistic of z a, for unit vectors a that are drawn anew each
    step. Unlike a variance or covariance term, it acts on the whole distribution. Its gradient fades as all samples
    come together, since the sample's characteristic function is flat there.

    Args:
        slices: random directions per step; 1024 in the authors' package, 256 in their short script.
        knots: points of the integration rule in [0, reach].
        reach: where the integral ends: 3 in the authors' code, 5 in the paper's text.
        times_samples: multiply by the number of samples N (over all processes) as in the authors' code; the weight of
            the term then depends on the batch size.
        seed: of the sequence of directions.
    """

    inputs = "set"
    batched = True

    def __init__(
        self,
        *,
        slices: Annotated[int, Field(ge=1)] = 1024,
        knots: Annotated[int, Field(ge=2)] = 17,
        reach: Annotated[float, Field(gt=0)] = 3.0,
        times_samples: bool = True,
        seed: Annotated[int, Field(ge=0)] = 0,
    ):
        super().__init__()
        self.knots, self.reach, self.times_samples = knots, reach, times_samples
        self.directions = Slices(slices, seed)

    def forward(self, z: Sequence[Tensor] | Tensor) -> Tensor:
        """Return the scalar for the embeddings of all views, each `(B, D)`."""
        sliced = stacked(z) @ self.directions(z[0])  # (V, B, slices)
        together = max(1, MOST // (sliced[0].numel() * self.knots))
        value = torch.cat([epps_pulley(x, self.knots, self.reach).mean(dim=-1) for x in sliced.split(together)]).mean()
        return value * len(z[0]) if self.times_samples else value

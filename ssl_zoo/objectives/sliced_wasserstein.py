"""VISReg's three terms: `unit_scale`, `sliced_wasserstein` (the shape) and `centre`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ssl_zoo.objectives.seen import over_views
from ssl_zoo.objectives.slices import Slices
from ssl_zoo.parts import Term
from ssl_zoo.registry import register

Positive = Annotated[float, Field(gt=0)]


def deviation(z: Tensor, eps: float) -> Tensor:
    """Return the (biased) standard deviation `(..., 1, D)` of each dimension of z `(..., B, D)`, at least `eps`."""
    return (z - z.mean(dim=-2, keepdim=True)).square().mean(dim=-2, keepdim=True).clamp_min(eps**2).sqrt()


def unit_scale(z: Tensor, eps: float = 1e-6) -> Tensor:
    """Return mean_j (1 - sigma_j)^2 `(...)` of z `(..., B, D)` (Wu et al. 2026, equation 1)."""
    return (1 - deviation(z, eps)).square().mean(dim=(-2, -1))


def centre(z: Tensor) -> Tensor:
    """Return mean_j mu_j^2 `(...)` of z `(..., B, D)` (Wu et al. 2026, equation 6)."""
    return z.mean(dim=-2).square().mean(dim=-1)


def gaussian_quantiles(num: int, like: Tensor) -> Tensor:
    """Return the standard Gaussian's quantiles at i / (B + 1), i = 1..B, ascending, for B = num, `(B,)`."""
    place = torch.arange(1, num + 1, device=like.device, dtype=torch.float64) / (num + 1)
    return (math.sqrt(2) * torch.erfinv(2 * place - 1)).to(like.dtype)


def sliced_wasserstein(z: Tensor, directions: Tensor, eps: float = 1e-6) -> Tensor:
    """Return the squared 2-Wasserstein distance of the standardised z from the Gaussian, mean over the slices.

    Each dimension is centred and divided by its standard deviation, which no gradient passes (Wu et al. 2026, equation
    2), so that the term acts on the shape and leaves the scale alone. In one dimension the distance is that between
    sorted samples and quantiles (equation 5).

    Args:
        z: embeddings `(..., B, D)`.
        directions: unit vectors `(D, M)`.
        eps: the least standard deviation that is divided by.

    Returns:
        `(...)`.
    """
    normed = (z - z.mean(dim=-2, keepdim=True)) / deviation(z, eps).detach()
    ordered = (normed @ directions).sort(dim=-2).values
    return (ordered - gaussian_quantiles(z.shape[-2], z)[:, None]).square().mean(dim=(-2, -1))


@register("term", "unit_scale")
class UnitScale(Term):
    """Squared distance of each dimension's standard deviation from 1 (VISReg's scale, arXiv 2606.02572, equation 1).

    Args:
        eps: the least standard deviation; a dimension below it has no gradient.
    """

    inputs = "set"
    batched = True

    def __init__(self, *, eps: Positive = 1e-6):
        super().__init__()
        self.eps = eps

    def forward(self, z: Sequence[Tensor] | Tensor) -> Tensor:
        """Return the scalar, mean over the views, for their embeddings `(B, D)`."""
        return over_views(lambda x: unit_scale(x, self.eps), z).mean()


@register("term", "centre")
class Centre(Term):
    """Squared mean of each dimension (VISReg, arXiv 2606.02572, equation 6)."""

    inputs = "set"
    batched = True

    def forward(self, z: Sequence[Tensor] | Tensor) -> Tensor:
        """Return the scalar, mean over the views, for their embeddings `(B, D)`."""
        return over_views(centre, z).mean()


@register("term", "sliced_wasserstein")
class SlicedWasserstein(Term):
    """Distance of random slices of the standardised embeddings from Gaussian (VISReg's shape, arXiv 2606.02572, eq. 5).

    Args:
        slices: random directions per step; more than the embedding has dimensions.
        eps: the least standard deviation that is divided by.
        seed: of the sequence of directions.
    """

    inputs = "set"
    batched = True

    def __init__(
        self,
        *,
        slices: Annotated[int, Field(ge=1)] = 4096,
        eps: Positive = 1e-6,
        seed: Annotated[int, Field(ge=0)] = 0,
    ):
        super().__init__()
        self.eps = eps
        self.directions = Slices(slices, seed)

    def forward(self, z: Sequence[Tensor] | Tensor) -> Tensor:
        """Return the scalar, mean over the views, for their embeddings `(B, D)`."""
        a = self.directions(z[0])
        return over_views(lambda x: sliced_wasserstein(x, a, self.eps), z).mean()

"""Predictors that are computed from the data and not trained: `directpred` and `directcopy`."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ssl_zoo.distributed import collectives
from ssl_zoo.hardware import without_autocast
from ssl_zoo.heads.newton import largest_eigenvalue, root
from ssl_zoo.parts import Head, StepCounter, StepMean
from ssl_zoo.registry import register

Fraction = Annotated[float, Field(ge=0, lt=1)]
Every = Annotated[int, Field(ge=1)]


def root_spectrum(correlation: Tensor, eps: float) -> Tensor:
    """Return U diag(sqrt(s / max s) + eps) U^T for a correlation U diag(s) U^T (Tian et al. 2021, arXiv 2102.06810).

    On a CPU from the eigenvectors. Elsewhere from products of matrices alone, as (F / max s)^(1/2) + eps I: a solver
    for eigenvectors makes the host wait. The two differ by at most 1e-3 where an eigenvalue is below 1e-4 of the
    largest, of which float32 knows little, and by 2e-6 else (`ssl_zoo.heads.newton.root`).

    Args:
        correlation: symmetric and positive semi-definite, `(D, D)`.
        eps: added to the root of each eigenvalue, after the largest has become 1 (the authors' code).
    """
    if correlation.device.type != "cpu":
        return root_by_products(correlation, eps)
    s, u = torch.linalg.eigh(correlation)
    s = s.clamp_min(0)
    weight = (s / s[-1].clamp_min(torch.finfo(s.dtype).tiny)).sqrt() + eps
    return (u * weight) @ u.T


def root_by_products(correlation: Tensor, eps: float) -> Tensor:
    """Return what `root_spectrum` does, in float64 by Newton's iteration."""
    exact = correlation.double()
    top = largest_eigenvalue(exact).clamp_min(torch.finfo(correlation.dtype).tiny)
    identity = torch.eye(len(exact), dtype=exact.dtype, device=exact.device)
    return (root(exact / top) + eps * identity).to(correlation.dtype)


class _FromCorrelation(Head, StepCounter):
    """A linear predictor without bias, set from a running correlation of its input; it has no trainable weights."""

    depends_on_length = False
    caches = ("_read",)  # the number of steps is asked for outside of the forward pass only
    correlation: Tensor
    weight: Tensor

    def __init__(self, in_dim: int, rho: float, every: int):
        super().__init__()
        self.in_dim = self.out_dim = in_dim
        self.rho, self.every = rho, every
        self.register_buffer("correlation", torch.zeros(in_dim, in_dim))
        self.register_buffer("weight", torch.eye(in_dim))
        self.step = StepMean(self.correlation)

    def forward(self, z: Tensor) -> Tensor:
        """Return p `(B, D)` for z `(B, D)`; in training mode, z's correlation is taken up."""
        if self.training:
            with torch.no_grad(), without_autocast(z.device):
                x = z.detach().to(self.correlation.dtype)
                self.step.note(collectives.mean(x.T @ x / len(x)))
        return F.linear(z, self.weight.to(z.dtype))

    def from_correlation(self, correlation: Tensor) -> Tensor:
        """Return the predictor's matrix `(D, D)`."""
        raise NotImplementedError

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Take the step's correlation into the running one, and at every `every`-th step set the predictor."""
        if not self.training:
            return
        new, noted = self.step.take()
        mixed = torch.where(self.steps == 0, new, self.rho * self.correlation + (1 - self.rho) * new)
        self.correlation.copy_(torch.where(noted > 0, mixed, self.correlation))
        if int(self) % self.every == 0:
            self.weight.copy_(self.from_correlation(self.correlation))
        self.advance()


@register("head", "directpred")
class DirectPred(_FromCorrelation):
    """W = U diag(sqrt(s / max s) + eps) U^T of the running correlation F = U diag(s) U^T (DirectPred).

    Tian, Chen & Ganguli 2021 (arXiv 2102.06810): a linear predictor aligned with the correlation of its
    input. F <- rho F + (1 - rho) E[z z^T], uncentred, over all views of an optimizer step; W is the identity until the
    end of the first step.

    Args:
        in_dim: width of the input and of the output.
        rho: weight of the old correlation.
        eps: boost of the small eigenvalues, relative to the largest as in the authors' code; 0.1 in the paper, 0.01 in
            the command that is published with the code.
        every: steps between two settings of W.
    """

    def __init__(self, in_dim: int, *, rho: Fraction = 0.3, eps: Annotated[float, Field(ge=0)] = 0.1, every: Every = 1):
        super().__init__(in_dim, rho, every)
        self.eps = eps

    def from_correlation(self, correlation: Tensor) -> Tensor:
        """Return W `(D, D)`."""
        return root_spectrum(correlation, self.eps)


@register("head", "directcopy")
class DirectCopy(_FromCorrelation):
    """W = F + eps I of the running correlation F = rho F + (1 - rho) E[z z^T] (DirectCopy).

    Wang, Chen, Du & Tian 2021 (arXiv 2110.04947), as in the authors' code: no eigenvectors are needed. W is the
    identity until the end of the first step.

    Args:
        in_dim: width of the input and of the output.
        rho: weight of the old correlation.
        eps: added to the diagonal, in the units of F.
        every: steps between two settings of W.
    """

    def __init__(self, in_dim: int, *, rho: Fraction = 0.3, eps: Annotated[float, Field(ge=0)] = 0.1, every: Every = 1):
        super().__init__(in_dim, rho, every)
        self.eps = eps

    def from_correlation(self, correlation: Tensor) -> Tensor:
        """Return W `(D, D)`."""
        return correlation + self.eps * torch.eye(self.in_dim, dtype=correlation.dtype, device=correlation.device)

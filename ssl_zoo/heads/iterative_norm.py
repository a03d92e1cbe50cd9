"""Iterative normalisation: whitening by Newton's iteration, the last norm of VIbCReg's projector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ssl_zoo.distributed import collectives
from ssl_zoo.hardware import without_autocast


def inverse_root(covariance: Tensor, iterations: int) -> Tensor:
    """Return an approximation of covariance^(-1/2) by Newton's iteration on covariance / trace.

    P_0 = I, P_k = (3 P_{k-1} - P_{k-1}^3 S) / 2 with S of trace 1; P / sqrt(trace) (Huang et al. 2019, arXiv
    1904.03441). Few iterations leave small eigenvalues partly unwhitened, which bounds the gradient.

    Args:
        covariance: symmetric and positive definite, `(..., C, C)`.
        iterations: T.
    """
    trace = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    s = covariance / trace
    p = torch.eye(s.shape[-1], dtype=s.dtype, device=s.device).expand_as(s)
    for _ in range(iterations):
        p = (3 * p - p @ p @ p @ s) / 2
    return p / trace.sqrt()


def group_width(dim: int, num_groups: int) -> int:
    """Return the channels that are whitened together: about dim / num_groups, and a divisor of `dim`."""
    width = -(-dim // num_groups)
    while dim % width:
        width //= 2
    return width


class IterativeNorm(nn.Module):
    """Centre, and whiten groups of channels over the batch, with the statistics of all processes.

    Huang et al. 2019 (arXiv 1904.03441). With the authors' 64 groups, a width of 2048 is whitened in groups of 32
    channels, and a width of 64 or less is only standardised.

    Args:
        dim: number of channels.
        num_groups: into how many groups they are cut.
        iterations: of Newton's method.
        eps: added to the diagonal of the covariance.
        momentum: weight of the new statistics in the running ones, which are used in evaluation mode only.

    Shapes: `(B, dim)` -> `(B, dim)`.
    """

    mixes_samples = True
    mean: Tensor
    whitening: Tensor

    def __init__(self, dim: int, num_groups: int = 64, iterations: int = 5, eps: float = 1e-5, momentum: float = 0.1):
        super().__init__()
        self.width = group_width(dim, num_groups)
        self.iterations, self.eps, self.momentum = iterations, eps, momentum
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("whitening", torch.eye(self.width).repeat(dim // self.width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the whitened x, in float32 or float64."""
        with without_autocast(x.device):
            x = x if x.dtype == torch.float64 else x.float()
            mean, whitening = self._statistics(x) if self.training else (self.mean, self.whitening)
            centred = (x - mean.to(x.dtype)).unflatten(1, (-1, self.width))
            return torch.einsum("bgc,gdc->bgd", centred, whitening.to(x.dtype)).flatten(1)

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = collectives.mean(x.mean(dim=0))
        centred = (x - mean).unflatten(1, (-1, self.width))
        covariance = collectives.mean(torch.einsum("bgc,bgd->gcd", centred, centred) / len(x))
        identity = torch.eye(self.width, dtype=x.dtype, device=x.device)
        whitening = inverse_root(covariance + self.eps * identity, self.iterations)
        with torch.no_grad():
            self.mean.lerp_(mean.to(self.mean.dtype), self.momentum)
            self.whitening.lerp_(whitening.to(self.whitening.dtype), self.momentum)
        return mean, whitening

    def extra_repr(self) -> str:
        """Return the channels that are whitened together, for repr."""
        return f"{len(self.mean)} channels in groups of {self.width}, iterations={self.iterations}"

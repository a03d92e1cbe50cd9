"""Metrics of single dimensions of features and of pairs of them: spread, dead ones, correlation."""

import torch
from torch import Tensor

DEAD = 1e-3
"""A dimension is dead where its spread is below so much of the root mean square over all of them."""


def dimension_std(z: Tensor) -> Tensor:
    """Return the (biased) standard deviation of each dimension, `(D,)` in double precision, in the units of z.

    `scale` is its root mean square; `normalised_std` is the mean of that of features of unit length, the curve of the
    SimSiam paper (arXiv 2011.10566, section 4.1).

    Args:
        z: features `(N, D)`.
    """
    return z.double().std(dim=0, correction=0)


def _dead(z: Tensor, below: float) -> Tensor:
    """Return whether each dimension is dead, `(D,)`; what fp32's rounding leaves of a constant is."""
    std = dimension_std(z)
    rounding = torch.finfo(torch.float32).eps * z.double().abs().amax(dim=0)
    return std <= torch.maximum(rounding, below * std.square().mean().sqrt())


def dead_dimensions(z: Tensor, below: float = DEAD) -> float:
    """Return the share of dimensions that hardly vary: those whose spread is at most `below` of all dimensions' RMS.

    A count without a paper of its own; units that a ReLU has switched off for every sample are the usual case. It is
    necessary for nothing: an encoder may be good with dead dimensions, and collapsed without any. It compares encoders
    of one width on the same samples.

    Args:
        z: features `(N, D)`.
        below: relative to the root mean square of the standard deviations.

    Returns:
        A number from 0 to 1, which a constant has.
    """
    return _dead(z, below).double().mean().item()


def mean_absolute_correlation(z: Tensor) -> float:
    """Return the mean absolute correlation of two different dimensions: how redundant they are.

    mean over i != j of |C_ij|, C the correlation matrix of one view's features: what the off-diagonal terms of Barlow
    Twins (arXiv 2103.03230, equation 2) and VICReg (arXiv 2105.04906, equation 4) reduce, there on the projection. Dead
    dimensions, which have no correlation, are left out. Independent features of N samples have about 0.8 / sqrt(N). It
    compares encoders of one width on the same samples.

    Args:
        z: features `(N, D)`.

    Returns:
        A number from 0 to 1; nan where fewer than two dimensions vary.
    """
    live = z.double()[:, ~_dead(z, DEAD)]
    if live.shape[1] < 2:
        return float("nan")
    live = (live - live.mean(dim=0)) / live.std(dim=0, correction=0)
    correlation = (live.T @ live / len(live)).abs()
    num = len(correlation)
    return ((correlation.sum() - correlation.diagonal().sum()) / (num * (num - 1))).item()

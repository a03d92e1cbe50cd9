"""Functions of matrices from products of matrices alone, by Newton-Schulz iterations.

Solvers for singular values and eigenvectors report to the host, which then waits for a GPU in every step; a product
waits for nothing. All are meant for float64.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

STEEPEST = 1.6
"""The largest scale: above it, the largest singular value would be nearly 0 on its way to 1, and lose its digits."""

SQUARINGS, AT_ONCE = 20, 5
"""Squarings of a matrix, and those between two norms: its 32nd power, which float64 holds where the largest eigenvalue
is above 1e-9 of the norm."""


def _plus_product(x: Tensor, a: Tensor, b: Tensor, beta: float, alpha: float) -> Tensor:
    """Return beta x + alpha a b in one kernel, for matrices or batches of them."""
    add = torch.addmm if x.ndim == 2 else torch.baddbmm
    return add(x, a, b, beta=beta, alpha=alpha)


@cache
def scales(least: float) -> tuple[float, ...]:
    """Return scales a with which x <- (3 a x - (a x)^3) / 2, one after the other, takes [least, 1] to 1.

    Chen & Chow 2014 ("A stable scaling of Newton-Schulz for improving the sign function computation of a Hermitian
    matrix"): a^2 = 3 / (1 + l + l^2) for the least value l there is, which then grows by 2.6 and not by 1.5 a time.

    Args:
        least: in (0, 1); smaller values end between 0 and 1.
    """
    found = []
    while least < 1 - 1e-9:
        a = min(math.sqrt(3 / (1 + least + least**2)), STEEPEST)
        found.append(a)
        least = min((3 * a * x - (a * x) ** 3) / 2 for x in (least, 1.0))
    return (*found, 1.0)


def polar(x: Tensor, least: float = 1e-7) -> Tensor:
    """Return U V^T for x = U S V^T `(..., N, D)`: the gradient of the sum of the singular values.

    Args:
        x: matrices.
        least: singular values below this much of the root of the sum of their fourth powers are taken as less than 1;
            those that are 0 stay 0.
    """
    if x.shape[-1] > x.shape[-2]:
        return polar(x.mT, least).mT
    bound = torch.linalg.vector_norm(x.mT @ x, dim=(-2, -1), keepdim=True).sqrt()  # no singular value is above it
    y = x / bound.clamp_min(torch.finfo(x.dtype).tiny)
    for a in scales(least):
        y = _plus_product(y, y, y.mT @ y, 1.5 * a, -0.5 * a**3)
    return y


def root(a: Tensor) -> Tensor:
    """Return the square root of a symmetric matrix `(D, D)` with eigenvalues in [0, 1], rounded to float32 before.

    Rounding makes eigenvalues negative, for which the iteration diverges. So it is that of A + d I, with d above what
    rounding changes, and gives Z = (A + d I)^(-1/2); the result is (A + d/2 I) Z. That is the root up to 2e-8 for
    eigenvalues above 0.01 and up to d^(1/2) / 2 = 5e-4 for 0. The coupled iteration is that of Denman and Beavers in
    the form of Newton and Schulz (Higham 2008, "Functions of Matrices", equation 6.35).
    """
    identity = torch.eye(len(a), dtype=a.dtype, device=a.device)
    shift = 1e-6 * max(1.0, math.sqrt(len(a) / 128))
    first, *middle, last = scales(math.sqrt(shift))
    y = a + shift * identity
    z = 1.5 * first * identity - 0.5 * first**3 * y  # where Z is the identity, and no product is needed
    y = y @ z
    for scale in middle:
        change = _plus_product(identity, z, y, 1.5 * scale, -0.5 * scale**3)
        y, z = y @ change, change @ z
    z = _plus_product(identity, z, y, 1.5 * last, -0.5 * last**3) @ z  # what Y would be is not asked for
    return (a + shift / 2 * identity) @ z


def largest_eigenvalue(a: Tensor) -> Tensor:
    """Return the largest eigenvalue `()` of a symmetric positive semi-definite matrix `(D, D)`, by its powers.

    The mean of the eigenvalues, weighted by their 2^20th powers: its relative error is below D / 2^21.
    """
    power = a
    for done in range(SQUARINGS):
        if done % AT_ONCE == 0:
            power = power / torch.linalg.matrix_norm(power).clamp_min(torch.finfo(a.dtype).tiny)
        power = power @ power
    return (power * a).sum() / power.diagonal().sum().clamp_min(torch.finfo(a.dtype).tiny)

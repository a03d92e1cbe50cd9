"""Linear CKA: how alike two sets of features of the same samples are."""

import torch
from torch import Tensor


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Return the linear centred kernel alignment of two features of the same samples.

    |Y^T X|_F^2 / (|X^T X|_F |Y^T Y|_F), both centred (Kornblith et al. 2019, arXiv 1905.00414, equation 3). It does not
    change under rotations and a common scale, so it compares encoders of different width and method. Few dominant
    directions decide it, it grows as samples get fewer than dimensions, and it says how alike two encoders are, not
    which is better.

    Args:
        x: features `(N, D)`.
        y: features `(N, E)` of the same samples in the same order.

    Returns:
        A number from 0 to 1; nan where either is the same for all samples.

    Raises:
        ValueError: different numbers of samples.
    """
    if len(x) != len(y):
        raise ValueError(f"CKA compares features of the same samples, not of {len(x)} and {len(y)}")
    centred = [z.double() - z.double().mean(dim=0) for z in (x, y)]
    rounding = torch.finfo(torch.float32).eps
    if any(c.norm() <= rounding * z.double().norm() for c, z in zip(centred, (x, y), strict=True)):
        return float("nan")
    a, b = centred
    return ((b.T @ a).square().sum() / ((a.T @ a).norm() * (b.T @ b).norm())).item()

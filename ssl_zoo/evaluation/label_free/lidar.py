"""LiDAR: the rank of what tells samples apart, relative to how much the views of a sample differ."""

import torch
from torch import Tensor

from ssl_zoo.evaluation.label_free.spectrum import EPS, entropy_rank

DELTA = 1e-4


def lidar(x: Tensor, delta: float = DELTA, eps: float = EPS) -> float:
    """Return LiDAR, the effective rank of the linear discriminant analysis whose classes are the samples.

    exp(-sum_i p_i log p_i), p_i = lambda_i / |lambda|_1 + eps, lambda the eigenvalues of
    S_w^(-1/2) S_b S_w^(-1/2): S_b is the covariance of the samples' means over their views, S_w the mean covariance of
    the views of a sample, plus delta on its diagonal (Thilak et al. 2024, arXiv 2312.04000, equations 1 to 4). The
    groups are the true ones, since the views of each sample are made for it; code that takes them from a queue of
    training batches may mix samples.

    It compares as `rankme` does, and takes into account what `rankme` does not: directions in which the views of one
    sample differ as much as samples do count little. It depends on the views, on both numbers of them, and through
    delta on the scale of the features. The paper uses 1,000 samples and 50 views.

    Args:
        x: features `(N, V, D)` of V >= 2 views of N samples.
        delta: added to the diagonal of S_w.
        eps: added to each p_i.

    Returns:
        A number from 1 to min(N - 1, D), up to eps; 0 where all samples have the same mean.

    Raises:
        ValueError: fewer than 2 samples or views.
    """
    if x.ndim != 3 or min(x.shape[:2]) < 2:
        raise ValueError(f"LiDAR takes (samples, views, D) with two of each at least, not {tuple(x.shape)}")
    x = x.double()
    means = x.mean(dim=1)
    centred = means - means.mean(dim=0)
    between = centred.T @ centred / (len(x) - 1)
    within = (x - means[:, None]).flatten(0, 1)
    within = within.T @ within / (len(x) * (x.shape[1] - 1))
    if between.trace() <= torch.finfo(torch.float32).eps ** 2 * means.square().sum(dim=1).mean():
        return 0.0
    values, vectors = torch.linalg.eigh(within)
    white = vectors * (values.clamp_min(0) + delta).rsqrt()
    eigenvalues = torch.linalg.eigvalsh(white.T @ between @ white).clamp_min(0)
    return entropy_rank(eigenvalues, eps)

"""The intrinsic dimension of features by minimum spanning trees, as IdEst uses it."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ssl_zoo.rng import generator

SAMPLES = 1000
SIZES = 5


def mst_dimension(z: Tensor, samples: int = SAMPLES, sizes: int = SIZES, seed: int = 0) -> float:
    """Return the intrinsic dimension of features, by the growth of their minimum spanning tree.

    The length L(n) of the minimum spanning tree of n points in d dimensions grows as n^(1 - 1/d) (Steele 1988), so
    d = 1 / (1 - m) with m the slope of log L(n) over log n. That is the estimator dim_MST of IdEst (Mordacq, Kalogeiton
    & Oudot 2026, arXiv 2606.03338), with Euclidean distances; the numbers of points here are ours: `sizes` of them,
    evenly spaced in log n, from a tenth of the samples to all, nested in one random order.

    The paper finds lower dimensions in better encoders (Spearman about -0.8 over pre-trained models) across methods and
    architectures. A collapsed encoder has a low one too, so it does not tell collapse from quality. Above about 10 it
    is far too low at such numbers of samples, as all estimates are: it orders encoders on the same samples, no more.

    Args:
        z: features `(N, D)`.
        samples: the most that are used, at random; cost and memory grow with their square.
        sizes: how many numbers of points.
        seed: of the order.

    Returns:
        A number above 0; 0 where all features are the same, nan where fewer than 20 differ or where it is not finite.
    """
    order = torch.randperm(len(z), generator=generator(seed, "mst_dimension"))[:samples]
    points = z.detach()[order.to(z.device)].double().cpu().numpy()
    _, first = np.unique(points, axis=0, return_index=True)
    points = points[np.sort(first)]  # equal points would be edges of length 0, which a sparse graph does not have
    if len(points) == 1:
        return 0.0
    if len(points) < 20:
        return float("nan")
    nums = np.unique(np.geomspace(max(10, len(points) // 10), len(points), sizes).round().astype(int))
    lengths = [tree_length(points[:num]) for num in nums]
    slope = np.polyfit(np.log(nums), np.log(lengths), 1)[0]
    return float(1 / (1 - slope)) if slope < 1 else float("nan")


def tree_length(points: npt.NDArray[np.float64]) -> float:
    """Return the length of the Euclidean minimum spanning tree of points `(n, D)` that all differ."""
    from scipy.sparse.csgraph import minimum_spanning_tree
    from scipy.spatial.distance import pdist, squareform

    return float(minimum_spanning_tree(squareform(pdist(points))).sum())

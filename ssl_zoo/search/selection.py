"""Choosing samples that stand for all: the nearest to the centres of clusters, or the farthest from each other."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

BLOCK = 16384
"""Samples that are read at a time."""
RANDOM_STATE = 2**32
WHOLE = 2**31
"""Samples times clusters times dimensions, up to which clusters are computed of all samples at once."""
_BATCHES = 100
_BATCH = 4096


def k_means(x: Any, num: int, seed: int = 0) -> list[int]:
    """Return the sample nearest to the centre of each of `num` clusters, the largest cluster first.

    Clusters are scikit-learn's `KMeans`, and of many samples its `MiniBatchKMeans` (Sculley 2010, "Web-scale k-means
    clustering"), which reads them batch by batch. In place of empty clusters there are the samples that are farthest
    from all chosen ones.

    Args:
        x: `(N, D)`, an array or a memory map.
        num: of samples to choose, at most N.
        seed: of the clusters: the choice is a function of it and the samples.

    Returns:
        Positions, each once.
    """
    _check(x, num)
    if num == len(x):
        return list(range(num))
    centres = _centres(x, num, seed)
    nearest, distance = np.full(len(x), -1), np.full(len(x), np.inf)
    for start in range(0, len(x), BLOCK):
        d = _squares(x[start : start + BLOCK], centres)
        nearest[start : start + BLOCK], distance[start : start + BLOCK] = d.argmin(axis=1), d.min(axis=1)
    order = np.lexsort((np.arange(len(x)), distance, nearest))  # by cluster, in it by distance
    first = order[np.unique(nearest[order], return_index=True)[1]]
    sizes = np.bincount(nearest, minlength=num)[nearest[first]]
    chosen: list[int] = first[np.lexsort((first, -sizes))].tolist()
    return chosen if len(chosen) == num else [*chosen, *k_centre(x, num, chosen)[len(chosen) :]]


def _centres(x: Any, num: int, seed: int) -> Any:
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    state = seed % RANDOM_STATE
    model: Any = KMeans(num, random_state=state, n_init=3)
    if len(x) * num * x.shape[1] > WHOLE:
        batch = max(_BATCH, 2 * num)
        model = MiniBatchKMeans(
            num, random_state=state, batch_size=batch, max_iter=_BATCHES, n_init=3, compute_labels=False
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct samples than clusters: filled up above
        return model.fit(x).cluster_centers_


def k_centre(x: Any, num: int, chosen: list[int] | None = None) -> list[int]:
    """Return samples, each the farthest from all before it: the greedy solution of the k-centre problem.

    The largest distance of any sample to the nearest chosen one is at most twice the smallest possible (Gonzalez 1985,
    "Clustering to minimize the maximum intercluster distance"). The first is the sample nearest to the mean.

    Args:
        x: `(N, D)`, an array or a memory map.
        num: of samples to choose, at most N.
        chosen: samples to begin with.

    Returns:
        Positions, each once, in the order of their choice; of equally far ones the first.
    """
    _check(x, num)
    made = list(chosen or [])
    if not made:
        mean = sum(np.asarray(x[s : s + BLOCK], dtype=np.float64).sum(axis=0) for s in range(0, len(x), BLOCK)) / len(x)
        made.append(int(_distances(x, mean).argmin()))
    distance = np.full(len(x), np.inf)
    for i in made:
        distance = np.minimum(distance, _distances(x, np.asarray(x[i], dtype=np.float64)))
    distance[made] = -1  # never twice, also where samples are equal
    while len(made) < num:
        made.append(int(distance.argmax()))
        distance = np.minimum(distance, _distances(x, np.asarray(x[made[-1]], dtype=np.float64)))
        distance[made[-1]] = -1
    return made


def _check(x: Any, num: int) -> None:
    if not 1 <= num <= len(x):
        raise ValueError(f"{num} of {len(x)} samples cannot be chosen")


def _distances(x: Any, point: Any) -> Any:
    """Return the squared distances `(N,)` of samples to a point `(D,)`, float64."""
    found = np.empty(len(x))
    for start in range(0, len(x), BLOCK):
        difference = np.asarray(x[start : start + BLOCK], dtype=np.float64) - point
        found[start : start + BLOCK] = np.einsum("nd,nd->n", difference, difference)
    return found


def _squares(some: Any, centres: Any) -> Any:
    """Return the squared distances `(B, K)`."""
    some, centres = np.asarray(some, dtype=np.float64), np.asarray(centres, dtype=np.float64)
    squares = (some**2).sum(axis=1)[:, None] - 2 * some @ centres.T + (centres**2).sum(axis=1)
    return np.maximum(squares, 0)

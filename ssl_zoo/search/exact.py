"""Exact nearest neighbours by cosine, in blocks: no matrix of all pairs is ever in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

QUERIES, BLOCK = 2048, 16384
"""Queries, and samples, that are compared at a time: their cosines take 128 MiB."""


def nearest(
    queries: Any,
    x: Any,
    k: int,
    *,
    own: bool = False,
    device: torch.device | str = "cpu",
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield the nearest samples of queries, by blocks of queries.

    Args:
        queries: `(Q, D)`, an array of vectors of unit length.
        x: `(N, D)`, the samples; arrays may be memory maps.
        k: neighbours of each query; fewer where there are fewer samples.
        own: whether the queries are the samples, so that a sample is not its own neighbour.
        device: where the products are computed.

    Yields:
        The number of the first query of the block; positions `(B, k)`, the nearest first, of equal ones the first; and
        the cosines `(B, k)`.
    """
    k = min(k, len(x) - own)
    for start in range(0, len(queries), QUERIES):
        some = torch.from_numpy(np.array(queries[start : start + QUERIES])).to(device)
        place = torch.empty(len(some), 0, dtype=torch.int64, device=device)
        cosine = torch.empty(len(some), 0, device=device)
        for first in range(0, len(x), BLOCK):
            block = torch.from_numpy(np.array(x[first : first + BLOCK])).to(device)
            found = some @ block.T
            if own:
                rows = torch.arange(start, start + len(some), device=device)
                inside = (rows >= first) & (rows < first + len(block))
                found[inside, rows[inside] - first] = -torch.inf
            value, index = found.topk(min(k, len(block)), dim=1)
            cosine, place = _best(torch.cat([cosine, value], 1), torch.cat([place, index + first], 1), k)
        yield start, place.cpu(), cosine.clamp(-1, 1).cpu()


def _best(cosine: Tensor, place: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest cosines, and their places; of equal ones the first places."""
    order = place.argsort(dim=1)
    cosine, place = cosine.gather(1, order), place.gather(1, order)
    order = cosine.argsort(dim=1, descending=True, stable=True)[:, :k]
    return cosine.gather(1, order), place.gather(1, order)

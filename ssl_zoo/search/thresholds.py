"""Thresholds of near duplicates, from the data: how alike are samples and slightly changed copies of them?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.rng import generator
from ssl_zoo.search.contents import Contents, outline
from ssl_zoo.search.neighbours import encoded
from ssl_zoo.search.vectors import Vectors

SAMPLES = 64
"""Samples whose copies are looked at."""
QUANTILE = 0.01
"""The share of the copies that differ more than is counted on."""
ROOM = 2
"""The thresholds leave so many times the difference from 1 that the other copies have: users change more than these."""
LEAST_COSINE = 0.95
"""The smallest cosine of near duplicates, of a modality that makes no copies."""
MOST = 0.99
"""The largest threshold: one nearer to 1 would miss what the copies that were tried did not show."""


@dataclass(frozen=True)
class Thresholds:
    """The least that near duplicates have in common.

    Attributes:
        likeness: of their contents, from -1 to 1.
        cosine: of their vectors, from -1 to 1.
        copies: how many changed copies they were calibrated on; 0 where they were given, or the modality makes none.
        quantiles: `{"likeness": {q: value}, "cosine": ...}` of the copies.
    """

    likeness: float
    cosine: float
    copies: int
    quantiles: dict[str, dict[str, float]]


def calibrated(vectors: Vectors, contents: Contents, likeness: float | None, cosine: float | None) -> Thresholds:
    """Return the thresholds from slightly changed copies of some samples.

    Where 99 % of the copies reach q, a threshold is 1 - 2 (1 - q), and at most 0.99; that of the likeness is at least
    `Likeness.least`.

    Args:
        vectors: of the samples.
        contents: of the same.
        likeness: given by the user, in place of the calibration.
        cosine: the same.
    """
    pairs, cosines = _copies(vectors, contents) if None in (likeness, cosine) else (torch.zeros(0), torch.zeros(0))
    quantiles = {}
    for name, values in (("likeness", pairs), ("cosine", cosines)):
        if len(values):
            quantiles[name] = {f"{q:g}": float(values.double().quantile(q)) for q in (QUANTILE, 0.05, 0.5)}
    least = contents.likeness.least
    if likeness is None:
        likeness = max(least, _threshold(quantiles["likeness"])) if quantiles else least
    if cosine is None:
        cosine = _threshold(quantiles["cosine"]) if quantiles else LEAST_COSINE
    return Thresholds(likeness, cosine, len(pairs), quantiles)


def _threshold(quantiles: dict[str, float]) -> float:
    return min(MOST, 1 - ROOM * (1 - quantiles[f"{QUANTILE:g}"]))


def _copies(vectors: Vectors, contents: Contents) -> tuple[Tensor, Tensor]:
    """Return the likeness and the cosine of samples and their copies, each `(P,)`."""
    some = torch.randperm(len(vectors), generator=generator(0, "copies"))[:SAMPLES].sort().values.tolist()
    likeness, pairs, cosines = contents.likeness, [], []
    for i in some:
        try:
            sample = vectors.read(i)
        except BadSample:
            continue
        copies: Sequence[Any] = likeness.copies(sample)
        if not copies:
            break
        one = outline(vectors, likeness, sample)
        others = torch.stack([outline(vectors, likeness, copy) for copy in copies])
        pairs.append(likeness.compare(one.expand_as(others), others))
        x = encoded(vectors, copies, [f"a changed copy of {vectors.name(i)}"] * len(copies))
        cosines.append(torch.from_numpy(x @ np.array(vectors.x[i])))
    if not pairs:
        return torch.zeros(0), torch.zeros(0)
    return torch.cat(pairs), torch.cat(cosines)

"""Whether views fit the samples that they are made of."""

from __future__ import annotations

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.source import Modality, Split

TRIED = 5
"""Samples that are looked at, spread over the split."""


def misfit(split: Split, modality: Modality) -> str:
    """Return in words how the views do not fit most of some samples; empty if they do.

    Args:
        split: the samples.
        modality: of the views, see `Modality.misfit`.
    """
    found = []
    for i in range(0, len(split), max(1, len(split) // TRIED)):
        try:
            found.append(modality.misfit(split.read(i)))
        except BadSample:  # the loader counts it
            continue
    problems = [each for each in found if each]
    return problems[0] if 2 * len(problems) > len(found) else ""

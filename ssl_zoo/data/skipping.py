"""A split whose unreadable samples are left out as they are met, and some samples that are looked at before all."""

from __future__ import annotations

from ssl_zoo.data.bad_samples import Budget
from ssl_zoo.data.source import Sample, Split


class SkippingSplit(Split):
    """A lazily read split that skips unreadable samples, up to a budget.

    `read` still raises `BadSample`: the caller records it in its own `budget()` and skips the sample.

    Args:
        split: the samples.
        bad_budget: the largest fraction of the split that may be bad, 0..1.
    """

    def __init__(self, split: Split, bad_budget: float) -> None:
        self._split, self._bad_budget = split, bad_budget
        self.labels, self.class_names = split.labels, split.class_names
        self.names, self.draws, self.blocks = split.names, split.draws, split.blocks
        self.fingerprint = split.fingerprint

    def __len__(self) -> int:
        return len(self._split)

    def read(self, i: int) -> Sample:
        """Return sample `i`."""
        return self._split.read(i)

    def name(self, i: int) -> str:
        """Return the name of sample `i` in the source."""
        return self._split.name(i)

    def remarks(self, i: int) -> tuple[str, ...]:
        """Return notes on how sample `i` was understood."""
        return self._split.remarks(i)

    def budget(self) -> Budget:
        """Return a new, empty list of bad samples with the split's limit."""
        return Budget(len(self), "skip", self._bad_budget)


NUM_PROBES = 16
"""Number of samples, spread over a split, that are looked at before all are read."""


def probes(num: int) -> range:
    """Return the positions of some samples, spread over a split of `num`."""
    return range(0, num, max(1, num // NUM_PROBES))

"""A split that is read when it is needed, and whose unreadable samples are to be left out."""

from __future__ import annotations

from ssl_zoo.data.source import Budget, Sample, Split


class Tolerant(Split):
    """A split with the word that samples which cannot be read are left out, up to a budget.

    Reading one still raises `BadSample`: who reads asks `budget` for a list of his own and leaves the sample out.

    Args:
        split: the samples.
        bad_budget: the largest fraction of the split that may be bad, 0..1.
    """

    def __init__(self, split: Split, bad_budget: float) -> None:
        self._split, self._bad_budget = split, bad_budget
        self.labels, self.class_names = split.labels, split.class_names
        self.names = split.names

    def __len__(self) -> int:
        return len(self._split)

    def read(self, i: int) -> Sample:
        """Return sample `i`."""
        return self._split.read(i)

    def name(self, i: int) -> str:
        """Return what the user calls sample `i`."""
        return self._split.name(i)

    def remarks(self, i: int) -> tuple[str, ...]:
        """Return what a user should know of how sample `i` is understood, where the split says so."""
        return self._split.remarks(i)

    def budget(self) -> Budget:
        """Return a new, empty list of bad samples with the split's limit."""
        return Budget(len(self), "skip", self._bad_budget)

"""A split of samples that are mappings: rows that say which sample of each member belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.source import Sample, Split

MISSING = -1
"""The row of a member that a sample lacks."""


class PairedSplit(Split):
    """Samples `{member: sample}`, read from the members' own splits.

    A sample that lacks a member is there and cannot be read, so that it is counted and named as a bad one.

    Args:
        splits: {member: its splits, whose samples are counted through}.
        rows: {member: `(N,)` which of its samples each pair has, or `MISSING`}.
        labels: `(N,)` int64, or None.
        class_names: the name of each label, or None.
    """

    def __init__(
        self,
        splits: Mapping[str, Sequence[Split]],
        rows: Mapping[str, np.ndarray],
        labels: Tensor | None = None,
        class_names: list[str] | None = None,
    ) -> None:
        self._splits = {member: list(each) for member, each in splits.items()}
        self._ends = {member: np.cumsum([len(split) for split in each]) for member, each in splits.items()}
        self._rows = dict(rows)
        self.labels, self.class_names = labels, class_names

    def __len__(self) -> int:
        return len(next(iter(self._rows.values())))

    def _place(self, member: str, i: int) -> tuple[Split, int] | None:
        """Return a member's split and the position in it of its part of sample `i`, or None where it is missing."""
        row = int(self._rows[member][i])
        if row == MISSING:
            return None
        ends = self._ends[member]
        number = int(np.searchsorted(ends, row, side="right"))
        return self._splits[member][number], row - (int(ends[number - 1]) if number else 0)

    def read(self, i: int) -> Sample:
        """Return sample `i`, {member: sample}.

        Raises:
            BadSample: a member is missing or cannot be read.
        """
        sample = {}
        for member in self._rows:
            place = self._place(member, i)
            if place is None:
                raise BadSample(self.name(i), f"its {member} is missing")
            try:
                sample[member] = place[0].read(place[1])
            except BadSample as bad:
                raise BadSample(self.name(i), f"{member}: {bad.reason}") from bad
        return sample

    def name(self, i: int) -> str:
        """Return the names of the parts, such as `digit 3, placement 0 + row 17 of speech.parquet`; equal ones once."""
        places = [self._place(member, i) for member in self._rows]
        return " + ".join(dict.fromkeys(split.name(row) for split, row in filter(None, places)))

    def remarks(self, i: int) -> tuple[str, ...]:
        """Return notes on how the parts of sample `i` are understood."""
        found = []
        for member in self._rows:
            place = self._place(member, i)
            if place is not None:
                found += [f"{member}: {remark}" for remark in place[0].remarks(place[1])]
        return tuple(found)

"""Remarks on how samples were understood, counted over a split."""

from __future__ import annotations

from dataclasses import dataclass, field

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.skipping import probes
from ssl_zoo.data.source import Split
from ssl_zoo.errors import shown_name


@dataclass
class Remarks:
    """Counts of remarks.

    Attributes:
        counts: remark -> (number of samples, name of the first).
        num: samples that were looked at.
    """

    counts: dict[str, tuple[int, str]] = field(default_factory=dict)
    num: int = 0

    def look(self, split: Split, i: int) -> None:
        """Count the remarks of a split on sample `i`."""
        self.num += 1
        for remark in split.remarks(i):
            count, name = self.counts.get(remark, (0, split.name(i)))
            self.counts[remark] = count + 1, name

    def lines(self) -> list[str]:
        """Return one sentence per remark, the most frequent first."""
        ranked = sorted(self.counts.items(), key=lambda item: -item[1][0])
        return [
            shown_name(f"{count} of {self.num} sample{'s' if self.num > 1 else ''}: {remark}; for example {name}")
            for remark, (count, name) in ranked
        ]


def remarks_of_some(split: Split) -> list[str]:
    """Return the sentences on samples that are spread over a split; those that cannot be read are skipped."""
    remarks = Remarks()
    for i in probes(len(split)):
        try:
            remarks.look(split, i)
        except BadSample:
            continue
    return remarks.lines()

"""What a data source offers: named splits of samples that can be read one by one.

A source (kind `source` of the registry) has `splits`, a tuple of names of which the first is `train`, and
`split(name) -> Split`. Its factory takes `channels` by position and its options by keyword; one that reads a path has a
static method `matches(path) -> bool`, by which `resolve` recognises what a user typed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from ssl_zoo.errors import UserError, shown_name


class BadSample(UserError):
    """A sample that cannot be read. Whoever has no policy for such samples lets it reach the user.

    Attributes:
        name: the sample as its user knows it, such as a file name.
        reason: why it cannot be read.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return shown_name(f"cannot read {self.name}: {self.reason}.")


class BadData(UserError):
    """Samples that cannot be read, more than are allowed."""


class Budget:
    """Keeps the list of samples that could not be read, and says when there are too many.

    Args:
        num: samples in the split.
        on_error: `raise` allows none, `skip` allows the budget.
        bad_budget: the largest fraction of the split that may be bad, 0..1.

    Attributes:
        bad: name -> reason, in the order in which they were met.
    """

    def __init__(self, num: int, on_error: Literal["raise", "skip"], bad_budget: float) -> None:
        self.num, self.on_error, self.bad_budget = num, on_error, bad_budget
        self.bad: dict[str, str] = {}

    def add(self, name: str, reason: str) -> None:
        """Note a bad sample; the same one may be met again in a later epoch.

        Raises:
            BadData: no bad sample is allowed, or this is one too many.
        """
        self.bad[name] = reason
        if self.on_error == "raise":
            raise BadData(f"cannot read {name}: {reason}; remove or mend it, or set on_error: skip to leave it out.")
        allowed = int(self.num * self.bad_budget)
        if len(self.bad) > allowed:
            raise BadData(
                f"{len(self.bad)} of {self.num} samples cannot be read and bad_budget: {self.bad_budget:g} allows "
                f"{allowed}{self.example()}; mend or remove them, or raise bad_budget."
            )

    def example(self) -> str:
        """Return ', for example NAME: REASON', or nothing where all is well."""
        for name, reason in self.bad.items():
            return f", for example {name}: {reason}"
        return ""


@runtime_checkable
class Split(Protocol):
    """The samples of one split. It travels to worker processes, so it must pickle, and stay small when it does.

    A split may also have `remarks(i) -> tuple[str, ...]`: what the user should know of how sample `i`, which can be
    read, is understood, such as `50 pages, of which the first is used`. Equal remarks are counted.

    Attributes:
        labels: `(N,)` int64, numbers from 0 that mean the same in all splits of a source, -1 for a sample without one;
            or None where no sample has one. They are for evaluation and never reach a method.
        class_names: the name of each label, or None where they have none; the same list for all splits of a source.
    """

    labels: Tensor | None
    class_names: list[str] | None

    def __len__(self) -> int:
        """Return the number of samples."""

    def read(self, i: int) -> Tensor:
        """Return sample `i`; an image is uint8 `(C, H, W)`.

        Raises:
            BadSample: it cannot be read.
        """

    def name(self, i: int) -> str:
        """Return what the user calls sample `i`: a file name, or `row 17 of train.parquet`."""


NUM_PROBES = 16
"""Samples, spread over a split, that are looked at before all are read."""


def probes(num: int) -> range:
    """Return the positions of some samples, spread over a split of `num`."""
    return range(0, num, max(1, num // NUM_PROBES))


class Source(Protocol):
    """Where data come from.

    It may have `notes`, a tuple of sentences for the user: what was left out, with counts and an example, and what was
    understood otherwise than it is written.

    Attributes:
        splits: the names of its splits, `train` first.
    """

    splits: tuple[str, ...]

    def split(self, name: str) -> Split:
        """Return the split of that name."""


class PathSource(Source, Protocol):
    """A source that reads a file or a folder of the user's."""

    @staticmethod
    def matches(path: Path) -> bool:
        """Return whether this source reads what lies at `path`."""


class Strings(Sequence[str]):
    """Many strings in one byte buffer.

    A Python list of a million paths is a million objects, and touching one in a forked worker copies its page (the
    reference count is written), so that memory grows over an epoch. Two numpy arrays are never written to.
    """

    def __init__(self, strings: Iterable[str]) -> None:
        # File names need not be valid UTF-8; surrogateescape carries such bytes through, as the os module does.
        encoded = [string.encode("utf-8", "surrogateescape") for string in strings]
        self._ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)))
        self._bytes = np.frombuffer(b"".join(encoded), np.uint8)

    def __len__(self) -> int:
        return len(self._ends)

    def encoded(self) -> list[bytes]:
        """Return all strings as their bytes."""
        data, ends = self._bytes.tobytes(), self._ends.tolist()
        return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def __getitem__(self, i: int) -> str:  # type: ignore[override]
        i = range(len(self))[i]
        start = self._ends[i - 1] if i else 0
        return self._bytes[start : self._ends[i]].tobytes().decode("utf-8", "surrogateescape")

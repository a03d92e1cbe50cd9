"""The contract of a split: samples by their number, read one by one or in batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from torch import Tensor

from ssl_zoo.data.bad_samples import Budget
from ssl_zoo.data.blocks import Blocks
from ssl_zoo.data.draws import Draws

Sample = Any
"""A tensor, encoded bytes, a handle on a file, named tensors: only its modality and its view policy look inside."""

Samples = Tensor | Sequence[Sample]


class Split(ABC):
    """The samples of one split. It travels to worker processes, so it must pickle, and stay small when it does.

    Attributes:
        labels: `(N,)` int64, numbers from 0 that mean the same in all splits of a source, -1 for a sample without one;
            or None where no sample has one. They are for evaluation and never reach a method.
        class_names: the name of each label, or None where they have none; the same list for all splits of a source.
        stacked: whether `read_batch` returns one tensor at once, from memory, without samples that cannot be read.
        names: the names of all samples where they are at hand, else None.
        draws: how many samples of each source an epoch of the training has; None where it has each sample once.
        blocks: samples that are read together, so that an epoch goes from some of them to the next; None where any
            sample is read as fast as any other.
        fingerprint: a digest of names and contents of all samples where the source keeps one, by which changed data are
            noticed; else None, and they are looked at.
        bad: name -> reason of the samples that were found unreadable when the split was opened, and left out.
        remarks_of_some: sentences on how some samples were understood, where they were collected on opening.
        holders: processes of this machine that have the samples in memory together, once.
    """

    labels: Tensor | None = None
    class_names: list[str] | None = None
    stacked: bool = False
    names: Sequence[str] | None = None
    remarks_of_some: tuple[str, ...] | None = None
    holders: int = 1
    draws: Draws | None = None
    blocks: Blocks | None = None
    fingerprint: str | None = None
    bad: Mapping[str, str] = MappingProxyType({})

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abstractmethod
    def read(self, i: int) -> Sample:
        """Return sample `i`.

        Raises:
            BadSample: it cannot be read.
        """

    def read_batch(self, index: Tensor) -> Samples:
        """Return the samples at `index`, a tensor `(B, ...)` where the split is `stacked`, else a list.

        Raises:
            BadSample: one cannot be read.
        """
        return [self.read(i) for i in index.tolist()]

    def name(self, i: int) -> str:
        """Return the name of sample `i` for its user: a file name, or `row 17 of train.parquet`."""
        return f"sample {i}"

    def remarks(self, i: int) -> tuple[str, ...]:
        """Return notes on how sample `i` was understood, such as `50 pages, of which the first is used`."""
        return ()

    def sizes(self) -> Iterable[int] | None:
        """Return the bytes of each sample as it is stored, -1 where that is not known; None where all are not.

        No sample is read for it. By the sizes, a resumed run notices files that have changed.
        """
        return None

    def unreadable(self) -> Mapping[str, str]:
        """Return name -> reason of samples that cannot be read, where that is known without reading any.

        Those of a shard that is missing, for example; by default none.
        """
        return MappingProxyType({})

    def budget(self) -> Budget | None:
        """Return a new list of bad samples, to which unreadable ones may be added; None where they are errors."""
        return None

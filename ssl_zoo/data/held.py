"""Splits that are held in memory: samples as one tensor, or single ones of any size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from ssl_zoo.data.arena import SampleWriter
from ssl_zoo.data.source import Sample, Split
from ssl_zoo.data.transfer import to_device


class MemorySplit(Split):
    """A split whose samples are one tensor; batches are indexed from it, without a loop over samples.

    Attributes:
        data: `(N, ...)`; the first dimension is the sample.
        labels: `(N,)` int64 or None.
        class_names: the name of each label, or None.
        bad: samples that could not be read and were left out, as name -> reason.
        remarks_of_some: sentences on how some of the samples were understood.
    """

    stacked = True

    def __init__(
        self,
        data: Tensor,
        labels: Tensor | None = None,
        class_names: list[str] | None = None,
        names: Sequence[str] | None = None,
        bad: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.data = data
        self.labels = labels
        self.class_names = class_names
        self.bad = bad
        self.names = names

    def __len__(self) -> int:
        return len(self.data)

    def read(self, i: int) -> Tensor:
        """Return sample `i`."""
        return self.data[i]

    def read_batch(self, index: Tensor) -> Tensor:
        """Return the samples at `index` `(B,)`, batch first."""
        return self.data[to_device(index, self.data.device)]

    def to(self, device: torch.device) -> MemorySplit:
        """Return the split with its samples on a device: batches are then made there, and only indices travel."""
        moved = MemorySplit(self.data.to(device), self.labels, self.class_names, self.names, self.bad)
        moved.draws, moved.blocks, moved.fingerprint = self.draws, self.blocks, self.fingerprint
        return moved

    def name(self, i: int) -> str:
        """Return the sample's name in the source it came from."""
        return self.names[i] if self.names is not None else super().name(i)


class LargeSplit(Split):
    """A split in memory whose samples are too large to be copied in batches: they are cut from one by one.

    Attributes:
        whole: the samples as one tensor.
        labels: `(N,)` int64 or None.
        class_names: the name of each label, or None.
        bad: samples that could not be read and were left out, as name -> reason.
        nbytes: of all samples.
        remarks_of_some: sentences on how some of the samples were understood.
    """

    def __init__(self, whole: MemorySplit) -> None:
        self.whole = whole
        self.labels, self.class_names, self.bad = whole.labels, whole.class_names, whole.bad
        self.nbytes, self.remarks_of_some = whole.data.nbytes, whole.remarks_of_some
        self.draws, self.blocks, self.fingerprint = whole.draws, whole.blocks, whole.fingerprint

    def __len__(self) -> int:
        return len(self.whole)

    def read(self, i: int) -> Tensor:
        """Return sample `i`, which is not to be changed."""
        return self.whole.read(i)

    def name(self, i: int) -> str:
        """Return the sample's name in the source it came from."""
        return self.whole.name(i)


class KeptSplit(Split):
    """A split in memory whose samples are single ones, of any size.

    Args:
        samples: as `Modality.kept` returned them; they are not to be changed. Those that are being written can be read
            once the arena is mapped.
        labels: `(N,)` int64 or None.
        class_names: the name of each label, or None.
        names: of the samples.
        bad: samples that could not be read and were left out, as name -> reason.
        nbytes: of all samples.
    """

    def __init__(
        self,
        samples: Sequence[Sample] | SampleWriter,
        labels: Tensor | None,
        class_names: list[str] | None,
        names: Sequence[str],
        bad: Mapping[str, str],
        nbytes: int,
    ) -> None:
        self.nbytes = nbytes
        self.samples, self._names = samples, names
        self.labels, self.class_names, self.names, self.bad = labels, class_names, names, bad

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, i: int) -> Sample:
        """Return sample `i`, which is not to be changed."""
        assert not isinstance(self.samples, SampleWriter)
        return self.samples[i]

    def name(self, i: int) -> str:
        """Return the sample's name in the source it came from."""
        return self._names[i]

"""Some samples of a split, to look at data without reading all of it."""

from __future__ import annotations

import torch

from ssl_zoo.data.source import Sample, Split


class SomeSamples(Split):
    """Some samples of a split, spread over it."""

    def __init__(self, whole: Split, most: int) -> None:
        self._whole = whole
        generator = torch.Generator().manual_seed(0)  # so that the first of them are spread over the split, too
        self._index = torch.randperm(len(whole), generator=generator)[:most].tolist()
        self.labels = None if whole.labels is None else whole.labels[self._index]
        self.class_names = whole.class_names

    def __len__(self) -> int:
        return len(self._index)

    def end(self, num: int) -> None:
        """Leave out all but the first so many."""
        self._index = self._index[:num]
        self.labels = None if self.labels is None else self.labels[:num]

    def read(self, i: int) -> Sample:
        return self._whole.read(self._index[i])

    def name(self, i: int) -> str:
        return self._whole.name(self._index[i])

    def remarks(self, i: int) -> tuple[str, ...]:
        return self._whole.remarks(self._index[i])

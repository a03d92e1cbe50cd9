"""Splits held in memory, decoded once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ssl_zoo.data.source import BadSample, Budget, Split, Strings
from ssl_zoo.data.tolerant import Tolerant
from ssl_zoo.errors import UserError

Cache = Literal["auto", "memory", "none"]

AUTO_BYTES = 4 * 2**30
"""`cache="auto"` keeps at most this much in memory, and at most half of what is free."""

NUM_PROBES = 16
"""Samples, spread over the split, that are read first to see whether all are of one size."""


class MemorySplit:
    """A split whose samples are one tensor; batches are indexed from it, without a loop over samples.

    Attributes:
        data: `(N, C, H, W)` uint8 for images; the first dimension is the sample.
        labels: `(N,)` int64 or None.
        class_names: the name of each label, or None.
        bad: samples that could not be read and were left out, as name -> reason.
    """

    def __init__(
        self,
        data: Tensor,
        labels: Tensor | None = None,
        class_names: list[str] | None = None,
        names: Sequence[str] | None = None,
        bad: dict[str, str] | None = None,
    ) -> None:
        self.data = data
        self.labels = labels
        self.class_names = class_names
        self.bad = bad or {}
        self._names = names

    @property
    def names(self) -> Sequence[str] | None:
        """The names of all samples, or None."""
        return self._names

    def __len__(self) -> int:
        return len(self.data)

    def read(self, i: int) -> Tensor:
        """Return sample `i`."""
        return self.data[i]

    def read_batch(self, indices: Tensor) -> Tensor:
        """Return the samples at `indices` `(B,)`, batch first."""
        return self.data[indices.to(self.data.device, non_blocking=True)]

    def to(self, device: torch.device) -> MemorySplit:
        """Return the split with its samples on a device: batches are then made there, and only indices travel."""
        return MemorySplit(self.data.to(device), self.labels, self.class_names, self._names, self.bad)

    def name(self, i: int) -> str:
        """Return the sample's name in the source it came from."""
        return self._names[i] if self._names is not None else f"sample {i}"


def load(
    split: Split,
    cache: Cache = "auto",
    on_error: Literal["raise", "skip"] = "raise",
    bad_budget: float = 0.001,
) -> Split:
    """Return the split with its samples in memory where that is asked for and possible, else as it is or `Tolerant`.

    Args:
        split: what to read.
        cache: `memory` reads all samples now; `auto` does so if they are of one size and take at most 4 GiB and half of
            the memory that is free; `none` leaves them to be read when they are needed.
        on_error: `raise` stops at the first sample that cannot be read; `skip` leaves those out, see `MemorySplit.bad`.
        bad_budget: the largest fraction of the split that may be left out, 0..1.

    Raises:
        UserError: a sample cannot be read, or more than the budget; `memory` and the sizes differ.
    """
    if isinstance(split, MemorySplit):
        return split
    lazy: Split = Tolerant(split, bad_budget) if on_error == "skip" else split
    if cache == "none" or (cache == "auto" and not _fits(split)):
        return lazy
    budget = Budget(len(split), on_error, bad_budget)
    data: Tensor | None = None
    kept: list[int] = []
    for i in range(len(split)):
        try:
            sample = split.read(i)
        except BadSample as bad:
            budget.add(bad.name, bad.reason)
            continue
        if data is None:
            data = torch.empty((len(split), *sample.shape), dtype=sample.dtype)
        if sample.shape != data.shape[1:]:
            if cache == "auto":
                return lazy
            raise UserError(
                f"cache: memory needs samples of one size, but {split.name(i)} is {_size(sample)} "
                f"and {split.name(kept[0])} is {_size(data[0])}; use cache: auto or none."
            )
        data[len(kept)] = sample
        kept.append(i)
    if data is None:
        raise UserError(f"none of the {len(split)} samples could be read{budget.example()}.")
    labels = None if split.labels is None else split.labels[kept]
    names = Strings(split.name(i) for i in kept)
    return MemorySplit(data[: len(kept)], labels, split.class_names, names, budget.bad)


def _fits(split: Split) -> bool:
    """Return whether samples spread over the split are of one size, and all of that size fit in memory."""
    found: Tensor | None = None
    for i in probes(len(split)):
        try:
            sample = split.read(i)
        except BadSample:
            continue  # counted, and told about, by the pass that reads them all
        if found is not None and sample.shape != found.shape:
            return False
        found = sample
    return found is None or found.numel() * found.element_size() * len(split) <= min(AUTO_BYTES, _free_bytes() // 2)


def probes(num: int) -> range:
    """Return some positions of samples, spread over a split of `num`."""
    return range(0, num, max(1, num // NUM_PROBES))


def _free_bytes() -> int:
    """Return the memory that is free for programs, where the system says so (Linux); else a lot."""
    info = Path("/proc/meminfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    free = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return free[0] if free else 2 * AUTO_BYTES


def _size(sample: Tensor) -> str:
    return "x".join(map(str, sample.shape))

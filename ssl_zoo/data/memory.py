"""Reading a split into memory, decoded once, where it fits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ssl_zoo.data.arena import Arena, SampleWriter
from ssl_zoo.data.bad_samples import BadSample, Budget
from ssl_zoo.data.draws import Draws
from ssl_zoo.data.held import KeptSplit, LargeSplit, MemorySplit
from ssl_zoo.data.progress import progress
from ssl_zoo.data.remarks import remarks_of_some
from ssl_zoo.data.skipping import SkippingSplit, probes
from ssl_zoo.data.source import Modality, Sample, Split
from ssl_zoo.data.strings import Strings
from ssl_zoo.errors import UserError

Cache = Literal["auto", "memory", "none"]

AUTO_BYTES = 4 * 2**30
"""`cache="auto"` keeps at most this much in memory, and at most half of what is free."""

WHOLE_BYTES = 4 * 2**20
"""Samples of up to this size are given to the views whole, in batches; larger ones are cut one by one."""


def load(
    split: Split,
    cache: Cache = "auto",
    on_error: Literal["raise", "skip"] = "raise",
    bad_budget: float = 0.001,
    modality: Modality | None = None,
    arena: Arena | None = None,
) -> Split:
    """Return the split with its samples in memory where that is asked for and possible, else unread.

    Args:
        split: what to read.
        cache: `memory` reads all samples now; `auto` does so if they are of one size and take at most 4 GiB and half of
            the memory that is free; `none` leaves them to be read when they are needed. Samples of more than 4 MiB stay
            single ones, see `LargeSplit`.
        on_error: `raise` stops at the first sample that cannot be read; `skip` leaves those out, see `MemorySplit.bad`.
        bad_budget: the largest fraction of the split that may be left out, 0..1.
        modality: of the samples; with `Modality.any_size` they need not be of one size, see `KeptSplit`.
        arena: memory for the samples, which others map; those of a `KeptSplit` can only be read from there.

    Raises:
        NotShareable: a sample cannot be put into the arena.
        UserError: a sample cannot be read, or more than the budget; `memory` and the sizes differ, or are more than is
            free.
    """
    if isinstance(split, (MemorySplit, LargeSplit, KeptSplit)):
        return split
    budget = Budget(len(split), on_error, bad_budget)
    for name, reason in split.unreadable().items():
        budget.add(name, reason)
    if modality is not None and modality.any_size:
        budget = Budget(len(split), on_error, bad_budget)
        kept = None if cache == "none" else _keep(split, modality, budget, cache, arena)
        return _unread(split, on_error, bad_budget) if kept is None else kept
    loaded: MemorySplit | None = None
    if cache == "memory" or (cache == "auto" and _fits(split)):
        loaded = _read_all(split, Budget(len(split), on_error, bad_budget), cache == "memory", arena)
    if loaded is None:
        return _unread(split, on_error, bad_budget)
    return loaded if loaded.data[0].nbytes <= WHOLE_BYTES else LargeSplit(loaded)


def _unread(split: Split, on_error: Literal["raise", "skip"], bad_budget: float) -> Split:
    return SkippingSplit(split, bad_budget) if on_error == "skip" else split


def _keep(split: Split, modality: Modality, budget: Budget, cache: Cache, arena: Arena | None) -> Split | None:
    """Return the samples of a split in memory, whatever their sizes, or None where `auto` finds them too large."""
    room = free_bytes() if cache == "memory" else min(AUTO_BYTES, free_bytes() // 2)
    if cache == "auto" and _expected_bytes(split, modality) > room:
        return None
    samples: list[Sample] | SampleWriter = [] if arena is None else SampleWriter(arena)
    places: list[int] = []
    total = 0
    for i in range(len(split)):
        try:
            sample = modality.kept(split.read(i))
        except BadSample as bad:
            budget.add(bad.name, bad.reason)
            continue
        samples.append(sample)
        places.append(i)
        total += modality.nbytes(sample)
        if total > room and cache == "auto":
            return None
        if total > room:
            raise UserError(
                f"data.cache: memory needs more than the {room / 2**30:.1f} GiB that are free, after {len(samples)} of "
                f"{len(split)} samples; use data.cache=auto or data.cache=none."
            )
    if not samples:
        raise UserError(f"none of the {len(split)} samples could be read{budget.example()}.")
    labels = None if split.labels is None else split.labels[places]
    names = Strings(split.name(i) for i in places)
    kept = KeptSplit(samples, labels, split.class_names, names, budget.bad, total)
    kept.remarks_of_some = tuple(remarks_of_some(split))
    kept.draws = _draws(split, places)
    kept.blocks = None if split.blocks is None else split.blocks.of(places)
    kept.fingerprint = split.fingerprint
    return kept


def _expected_bytes(split: Split, modality: Modality) -> float:
    """Return the size of all samples in memory, as expected from some that are spread over the split."""
    sizes = []
    for i in probes(len(split)):
        try:
            sizes.append(modality.nbytes(modality.kept(split.read(i))))
        except BadSample:
            continue  # the pass that reads them all counts it
    return len(split) * sum(sizes) / max(1, len(sizes))


def _read_all(split: Split, budget: Budget, insist: bool, arena: Arena | None) -> MemorySplit | None:
    """Return the samples of a split in memory, or None where they are not tensors of one size.

    Args:
        split: what to read.
        budget: for samples that cannot be read.
        insist: whether None is an error.
        arena: memory for them; None takes new memory.
    """
    data: Tensor | None = None
    kept: list[int] = []
    needed = ""
    for i in progress(range(len(split)), "reading into memory", "samples"):
        try:
            sample = split.read(i)
        except BadSample as bad:
            budget.add(bad.name, bad.reason)
            continue
        if not isinstance(sample, Tensor):
            needed = "samples that are decoded to tensors"
            break
        if data is None:
            _check_room(sample, len(split))
            shape = (len(split), *sample.shape)
            data = torch.empty(shape, dtype=sample.dtype) if arena is None else arena.tensor(shape, sample.dtype)
        if sample.shape != data.shape[1:]:
            sizes = f"{split.name(i)} is {_size(sample)} and {split.name(kept[0])} is {_size(data[0])}"
            needed = f"samples of one size, but {sizes}"
            break
        if sample.dtype != data.dtype:
            types = f"{split.name(i)} is {sample.dtype} and {split.name(kept[0])} is {data.dtype}"
            needed = f"samples of one type, but {types}"
            break
        data[len(kept)] = sample
        kept.append(i)
        del sample  # before another is read: they may be large
    if needed and insist:
        raise UserError(f"data.cache: memory needs {needed}; use data.cache=auto or data.cache=none.")
    if needed:
        return None
    if data is None:
        raise UserError(f"none of the {len(split)} samples could be read{budget.example()}.")
    labels = None if split.labels is None else split.labels[kept]
    names = Strings(split.name(i) for i in kept)
    loaded = MemorySplit(data[: len(kept)], labels, split.class_names, names, budget.bad)
    loaded.remarks_of_some = tuple(remarks_of_some(split))
    loaded.draws = _draws(split, kept)
    loaded.blocks = None if split.blocks is None else split.blocks.of(kept)
    loaded.fingerprint = split.fingerprint
    return loaded


def _draws(split: Split, kept: Sequence[int]) -> Draws | None:
    """Return how many samples of each source an epoch has, where only some of them could be read.

    Raises:
        UserError: none of a source could be.
    """
    if split.draws is None:
        return None
    draws = split.draws.of(kept)
    if draws is None:
        raise UserError("data.source.weights: no sample of one of the sources can be read; leave it out.")
    return draws


def _check_room(sample: Tensor, num: int) -> None:
    """Refuse what the system would end the process for, after reading most of it."""
    needed, free = num * sample.nbytes, free_bytes()
    if needed > free:
        raise UserError(
            f"data.cache: memory needs {needed / 2**30:.1f} GiB for {num} samples of {_size(sample)}, and "
            f"{free / 2**30:.1f} GiB are free; use data.cache=auto or data.cache=none."
        )


def _fits(split: Split) -> bool:
    """Return whether samples spread over the split are of one size, and all of that size fit in memory."""
    shape, nbytes = None, 0
    for i in probes(len(split)):
        try:
            sample = split.read(i)
        except BadSample:
            continue  # the pass that reads them all counts it
        if not isinstance(sample, Tensor) or (shape is not None and sample.shape != shape):
            return False
        shape, nbytes = sample.shape, sample.nbytes
        del sample  # before another is read: they may be large
    return nbytes * len(split) <= min(AUTO_BYTES, free_bytes() // 2)


def free_bytes() -> int:
    """Return the memory that is free for programs, in bytes; a large number where the system does not state it."""
    info = Path("/proc/meminfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    free = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return free[0] if free else 2 * AUTO_BYTES


def _size(sample: Tensor) -> str:
    return "x".join(map(str, sample.shape))

"""One copy of the data for all processes of a machine: one of them reads, and the others map its memory."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist

from ssl_zoo.data.arena import Arena, Handle, Mapped, MappedSamples, NotShareable, SampleWriter, has_arenas
from ssl_zoo.data.held import KeptSplit, LargeSplit, MemorySplit
from ssl_zoo.data.memory import Cache, load
from ssl_zoo.data.source import Modality, Split
from ssl_zoo.errors import UserError

LEAST_BYTES = 2**20
"""Data in memory that are smaller than this stay where they are."""


class Sharing:
    """The processes of a run, by machine.

    Args:
        group: all of them, with gloo.

    Attributes:
        here: how many are on this machine.
        reads: whether this is the one that reads the data on this machine.
        useful: whether there is a machine with several.
    """

    def __init__(self, group: dist.ProcessGroup) -> None:
        self._group = group
        places: list[str] = self._gathered(_machine())
        rank = dist.get_rank(group)
        ranks = [i for i, place in enumerate(places) if place == places[rank]]
        self.here, self._reader = len(ranks), ranks[0]
        self.reads = rank == self._reader
        self.useful = len(set(places)) < len(places)

    def _gathered(self, value: Any) -> list[Any]:
        found: list[Any] = [None] * dist.get_world_size(self._group)
        dist.all_gather_object(found, value, group=self._group)
        return found

    def from_reader(self, value: Any) -> Any:
        """Return the value of this machine's reader; all processes must call it, the others with None."""
        return self._gathered(value)[self._reader]

    def wait(self) -> None:
        """Wait until all processes have called this."""
        self._gathered(None)


def _machine() -> str:
    """Return what processes have in common that see each other's files in /proc; without that, a name of its own."""
    if not has_arenas():
        return f"{socket.gethostname()} {os.getpid()}"
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return f"{socket.gethostname()} {os.getpid()}"


def packed(split: Split, arena: Arena) -> Handle | None:
    """Put a split in memory into an arena; None for one that is not in memory.

    Args:
        split: its samples may lie in the arena already.
        arena: that is sealed by this.

    Raises:
        NotShareable: its samples cannot be sent to other processes.
    """
    about: dict[str, Any] = {
        "labels": split.labels, "class_names": split.class_names, "names": split.names, "bad": dict(split.bad),
        "remarks": split.remarks_of_some, "draws": split.draws, "blocks": split.blocks,
        "fingerprint": split.fingerprint,
    }  # fmt: skip
    if isinstance(split, LargeSplit):
        about |= {"data": split.whole.data, "names": split.whole.names, "large": True}
    elif isinstance(split, MemorySplit):
        about |= {"data": split.data, "large": False}
    elif isinstance(split, KeptSplit):
        samples = split.samples
        if not isinstance(samples, SampleWriter):
            writer = SampleWriter(arena)
            for sample in samples:
                writer.append(sample)
            samples = writer
        about |= {"places": torch.tensor(samples.places, dtype=torch.int64), "nbytes": split.nbytes}
    else:
        return None
    return arena.seal(about)


def unpacked(handle: Handle) -> Split:
    """Return the split that lies in an arena.

    Raises:
        OSError: the arena cannot be mapped.
    """
    memory = Mapped(handle)
    about = memory.about
    described = (about["labels"], about["class_names"], about["names"], about["bad"])
    split: Split
    if "places" in about:
        split = KeptSplit(MappedSamples(memory, about["places"]), *described, about["nbytes"])
    else:
        split = MemorySplit(about["data"], *described)
    split.remarks_of_some, split.draws = about["remarks"], about["draws"]
    split.blocks, split.fingerprint = about["blocks"], about["fingerprint"]
    return LargeSplit(split) if isinstance(split, MemorySplit) and about["large"] else split


def load_shared(
    split: Split,
    sharing: Sharing,
    cache: Cache = "auto",
    on_error: Literal["raise", "skip"] = "raise",
    bad_budget: float = 0.001,
    modality: Modality | None = None,
) -> Split:
    """Return the split as `load` does, its samples in memory once for all processes of a machine.

    All processes must call it. One of each machine reads while the others wait; what it refuses, all refuse. A process
    that cannot map the memory reads the samples itself.

    Args:
        split: what to read.
        sharing: the processes.
        cache: see `load`.
        on_error: see `load`.
        bad_budget: see `load`.
        modality: see `load`.

    Raises:
        UserError: as `load`.
    """

    def alone(cache: Cache = cache) -> Split:
        return load(split, cache, on_error, bad_budget, modality)

    if cache == "none" or not sharing.useful or _is_small(split):
        return alone()
    arena = Arena() if sharing.reads else None
    found: Handle | UserError | str | None = None
    if arena is not None:
        try:
            found = packed(load(split, cache, on_error, bad_budget, modality, arena), arena) or "not in memory"
        except NotShareable:
            found = "alone"
        except UserError as error:
            found = error
    try:
        found = sharing.from_reader(found)
        if isinstance(found, UserError):
            raise found
        if not isinstance(found, Handle):
            return alone() if found == "alone" else alone("none")
        mapped = None
        with suppress(OSError):
            mapped = unpacked(found)
            mapped.holders = sharing.here
        sharing.wait()  # all have mapped it
    finally:
        if arena is not None:
            arena.close()
    return alone() if mapped is None else mapped


def _is_small(split: Split) -> bool:
    """Return whether a split is in memory already and not worth sharing, or of a class of its own."""
    if isinstance(split, MemorySplit):
        return split.data.nbytes < LEAST_BYTES or type(split) is not MemorySplit
    return isinstance(split, (KeptSplit, LargeSplit)) and split.nbytes < LEAST_BYTES

"""Number of loader workers, chosen by timing reads."""

from __future__ import annotations

import os
import pickle
import time
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ssl_zoo import rng
from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.cutter import HOLD_BYTES, Cutter, tensor_bytes
from ssl_zoo.data.held import KeptSplit, LargeSplit, MemorySplit
from ssl_zoo.data.memory import free_bytes
from ssl_zoo.data.remarks import remarks_of_some
from ssl_zoo.data.skipping import NUM_PROBES, probes
from ssl_zoo.data.source import Sample, Split, ViewPolicy
from ssl_zoo.errors import UserError, describe_error
from ssl_zoo.hardware import cpus_of_each

CHEAP = 5e-5
"""Seconds per sample. Below this, sending a sample from a worker costs more than reading it in the training process."""

MOST_WORKERS = 16
"""Largest number of workers that `auto` chooses."""

MOST_PER_CPU = 8
"""Largest number of workers per CPU: more only wait for each other, and each takes memory."""

IN_FLIGHT = 3
"""Batches that a worker holds: one in the making, and two that wait (the DataLoader's `prefetch_factor`)."""

BYTES_PER_VALUE = 10 / 3
"""Memory per value of a sample, in bytes, at most: while it is decoded, and while it is cut."""


@dataclass(frozen=True)
class WorkerChoice:
    """The number of worker processes, and a note for the user: one line, and one for each remark."""

    num_workers: int
    note: str


@dataclass(frozen=True)
class _Probe:
    """Measurements on some samples, on one thread.

    Attributes:
        seconds: median time for reading and cutting one.
        largest: bytes of the largest, decoded.
        cut: bytes of one after `collate`.
    """

    seconds: float = 0.0
    largest: int = 0
    cut: int = 0

    def memory(self, workers: int, batch_size: int) -> float:
        """Return about how many bytes reading takes, in all processes."""
        batches = IN_FLIGHT if workers else 1
        whole = HOLD_BYTES + self.largest * BYTES_PER_VALUE
        return max(1, workers) * (whole + batches * batch_size * self.cut)


def choose_workers(
    split: Split, policy: ViewPolicy, asked: int | Literal["auto"], batch_size: int | None = None
) -> WorkerChoice:
    """Choose the number of workers.

    Args:
        split: the samples, in memory or not.
        policy: the view policy, whose `cut` and `collate` are done where samples are read.
        asked: a number, bounded at 8 per CPU, or `auto`: none for samples that come in batches (from memory) or are
            read at once, else one per thread of torch (of several processes, per CPU that each has), at most
            `MOST_WORKERS` and what fits in half of the free memory.
        batch_size: samples that a worker reads for a batch, for an estimate of the memory that reading takes.
    """
    workers, capped = (0, "") if asked == "auto" else _bounded(asked)
    if split.stacked:
        size = _in_memory(split.data.nbytes, split) if isinstance(split, MemorySplit) else "whole batches"
        return _choice(workers, f"data: {size}; {_by(workers)}{capped}", split)
    probe = _measure(split, policy)
    if asked == "auto" and probe.seconds >= CHEAP:
        workers = max(1, min(MOST_WORKERS, _cpus()))
        while batch_size and workers > 1 and 2 * probe.memory(workers, batch_size) > free_bytes():
            workers -= 1
            capped = " (more would not fit in memory)"
    rate = max(1, workers) / max(probe.seconds, 1e-9)
    where = f"{_in_memory(split.nbytes, split)}, cut" if isinstance(split, (KeptSplit, LargeSplit)) else "read"
    note = f"data: {where} in every epoch, {_milliseconds(probe.seconds)} per sample; {_by(workers)}{capped}"
    return _choice(workers, f"{note}, up to {rate:.0f} samples/s{_memory(probe, workers, batch_size)}", split)


def check_travels(split: Split) -> None:
    """Make sure that a split can be sent to a worker process where these are not forked.

    Raises:
        UserError: it does not pickle, as a data set that is defined in a function does not.
    """
    try:
        pickle.dumps(split)
    except Exception as error:  # whatever an object raises that refuses
        raise UserError(
            f"the data cannot be sent to worker processes ({describe_error(error)}): define the data set at the top of "
            "a module, without functions and open files in it, or set data.num_workers=0."
        ) from None


def _choice(workers: int, note: str, split: Split) -> WorkerChoice:
    remarks = remarks_of_some(split) if split.remarks_of_some is None else split.remarks_of_some
    more = "`ssl-zoo data check` counts all"
    return WorkerChoice(workers, "\n".join([note, *(f"data: {remark} ({more})" for remark in remarks)]))


def _bounded(asked: int) -> tuple[int, str]:
    """Return a number of workers, and a note where it is lower than asked."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    most = max(MOST_WORKERS, MOST_PER_CPU * cpus)
    if asked <= most:
        return asked, ""
    return most, f" (data.num_workers={asked} is more than {cpus} CPU{'s' if cpus > 1 else ''} can use)"


def _cpus() -> int:
    """Return the CPUs that workers of this process may use.

    Those are as many as torch's threads, which the user bounds by OMP_NUM_THREADS. Of a process that torchrun has
    started, this number says nothing: torchrun sets it to 1.
    """
    processes = os.environ.get("LOCAL_WORLD_SIZE")
    return torch.get_num_threads() if processes is None else cpus_of_each(int(processes))


def _in_memory(nbytes: int, split: Split) -> str:
    once = f", once for {split.holders} processes" if split.holders > 1 else ""
    return f"{nbytes / 2**20:.0f} MiB in memory{once}"


def _by(workers: int) -> str:
    return "no workers" if workers == 0 else f"{workers} worker{'s' if workers > 1 else ''}"


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.0f} ms" if seconds >= 0.01 else f"{1e3 * seconds:.2g} ms"


def _memory(probe: _Probe, workers: int, batch_size: int | None) -> str:
    if batch_size is None:
        return ""
    needed, free = probe.memory(workers, batch_size), free_bytes()
    advice = ""
    if needed > free:
        fewer = "lower data.num_workers or training.batch_size" if workers > 1 else "lower training.batch_size"
        advice = f", more than the {_size(free)} that are free: {fewer}"
    return f", about {_size(needed)} for reading{advice}"


def _size(num: float) -> str:
    return f"{num / 2**30:.1f} GiB" if num >= 2**30 else f"{max(1, num / 2**20):.0f} MiB"


def _measure(split: Split, policy: ViewPolicy) -> _Probe:
    """Time reading and cutting of some samples."""
    taken, largest, cut = [], 0, 0
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker
    try:
        for i in _timed(split):
            started = time.perf_counter()
            try:
                sample = split.read(i)
                size = tensor_bytes(sample) or 0
                payload = _collated(sample, policy)
            except BadSample:
                continue  # the loader counts it
            del sample
            taken.append(time.perf_counter() - started)
            largest, cut = max(largest, size), max(cut, sum(value.nbytes for value in payload.values()))
    finally:
        torch.set_num_threads(threads)
    return _Probe(sorted(taken)[len(taken) // 2], largest, cut) if taken else _Probe()


def _timed(split: Split) -> range:
    """Return the samples to time; where blocks of them are read together, the first ones of one block."""
    if split.blocks is None:
        return probes(len(split))
    middle = len(split.blocks.sizes) // 2
    first = split.blocks.first_of(middle)
    return range(first, first + min(NUM_PROBES, int(split.blocks.sizes[middle])))


def _collated(sample: Sample, policy: ViewPolicy) -> dict[str, Tensor]:
    drawn = policy.draw(rng.generator(0, "probe"), 1)
    cutter = Cutter(policy, drawn)
    cutter.add(sample, 0)
    return policy.collate(cutter.finish(), drawn)

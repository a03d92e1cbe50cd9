"""How a split is read in training: chosen by measuring, and said."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import torch

from ssl_zoo import rng
from ssl_zoo.data.loader import Policy
from ssl_zoo.data.memory import MemorySplit, probes
from ssl_zoo.data.source import BadSample, Split

CHEAP = 5e-5
"""Seconds: what is read faster than this is read in the training process, since the way from another costs as much."""

MOST_WORKERS = 8


@dataclass(frozen=True)
class Reading:
    """The choice: how many worker processes read, and a sentence for the user."""

    num_workers: int
    note: str


def choose_reading(split: Split, policy: Policy, asked: int | Literal["auto"]) -> Reading:
    """Choose the number of workers.

    Args:
        split: the samples, in memory or not.
        policy: the view policy, whose `collate` is done where samples are read.
        asked: a number, which is taken, or `auto`: none for samples that come in batches (from memory) or are read at
            once, else one a thread of torch's, at most `MOST_WORKERS`.
    """
    if hasattr(split, "read_batch"):
        workers = 0 if asked == "auto" else asked
        size = f"{split.data.nbytes / 2**20:.0f} MiB in memory" if isinstance(split, MemorySplit) else "whole batches"
        return Reading(workers, f"data: {size}; {_by(workers)}")
    seconds = _seconds(split, policy)
    workers = asked if asked != "auto" else 0 if seconds < CHEAP else max(1, min(MOST_WORKERS, torch.get_num_threads()))
    rate = max(1, workers) / max(seconds, 1e-9)
    return Reading(
        workers,
        f"data: read in every epoch anew, {1e3 * seconds:.2g} ms a sample; {_by(workers)}, up to {rate:.0f} samples/s",
    )


def _by(workers: int) -> str:
    return "no workers" if workers == 0 else f"{workers} worker{'s' if workers > 1 else ''}"


def _seconds(split: Split, policy: Policy) -> float:
    """Return the time that reading and cutting a sample takes, on one thread: the median of some."""
    taken = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker
    try:
        for i in probes(len(split)):
            started = time.perf_counter()
            try:
                policy.collate([split.read(i)], policy.draw(rng.generator(0, "probe"), 1))
            except BadSample:
                continue  # counted, and told about, where it is met in training
            taken.append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    return sorted(taken)[len(taken) // 2] if taken else 0.0

"""Timing of several sides that do the same work: alternating rounds, medians, ratios."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

import torch

from ssl_zoo.data.progress import progress


@dataclass(frozen=True)
class Side:
    """One way to do the work.

    Attributes:
        name: such as `ssl_zoo` or `lightly`.
        run: does it once, and returns the number of samples; all sides of a result do the same number.
        close: frees its resources (worker processes).
    """

    name: str
    run: Callable[[], int]
    close: Callable[[], None] = lambda: None


@dataclass
class Result:
    """The measurements of one piece of work.

    Attributes:
        name: of the work, such as `views 32 px`.
        unit: counted per second.
        samples: units per round.
        rates: side -> units per second, one number per round.
        notes: a sentence each.
    """

    name: str
    unit: str
    samples: int
    rates: dict[str, list[float]]
    notes: list[str] = field(default_factory=list)

    def median(self, side: str) -> float:
        """Return the median rate of a side."""
        return median(self.rates[side])

    def ratios(self) -> dict[str, float]:
        """Return the speed-up of the first side over each other: the median over rounds of their ratio."""
        first, *others = self.rates
        pairs = {other: zip(self.rates[first], self.rates[other], strict=True) for other in others}
        return {other: median(ours / theirs for ours, theirs in pair) for other, pair in pairs.items()}

    def plain(self) -> dict[str, Any]:
        """Return the result as plain values, for JSON."""
        return {**asdict(self), "median": {side: self.median(side) for side in self.rates}, "ratio": self.ratios()}


def alternate(name: str, unit: str, sides: Sequence[Side], rounds: int, least_seconds: float = 0.0) -> Result:
    """Run all sides in turn, so that other load on the machine affects all of them.

    Args:
        name: of the work.
        unit: counted per second.
        sides: the first one is compared with each of the others.
        rounds: the number of timed rounds of each, after one run that is not timed.
        least_seconds: a round repeats the run for so long; caches and memory are then those of steady work.

    Raises:
        RuntimeError: the sides did different amounts of work.
    """
    with ExitStack() as stack:
        for side in sides:
            stack.callback(side.close)
        counts = {side.name: side.run() for side in sides}
        if len(set(counts.values())) > 1:
            raise RuntimeError(f"{name}: the sides did different amounts of work: {counts}")
        rates: dict[str, list[float]] = {side.name: [] for side in sides}
        for _ in progress(range(rounds), name, "rounds"):
            for side in sides:
                _wait()
                num, started, elapsed = 0, time.perf_counter(), 0.0
                while not num or elapsed < least_seconds:
                    num += side.run()
                    _wait()
                    elapsed = time.perf_counter() - started
                rates[side.name].append(num / elapsed)
    return Result(name, unit, next(iter(counts.values())), rates)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()

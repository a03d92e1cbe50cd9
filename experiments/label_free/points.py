"""Encoders at steps of the recorded runs, each beside its untrained one and raw pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

BETTER = {
    "r1": 1, "r5": 1, "r1_centred": 1, "std": 1, "scale": 1, "effective_rank": 1, "rankme": 1, "lidar": 1,
    "alpha_req": -1, "explained_variance_auc": -1, "idest": -1, "uniformity": -1, "alignment": -1,
    "mean_absolute_correlation": -1, "dead_dimensions": -1,
}  # fmt: skip
"""Metrics, and whether more (1) or less (-1) of them is said to be better."""


@dataclass(frozen=True)
class Point:
    """An encoder at a step of a run, beside the untrained one and raw pixels.

    Attributes:
        run: name of the run.
        group: data set and method.
        data: data set.
        step: of the run.
        last: whether it is the run's last step.
        now: its metrics.
        start: those of the untrained encoder.
        raw: those of the pixels.
    """

    run: str
    group: str
    data: str
    step: int
    last: bool
    now: dict[str, float | None]
    start: dict[str, float | None]
    raw: dict[str, float | None]

    def gain(self, metric: str) -> float | None:
        """Return how much better than the untrained encoder it is by a metric."""
        now, start = self.now.get(metric), self.start.get(metric)
        return None if now is None or start is None else BETTER.get(metric, 1) * (now - start)


def points(runs: Sequence[dict[str, Any]]) -> list[Point]:
    """Return the encoders that were trained for a step at least and whose features are finite."""
    found = []
    for run in runs:
        steps = {int(step): values for step, values in run["steps"].items()}
        for step, values in sorted(steps.items()):
            if step and values:
                group = f"{run['data']}, {run['method']}"
                last = step == max(steps)
                found.append(Point(run["name"], group, run["data"], step, last, values, steps[0], run["raw"]))
    return found


def by(some: Sequence[Point], key: str) -> list[list[Point]]:
    """Return points in groups of one value of an attribute."""
    groups: dict[str, list[Point]] = {}
    for point in some:
        groups.setdefault(getattr(point, key), []).append(point)
    return list(groups.values())


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of Markdown."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

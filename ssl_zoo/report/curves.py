"""Curves of runs: what they logged over their steps, as the mean over the seeds with its spread."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ssl_zoo.report.aggregate import Group
from ssl_zoo.report.line_chart import Line, line_chart
from ssl_zoo.report.table import CHANCE
from ssl_zoo.runs.folder import RunFolder

TITLES = {
    "loss": "Training loss",
    "embedding/std": "Spread of z (1 isotropic, 0 one point)",
    "embedding/effective_rank": "Effective rank of z",
    "embedding/similarity_gap": "Cosine of positive pairs minus random pairs",
    "lr": "Learning rate",
    "samples_per_s": "Samples per second",
    "data_wait_fraction": "Fraction of the time spent waiting for data",
}
"""Of the panels that are known, in their order."""
FIRST = ("loss", "embedding/std", "embedding/effective_rank", "embedding/similarity_gap")
"""Panels that are shown at once; online evaluations are too, the others on demand."""
_ONLINE = "evaluation/"
_NO_CURVE = {"step", "epoch", "evaluation_s"}
POINTS = 150
"""Of a line, at most: more do not fit into its pixels."""
_MOST = 40
"""Panels of a page."""


@dataclass(frozen=True)
class Panel:
    """A chart and its title; `first` says whether it is shown at once."""

    title: str
    chart: Markup
    first: bool


def panels(groups: Sequence[Group]) -> list[Panel]:
    """Return a panel for each quantity that the runs logged: loss, terms, embedding metrics, online evaluation."""
    logged = [[_series(run) for run in group.runs] for group in groups]
    found = list(dict.fromkeys(key for runs in logged for run in runs for key in run))
    terms = {key for key in found if key.startswith("terms/")}
    keys = [key for key in found if key not in terms or _several_terms(logged)]
    keys.sort(key=lambda key: (list(TITLES).index(key) if key in TITLES else len(TITLES) - 2.5, found.index(key)))
    made = []
    for key in keys[:_MOST]:
        title = TITLES.get(key, key.removeprefix(_ONLINE).replace("/", " "))
        lines = [
            _line(number, group, [run.get(key, {}) for run in runs], key)
            for number, (group, runs) in enumerate(zip(groups, logged, strict=True))
        ]
        chart = line_chart(title, [line for line in lines if line is not None], "optimizer step")
        made.append(Panel(title, chart, key in FIRST or key.startswith(_ONLINE)))
    return made


def _several_terms(logged: Sequence[Sequence[Mapping[str, Any]]]) -> bool:
    """Return whether any run has more than one term, so that terms are not the loss once more."""
    return any(sum(key.startswith("terms/") for key in run) > 1 for runs in logged for run in runs)


def _series(run: Path) -> dict[str, dict[int, float]]:
    """Return the finite values that a run logged, `{quantity: {step: value}}`."""
    found: dict[str, dict[int, float]] = {}
    for record in _records(RunFolder(run)):
        for key, value in _numbers(record):
            found.setdefault(key, {})[record["step"]] = value
    return found


def _records(folder: RunFolder) -> Iterator[dict[str, Any]]:
    yield from folder.read_metrics()
    yield from folder.read_evaluations()


def _numbers(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            known = key in _NO_CURVE if not prefix else key == "k" or key.endswith(CHANCE)
            if not known:
                yield f"{prefix}{key}", float(value)


def _line(number: int, group: Group, runs: Sequence[Mapping[int, float]], key: str) -> Line | None:
    steps = sorted({step for run in runs for step in run})
    if not steps:
        return None
    steps = thinned(steps)
    values = [[run[step] for run in runs if step in run] for step in steps]
    spread = [statistics.stdev(each) if len(each) > 1 else 0.0 for each in values]
    marks = [
        (float(alarm), _value_at(run, alarm))
        for run, summary in zip(runs, group.summaries, strict=True)
        if run and (alarm := (summary.get("collapse") or {}).get("step")) is not None
    ]
    means = [statistics.fmean(each) for each in values]
    return Line(group.name, number, steps, means, spread if len(runs) > 1 else None, marks)


def _value_at(run: Mapping[int, float], step: int) -> float:
    """Return the last value that was logged by a step, or the first of all."""
    return run[max((each for each in run if each <= step), default=min(run))]


def thinned(steps: Sequence[int]) -> list[int]:
    """Return up to about `POINTS` of ascending steps, evenly, with the first and the last."""
    stride = -(-len(steps) // POINTS)
    return sorted({*steps[::stride], steps[-1]})

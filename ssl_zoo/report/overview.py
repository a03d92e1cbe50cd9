"""One picture that says what came out: accuracies beside the baselines, and when the guard spoke."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssl_zoo.report.aggregate import Group
from ssl_zoo.report.baselines import baseline_rows
from ssl_zoo.report.figures import COLOURS, alarm, quiet, series, text
from ssl_zoo.report.table import NAMES, mean

ACCURACIES = (("few_shot", "10 labels a class"), ("knn", "kNN"), ("linear", "linear"))
GREYS = ("#c9ced4", "#8b949e")
"""Of the raw input and of the untrained encoder."""


def _bars(groups: Sequence[Group]) -> list[tuple[str, str, list[Mapping[str, Any]]]]:
    """Return (name, colour, results of each seed) of the baselines and the groups."""
    greys = {name: colour for name, colour in zip(NAMES.values(), GREYS, strict=False)}
    bars = [(name, greys.get(name, GREYS[-1]), results) for name, results in baseline_rows(groups)]
    return bars + [(g.name, COLOURS[i % len(COLOURS)], g.results()) for i, g in enumerate(groups)]


def write_overview(groups: Sequence[Group], path: Path, metric: str, label: str) -> None:
    """Write a PNG: left the accuracies with their spread over seeds, right an embedding metric over the steps.

    Args:
        groups: the runs, by setting.
        path: the file.
        metric: of `metrics.embedding_metrics`, drawn on the right.
        label: what the right panel is called.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    _draw_accuracies(left, groups)
    for number, group in enumerate(groups):
        for run, summary in zip(group.runs, group.summaries, strict=True):
            found, place = series(run, metric), alarm(run, summary, metric)
            colour = COLOURS[number % len(COLOURS)]
            right.plot([step for step, _ in found], [y for _, y in found], color=colour, linewidth=1.3, alpha=0.8)
            if place is not None:
                right.plot(*([each] for each in place), "X", color=colour, markersize=9, markeredgecolor="white")
        _say_where_it_ended(right, group)
    right.set_title(label, loc="left", fontsize=10)
    right.set_xlabel("optimizer step", fontsize=9)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", alpha=0.25, linewidth=0.6)
        axis.set_axisbelow(True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with quiet():
        figure.savefig(path, dpi=150)


def _say_where_it_ended(axis: Any, group: Group) -> None:
    """Write beside the curves of a group at which steps the guard spoke."""
    steps = sorted({at for s in group.summaries if (at := (s.get("collapse") or {}).get("step")) is not None})
    if steps:
        low = min(axis.get_ylim()[0], 0)
        said = "the guard spoke at step " + ", ".join(map(str, steps))
        axis.annotate(said, (max(steps), low), (14, 10), textcoords="offset points", fontsize=9)


def _draw_accuracies(axis: Any, groups: Sequence[Group]) -> None:
    bars = _bars(groups)
    width = 0.8 / len(bars)
    for i, (name, colour, results) in enumerate(bars):
        axis.bar(0, 0, color=colour, label=text(name))  # for the legend
        for x, (protocol, _) in enumerate(ACCURACIES):
            found = [each[protocol]["top1"] for each in results if protocol in each]
            value, spread = mean([100 * top1 for top1 in found if top1 is not None])
            if value is None:
                continue
            place = x + (i - (len(bars) - 1) / 2) * width
            axis.bar(place, value, width * 0.92, color=colour, yerr=spread)
            axis.text(place, value + (spread or 0) + 1, f"{value:.0f}", ha="center", fontsize=8)
    axis.set_xticks(range(len(ACCURACIES)), [label for _, label in ACCURACIES])
    axis.set_ylim(0, 130)  # room for the legend
    axis.set_yticks(range(0, 101, 20))
    axis.set_title("top-1 on held-out digits, %", loc="left", fontsize=10)
    axis.legend(frameon=False, fontsize=8, ncols=2, loc="upper left", bbox_to_anchor=(0, 0.99))

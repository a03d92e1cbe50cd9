"""An overview picture: accuracies next to the baselines, and an embedding metric with the guard's alarms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssl_zoo.report.aggregate import Group
from ssl_zoo.report.baselines import baseline_rows
from ssl_zoo.report.figures import COLOURS, alarm, quiet, series, text
from ssl_zoo.report.table import NAMES, mean

GREYS = ("#c9ced4", "#8b949e")
"""Of the raw input and of the untrained encoder."""


def _bars(groups: Sequence[Group]) -> list[tuple[str, str, list[Mapping[str, Any]]]]:
    """Return (name, colour, one result per seed) of the baselines and the groups."""
    greys = {name: colour for name, colour in zip(NAMES.values(), GREYS, strict=False)}
    bars = [(name, greys.get(name, GREYS[-1]), results) for name, results in baseline_rows(groups)]
    return bars + [(g.name, COLOURS[i % len(COLOURS)], g.results()) for i, g in enumerate(groups)]


def write_overview(
    groups: Sequence[Group],
    path: Path,
    *,
    protocols: Mapping[str, str],
    title: str,
    metric: str,
    metric_title: str,
) -> None:
    """Write a PNG: on the left accuracies with their spread over seeds, on the right an embedding metric by step.

    Args:
        groups: the runs, by setting.
        path: the file.
        protocols: `{protocol: label}` of the accuracies (`top1`), in order; a recall is `retrieval.METRIC`.
        title: of the left panel.
        metric: the embedding metric, see `embedding_metrics`.
        metric_title: of the right panel.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    _draw_accuracies(left, groups, protocols)
    left.set_title(text(title), loc="left", fontsize=10)
    for number, group in enumerate(groups):
        _draw_metric(right, group, metric, COLOURS[number % len(COLOURS)])
    right.set_title(text(metric_title), loc="left", fontsize=10)
    right.set_xlabel("optimizer step", fontsize=9)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", alpha=0.25, linewidth=0.6)
        axis.set_axisbelow(True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with quiet():
        figure.savefig(path, dpi=150)


def _draw_metric(axis: Any, group: Group, metric: str, colour: str) -> None:
    """Draw one line per run, a cross at each alarm, and a label with the steps of the alarms."""
    for run, summary in zip(group.runs, group.summaries, strict=True):
        found, place = series(run, metric), alarm(run, summary, metric)
        axis.plot([step for step, _ in found], [y for _, y in found], color=colour, linewidth=1.3, alpha=0.8)
        if place is not None:
            axis.plot(*([each] for each in place), "X", color=colour, markersize=9, markeredgecolor="white")
    steps = sorted({at for s in group.summaries if (at := (s.get("collapse") or {}).get("step")) is not None})
    if steps:
        low = min(axis.get_ylim()[0], 0)
        label = "collapse alarm at step " + ", ".join(map(str, steps))
        axis.annotate(label, (max(steps), low), (14, 10), textcoords="offset points", fontsize=9)


def _draw_accuracies(axis: Any, groups: Sequence[Group], protocols: Mapping[str, str]) -> None:
    bars = _bars(groups)
    width = 0.8 / len(bars)
    for i, (name, colour, results) in enumerate(bars):
        axis.bar(0, 0, color=colour, label=text(name))  # for the legend
        for x, protocol in enumerate(protocols):
            key, _, metric = protocol.partition(".")
            found = [each[key].get(metric or "top1") for each in results if key in each]
            value, spread = mean([100 * share for share in found if share is not None])
            if value is None:
                continue
            place = x + (i - (len(bars) - 1) / 2) * width
            axis.bar(place, value, width * 0.92, color=colour, yerr=spread)
            axis.text(place, value + (spread or 0) + 1, f"{value:.0f}", ha="center", fontsize=8)
    axis.set_xticks(range(len(protocols)), [text(label) for label in protocols.values()])
    axis.set_ylim(0, max(130, 108 + 8 * -(-len(bars) // 2)))  # room for the legend
    axis.set_yticks(range(0, 101, 20))
    axis.legend(frameon=False, fontsize=8, ncols=2, loc="upper left", bbox_to_anchor=(0, 0.99))

"""A picture of a grid of settings: quality as colour, collapse as a cross."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssl_zoo.report.aggregate import Group, outcome
from ssl_zoo.report.baselines import baseline_rows
from ssl_zoo.report.figures import quiet, text
from ssl_zoo.report.table import NAMES, columns, is_share, mean
from ssl_zoo.report.table import title as heading

CROSS = "\N{MULTIPLICATION X}"

_LEFT, _ABOVE, _COLUMN, _ROW = 2.6, 1.9, 1.05, 0.42
"""Inches: for the names of the rows, for the titles, of a cell."""

Metric = tuple[str, str]


def metric_of(groups: Sequence[Group]) -> Metric:
    """Return the metric that is drawn: kNN's accuracy, else the first share of the tables' columns."""
    shown = columns([results for group in groups for results in group.results()])
    shares = [("knn", "top1"), *(column for column in shown if is_share(column[1]))]
    return next((column for column in shares if column in shown), shares[0])


def _mean(results: Sequence[Mapping[str, Any]], metric: Metric) -> float | None:
    """Return the mean of a metric over seeds, None where no seed has it."""
    found = [(each.get(metric[0]) or {}).get(metric[1]) for each in results]
    return mean([value for value in found if value is not None])[0]


def _value(group: Group | None, metric: Metric) -> float | None:
    return None if group is None else _mean(group.results(), metric)


def _baselines(groups: Sequence[Group], metric: Metric) -> dict[str, float]:
    """Return the baselines that all cells share, by their short name."""
    short = {name: key for key, name in NAMES.items()}
    rows = {short[name]: _mean(results, metric) for name, results in baseline_rows(groups) if name in short}
    return {name: level for name, level in rows.items() if level is not None}


def write_heatmap(path: Path, axes: Mapping[str, Sequence[str]], groups: Sequence[Group], title: str) -> None:
    """Write a PNG with one panel per value of the first axis, one column per value of the second, one row of the third.

    Args:
        path: the file.
        axes: three axes of the grid, `{axis: values}`, in the order in which their values are joined in the names.
        groups: the runs; `Group.name` is the values of a cell, joined with dots. Cells without runs stay blank.
        title: of the picture.
    """
    from matplotlib.figure import Figure

    by_name = {group.name: group for group in groups}
    (panel_axis, panels), (column_axis, columns), (_, rows) = axes.items()
    metric = metric_of(groups)
    values = [v for group in groups if (v := _value(group, metric)) is not None]
    low, high = min(values, default=0.0), max(values, default=1.0)
    size = (_LEFT + _COLUMN * len(columns) * len(panels), _ABOVE + _ROW * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(text(title), fontsize=13, x=0.01, ha="left")
    drawn: Any = None
    for axis, panel in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True):
        cells = [[by_name.get(".".join((panel, column, row))) for column in columns] for row in rows]
        drawn = _draw_cells(axis, cells, metric, low, high)
        axis.set_title(text(f"{panel_axis}: {panel}"), fontsize=10)
        axis.set_xticks(range(len(columns)), list(map(text, columns)), fontsize=8)
        axis.set_xlabel(text(column_axis), fontsize=9)
        axis.set_yticks(range(len(rows)), list(map(text, rows)), fontsize=9)
    _draw_bar(figure, drawn, metric, _baselines(groups, metric))
    path.parent.mkdir(parents=True, exist_ok=True)
    with quiet():
        figure.savefig(path, dpi=150)


def _draw_cells(axis: Any, cells: Sequence[Sequence[Group | None]], metric: Metric, low: float, high: float) -> Any:
    """Draw one panel, and return what a colour bar needs."""
    grid = [[float("nan") if (v := _value(cell, metric)) is None else v for cell in line] for line in cells]
    drawn = axis.imshow(grid, cmap="viridis", vmin=low, vmax=high, aspect="auto")
    for y, line in enumerate(cells):
        for x, cell in enumerate(line):
            _annotate(axis, x, y, cell, grid[y][x], (grid[y][x] - low) / max(high - low, 1e-9))
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return drawn


def _draw_bar(figure: Any, drawn: Any, metric: Metric, baselines: Mapping[str, float]) -> None:
    """Draw the colour bar, with a line for each baseline that it covers."""
    bar = figure.colorbar(drawn, ax=figure.axes, fraction=0.03, pad=0.01, format=lambda v, _: f"{100 * v:.0f}")
    bar.set_label(text(f"{heading(metric)}{' top-1' if metric[1] == 'top1' else ''}, %"), fontsize=9)
    for label, level in baselines.items():
        if bar.vmin <= level <= bar.vmax:
            bar.ax.axhline(level, color="white", linewidth=1.5)
            place = bar.ax.get_yaxis_transform()
            bar.ax.text(-0.15, level, label, ha="right", va="center", fontsize=7, transform=place)


def _annotate(axis: Any, x: int, y: int, cell: Group | None, value: float, shade: float) -> None:
    if cell is None or math.isnan(value):
        axis.text(x, y, "-", ha="center", va="center", fontsize=8, color="#888888")
        return
    collapsed = any(outcome(summary) == "collapsed" for summary in cell.summaries)
    shown = f"{CROSS} {100 * value:.0f}" if collapsed else f"{100 * value:.0f}"
    weight, colour = "normal" if collapsed else "bold", "white" if shade < 0.6 else "black"
    axis.text(x, y, shown, ha="center", va="center", fontsize=9, weight=weight, color=colour)

"""Text tables of results, for the terminal and RESULTS.md."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ssl_zoo.errors import shown_name

Results = Mapping[str, Mapping[str, float | None]]

COLUMNS = {
    ("few_shot", "top1"): "few-shot",
    ("knn", "top1"): "kNN",
    ("knn", "k"): "k",
    ("linear", "top1"): "linear",
    ("label_free", "std"): "std",
    ("label_free", "effective_rank"): "eff. rank",
}
"""Short names of metrics, in the order of the columns; others follow as `protocol metric`."""

NAMES = {"raw": "raw input", "untrained": "untrained encoder", "encoder": "trained encoder"}
"""Names of the representations in tables, in the order of their rows."""

_MARKUP = re.compile(r"([\\|<>$`*\[\]])")


@dataclass(frozen=True)
class Table:
    """A header and rows of text; the first column is names, the others are numbers."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """Return the table as Markdown; markup in a cell is escaped, a bar does not end it."""
        header, *rows = [[escaped(cell) for cell in row] for row in (self.header, *self.rows)]
        return markdown(header, rows)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an aligned table of cells that are Markdown; the first column is text, the others are numbers."""
    widths = [max(3, *(len(row[i]) for row in [header, *rows])) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = [
            text.ljust(w) if i == 0 else text.rjust(w) for i, (text, w) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rule = "|".join(["-" * (widths[0] + 2), *("-" * (w + 1) + ":" for w in widths[1:])])
    return "\n".join([line(header), f"|{rule}|", *map(line, rows)])


def escaped(text: str) -> str:
    """Return a text escaped for Markdown, on one line."""
    return _MARKUP.sub(r"\\\1", shown_name(text))


def code(text: str) -> str:
    """Return a text as Markdown code, backticks included."""
    text = shown_name(text)
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    return f"{fence}{text}{fence}" if len(fence) == 1 else f"{fence} {text} {fence}"


def mean(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return the mean and the sample standard deviation, None without values and for a single value."""
    if not values:
        return None, None
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def cells(metric: str, values: Sequence[float | None]) -> str:
    """Return the cell for the values of several seeds: mean +- spread; of a choice, all that were chosen.

    Args:
        metric: its name; `k` is a choice.
        values: one per seed, None where it was not measured: the cell then has the number of seeds.
    """
    found = [value for value in values if value is not None and math.isfinite(value)]
    if metric == "k":
        return ", ".join(str(int(value)) for value in sorted(set(found))) or "-"
    part = f" ({len(found)} of {len(values)})" if 0 < len(found) < len(values) else ""
    return cell(metric, *mean(found)) + part


def cell(metric: str, value: float | None, spread: float | None = None) -> str:
    """Return the cell for a number: accuracies in percent, others as they are; with `spread`, +- it."""
    if value is None or not math.isfinite(value):
        return "-"
    if metric == "k":
        return str(int(value))
    scale, digits = (100, 1) if metric == "top1" else (1, 2 if abs(value) < 10 else 1)
    shown = f"{scale * value:.{digits}f}"
    return shown if spread is None else f"{shown} +- {scale * spread:.{digits}f}"


def columns(results: Sequence[Results]) -> list[tuple[str, str]]:
    """Return the (protocol, metric) pairs that any of the results has, the known ones first."""
    found = {(protocol, metric) for each in results for protocol, values in each.items() for metric in values}
    found -= {pair for pair in found if pair[1] == "std" and (pair[0], "top1") in found}
    others = sorted(found - set(COLUMNS), key=lambda pair: (pair[0], pair[1] != "top1", pair[1]))
    return [*(pair for pair in COLUMNS if pair in found), *others]


def title(column: tuple[str, str]) -> str:
    """Return the heading of a column."""
    return COLUMNS.get(column, " ".join(column) if column[1] != "top1" else column[0])


def results_table(results: Mapping[str, Results]) -> str:
    """Return the table of one run, one row for the encoder and for each baseline; empty if nothing was measured."""
    chosen = [name for name in NAMES if name in results]
    metrics = columns([results[name] for name in chosen])
    if not metrics:
        return ""
    rows = [
        [NAMES[name], *(cell(metric, results[name].get(protocol, {}).get(metric)) for protocol, metric in metrics)]
        for name in chosen
    ]
    return Table(["representation", *map(title, metrics)], rows).markdown()


def summary_table(summary: Mapping[str, Any]) -> str:
    """Return the table of a run's summary, and the guard's verdict."""
    table = results_table({**summary["baselines"], "encoder": summary["metrics"]})
    collapse = summary["collapse"]
    verdict = f"collapse: {collapse['status']}" + (f" ({collapse['reason']})" if collapse["reason"] else "")
    return f"{table}\n{verdict}".lstrip("\n")

"""Text tables of results, for the terminal and RESULTS.md."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ssl_zoo.errors import shown_name

Results = Mapping[str, Mapping[str, float | None]]

COLUMNS = {
    ("few_shot", "top1"): "few-shot",
    ("knn", "top1"): "kNN",
    ("knn", "k"): "k",
    ("linear", "top1"): "linear",
    ("attentive", "top1"): "attentive",
    ("fine_tune", "top1"): "fine-tuned",
    ("linear_augmented", "top1"): "linear, augmented",
    ("label_retrieval", "map"): "mAP",
    ("zero_shot", "top1"): "zero-shot",
    ("label_free", "std"): "std",
    ("label_free", "effective_rank"): "eff. rank",
    ("view_retrieval", "r1"): "view R@1",
}
"""Short names of metrics, in the order of the columns; others follow as `protocol metric`."""

SUMMED_UP = ("label_free", "view_retrieval")
"""Protocols with more metrics than there is room for beside others: only those in `COLUMNS` are shown there."""

CHANCE = "_chance"
"""The end of the name of what mere chance would give: a row of its own, no column."""

_RECALLS = ("r1", "r5")
_DIRECTION = re.compile(r"(?P<one>.+)_to_(?P<other>.+?)_(?P<what>r\d+|median_rank|same_class_1)")
_TOP1 = re.compile(r"^(top1|std)_\d|_top1$")
"""Accuracies with some labels, `top1_5` and `top1_10pct`, their spreads, and those of other data, `birds_knn_top1`."""
_RETRIEVED = {"median_rank": "median rank", "same_class_1": "same class"}

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
    if metric in ("k", "num"):
        return str(int(value))
    scale, digits = (100, 1) if is_share(metric) else (1, 2 if abs(value) < 10 else 1)
    shown = f"{scale * value:.{digits}f}"
    return shown if spread is None else f"{shown} +- {scale * spread:.{digits}f}"


def is_share(metric: str) -> bool:
    """Return whether a metric is a share of the samples, which is shown in percent: an accuracy or a recall."""
    found = _DIRECTION.fullmatch(metric)
    if metric in ("top1", "map", *_RECALLS) or _TOP1.search(metric):
        return True
    return found is not None and found["what"] != "median_rank"


def of_member(protocol: str) -> tuple[str, str]:
    """Return the member that a protocol's key names, or an empty text, and the protocol: `image/knn` is image, knn."""
    member, _, name = protocol.rpartition("/")
    return member, name


def columns(results: Sequence[Results]) -> list[tuple[str, str]]:
    """Return the (protocol, metric) pairs that any of the results has, the known ones first; member by member."""
    found = {(protocol, metric) for each in results for protocol, values in each.items() for metric in values}
    found -= {pair for pair in found if pair[1] == "std" and (pair[0], "top1") in found}
    found -= {pair for pair in found if pair[1].endswith(CHANCE)}
    if len({of_member(protocol)[1] for protocol, _ in found}) > 1:
        found = {pair for pair in found if _has_room(of_member(pair[0])[1], pair[1])}
    members = dict.fromkeys(of_member(protocol)[0] for each in results for protocol in each)
    return [pair for member in sorted(members, key=bool) for pair in _ordered(found, member)]


def _has_room(protocol: str, metric: str) -> bool:
    return protocol not in SUMMED_UP or (protocol, metric) in COLUMNS


def _ordered(found: Collection[tuple[str, str]], member: str) -> list[tuple[str, str]]:
    """Return the columns of a member in order."""
    own = {(of_member(pair[0])[1], pair[1]): pair for pair in found if of_member(pair[0])[0] == member}
    others = sorted(own.keys() - set(COLUMNS), key=lambda pair: (pair[0], pair[1] != "top1", _place(pair[1])))
    return [own[pair] for pair in [*(pair for pair in COLUMNS if pair in own), *others]]


def _place(metric: str) -> tuple[str, int, str]:
    """Return a key that sorts a direction's recalls by their k, before its other metrics."""
    found = _DIRECTION.fullmatch(metric)
    if found is None:
        return metric, 0, ""
    number = found["what"].removeprefix("r")
    return f"{found['one']}_to_{found['other']}", int(number) if number.isdecimal() else 10**9, found["what"]


def title(column: tuple[str, str]) -> str:
    """Return the heading of a column."""
    member, protocol = of_member(column[0])
    found = _DIRECTION.fullmatch(column[1])
    if found is not None and protocol == "retrieval":
        what = _RETRIEVED.get(found["what"]) or f"R@{found['what'][1:]}"
        return f"{found['one']} to {found['other']} {what}"
    name = COLUMNS.get((protocol, column[1]), f"{protocol} {column[1]}" if column[1] != "top1" else protocol)
    return f"{member} {name}".lstrip()


def chance_row(shown: Sequence[tuple[str, str]], results: Sequence[Results]) -> list[str] | None:
    """Return the row of what mere chance would give: the name and a cell per column; None where none is known.

    Args:
        shown: the columns.
        results: of which it is known; where they differ, the least and the most are given.
    """
    rows = []
    for protocol, metric in shown:
        known = [(each.get(protocol) or {}).get(metric + CHANCE) for each in results]
        found = sorted({value for value in known if value is not None})
        ends = dict.fromkeys(cell(metric, value) for value in (*found[:1], *found[-1:]))
        rows.append(" to ".join(ends) or "-")
    return ["chance", *rows] if set(rows) - {"-"} else None


def results_table(results: Mapping[str, Results]) -> str:
    """Return the table of one run, one row for the encoder and for each baseline; empty if nothing was measured."""
    chosen = [name for name in NAMES if name in results]
    metrics = columns([results[name] for name in chosen])
    if not metrics:
        return ""
    chance = chance_row(metrics, [results[name] for name in chosen])
    rows = [chance] if chance is not None else []
    rows += [
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

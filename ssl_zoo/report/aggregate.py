"""Runs of one setting with several seeds, as means with spread."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_zoo.report.table import cells, columns, markdown, title

Summary = Mapping[str, Any]


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed only.

    Attributes:
        name: what a table calls them.
        runs: their folders, and their summaries in the same order.
        summaries: what `summary.json` holds.
    """

    name: str
    runs: tuple[Path, ...]
    summaries: tuple[Summary, ...]

    @property
    def status(self) -> str:
        """The status of all runs, or how many have which; a run that ended collapsed under `warn` counts as that."""
        found = [outcome(summary) for summary in self.summaries]
        counts = {status: found.count(status) for status in dict.fromkeys(found)}
        return found[0] if len(counts) == 1 else ", ".join(f"{num} {status}" for status, num in counts.items())


def outcome(summary: Summary) -> str:
    """Return how a run ended: its status, or `collapsed` where the guard only warned and the collapse held."""
    return "collapsed" if summary["collapse"]["status"] == "collapsed" else summary["status"]


def _values(results: Sequence[Mapping[str, Any]], column: tuple[str, str]) -> list[float]:
    return [each[column[0]][column[1]] for each in results if column[1] in each.get(column[0], {})]


def comparison_table(groups: Sequence[Group]) -> str:
    """Return one table: raw pixels and the untrained encoder first, then a row a group, mean +- spread over seeds.

    The baselines are those of the first group that has them; runs of another encoder or other data belong in another
    table.
    """
    measured = [group for group in groups if any(s["baselines"] for s in group.summaries)]
    rows: list[tuple[str, list[Mapping[str, Any]], str, str]] = []
    for key, name in (("pixels", "raw pixels"), ("untrained", "untrained encoder")):
        found = [s["baselines"][key] for s in (measured[0].summaries if measured else ()) if key in s["baselines"]]
        if found:
            rows.append((name, found, "", str(len(found))))
    for group in groups:
        rows.append((group.name, [s["metrics"] for s in group.summaries], group.status, str(len(group.summaries))))
    shown = columns([each for _, results, _, _ in rows for each in results])
    body = [
        [name, *(cells(column[1], _values(results, column)) for column in shown), status, num]
        for name, results, status, num in rows
    ]
    return markdown(["representation", *map(title, shown), "status", "n"], body)


def settings_table(groups: Sequence[Group]) -> str:
    """Return what the runs cost: steps, epochs, seconds of training, images a second."""
    rows = []
    for group in groups:
        each = [(s["steps"], s["epochs"], s["train_s"], s["images_per_s"]) for s in group.summaries]
        steps, epochs, seconds, speed = (statistics.fmean(values) for values in zip(*each, strict=True))
        rows.append([group.name, f"{steps:.0f}", f"{epochs:.1f}", f"{seconds:.0f}", f"{speed:.0f}"])
    return markdown(["runs", "steps", "epochs", "training s", "images/s"], rows)


def environment_lines(groups: Sequence[Group]) -> list[str]:
    """Return the hardware and the versions that the runs had, each once."""
    found: dict[str, None] = {}
    for group in groups:
        for summary in group.summaries:
            e = summary["environment"]
            packages = ", ".join(f"{name} {e[name]}" for name in ("ssl_zoo", "torch", "torchvision"))
            found[f"{e['hardware']}; {e['precision']}, {e['memory_format']}; Python {e['python']}, {packages}"] = None
    return list(found)

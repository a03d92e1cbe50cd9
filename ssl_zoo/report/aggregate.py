"""Runs of one setting with several seeds, as means with spread."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_zoo.report.baselines import baseline_rows
from ssl_zoo.report.table import Table, cells, chance_row, columns, title

Summary = Mapping[str, Any]


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed only.

    Attributes:
        name: of the group in tables.
        runs: their folders.
        summaries: their `summary.json`, in the same order; that of an unfinished run may lack any key.
    """

    name: str
    runs: tuple[Path, ...]
    summaries: tuple[Summary, ...]

    @property
    def status(self) -> str:
        """The status of all runs, or a count of each; a run that ended collapsed under `warn` counts as collapsed."""
        found = [outcome(summary) for summary in self.summaries]
        counts = {status: found.count(status) for status in dict.fromkeys(found)}
        return found[0] if len(counts) == 1 else ", ".join(f"{num} {status}" for status, num in counts.items())

    def results(self, name: str = "encoder") -> list[Mapping[str, Any]]:
        """Return the results of a representation, one mapping per run, empty where nothing was measured."""
        if name == "encoder":
            return [summary.get("metrics") or {} for summary in self.summaries]
        return [(summary.get("baselines") or {}).get(name) or {} for summary in self.summaries]


def outcome(summary: Summary) -> str:
    """Return the outcome of a run: its status, or `collapsed` where the guard only warned and the collapse held."""
    collapse, status = (summary.get("collapse") or {}).get("status"), str(summary.get("status", "not finished"))
    if collapse == "collapsed":
        return collapse
    return f"{status} (not judged)" if collapse == "not judged" and status == "done" else status


def _values(results: Sequence[Mapping[str, Any]], column: tuple[str, str]) -> list[float | None]:
    return [(each.get(column[0]) or {}).get(column[1]) for each in results]


def comparison(groups: Sequence[Group]) -> Table:
    """Return one table: the baselines first, then one row per group, as mean +- spread over seeds."""
    rows: list[tuple[str, list[Mapping[str, Any]], str]] = [(*row, "") for row in baseline_rows(groups)]
    rows += [(group.name, group.results(), group.status) for group in groups]
    shown = columns([each for _, results, _ in rows for each in results])
    chance = chance_row(shown, [each for _, results, _ in rows for each in results])
    body = [[*chance, "", ""]] if chance is not None else []
    body += [
        [name, *(cells(column[1], _values(results, column)) for column in shown), status, str(len(results))]
        for name, results, status in rows
    ]
    return Table(["representation", *map(title, shown), "status", "n"], body)


def comparison_table(groups: Sequence[Group]) -> str:
    """Return `comparison` as Markdown."""
    return comparison(groups).markdown()


def settings(groups: Sequence[Group]) -> Table:
    """Return a table of costs: steps, epochs, seconds of training, samples per second, peak memory in MB (10^6)."""

    def average(group: Group, key: str, digits: int, unit: float = 1) -> str:
        found = [value / unit for summary in group.summaries if (value := summary.get(key)) is not None]
        return f"{statistics.fmean(found):.{digits}f}" if found else "-"

    keys = {
        "steps": (0, 1),
        "epochs": (1, 1),
        "train_s": (0, 1),
        "samples_per_s": (0, 1),
        "peak_memory_bytes": (0, 1e6),
    }
    rows = [[group.name, *(average(group, key, *how) for key, how in keys.items())] for group in groups]
    return Table(["runs", "steps", "epochs", "training s", "samples/s", "peak MB"], rows)


def settings_table(groups: Sequence[Group]) -> str:
    """Return `settings` as Markdown."""
    return settings(groups).markdown()


def environment_lines(groups: Sequence[Group]) -> list[str]:
    """Return the hardware and the versions that the runs had, each once."""
    found: dict[str, None] = {}
    for group in groups:
        for summary in group.summaries:
            e = summary.get("environment")
            if e:
                packages = ", ".join(f"{name} {e[name]}" for name in ("ssl_zoo", "torch", "torchvision"))
                line = f"{e['hardware']}; {e['precision']}, {e['memory_format']}; Python {e['python']}, {packages}"
                found[line] = None
    return list(found)

"""The best and the last epoch of runs that were evaluated during their training (`evaluation.every`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ssl_zoo.errors import UserError
from ssl_zoo.report.aggregate import Group
from ssl_zoo.report.table import Table, cells, is_share
from ssl_zoo.runs.folder import RunFolder

Point = dict[str, Any]
"""An evaluation in training: `step`, `epoch` and `value`."""


def trajectory(run: Path) -> dict[str, list[Point]]:
    """Return the shares that were measured while a run trained, `{"DATA_SET/PROTOCOL METRIC": [point]}`, in order."""
    found: dict[str, list[Point]] = {}
    try:
        records = list(RunFolder(run).read_evaluations())
    except UserError:
        return {}
    for record in records:
        for protocol, values in record["evaluation"].items():
            for metric, value in values.items():
                if is_share(metric) and value is not None and math.isfinite(value):
                    point = {"step": record["step"], "epoch": record.get("epoch"), "value": value}
                    found.setdefault(f"{protocol} {metric}", []).append(point)
    return found


def best_and_last(run: Path) -> dict[str, dict[str, Point]]:
    """Return the best (the first of equals) and the last evaluation in training, by data set, protocol and metric.

    The best is chosen on what the protocol tests on, so it is no estimate of the accuracy of a new run.
    """
    return {
        key: {"best": max(points, key=lambda point: point["value"]), "last": points[-1]}
        for key, points in trajectory(run).items()
    }


def progress_table(groups: Sequence[Group]) -> Table | None:
    """Return a table of the best and the last evaluation, mean +- spread over seeds; None where there are none."""
    rows = []
    for group in groups:
        each = [best_and_last(run) for run in group.runs]
        for key in dict.fromkeys(key for found in each for key in found):
            have = [found[key] for found in each if key in found]
            protocol, _, metric = key.rpartition(" ")
            shown = [
                cells(metric if name == "value" else "epoch", [found[which][name] for found in have])
                for which in ("best", "last")
                for name in ("value", "epoch")
            ]
            rows.append([group.name, protocol.removeprefix("own/"), *shown, str(len(have))])
    header = ["recipe", "protocol", "best", "at epoch", "last", "at epoch", "n"]
    return Table(header, rows) if rows else None

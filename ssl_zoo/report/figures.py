"""Figures of runs: curves of the loss and of what the collapse guard looks at."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

from ssl_zoo.report.aggregate import Group
from ssl_zoo.run_folder import RunFolder

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#666666", "#000000")
"""Okabe and Ito's palette, told apart by colour-blind readers too."""

PANELS = (
    ("loss", "training loss"),
    ("std", "spread of z (1 = isotropic, 0 = one point)"),
    ("effective_rank", "effective rank of z"),
    ("similarity_gap", "cosine of positive pairs minus random pairs"),
)


def _points(record: dict[str, Any], key: str) -> float | None:
    return record["loss"] if key == "loss" else record.get("health", {}).get(key)


def curves(groups: Sequence[Group]) -> str:
    """Return an SVG of loss, spread, effective rank and similarity gap over the steps, a colour a group."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 6.2), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True)
    for axis, (key, title) in zip(axes.flat, PANELS, strict=True):
        axis.set_title(title, fontsize=10, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25, linewidth=0.6)
        for number, group in enumerate(groups):
            colour, style = COLOURS[number % len(COLOURS)], "-" if number < len(COLOURS) else "--"
            for i, run in enumerate(group.runs):
                records = list(RunFolder(run).read_metrics())
                found = [(r["step"], y) for r in records if (y := _points(r, key)) is not None and math.isfinite(y)]
                steps, values = [step for step, _ in found], [y for _, y in found]
                label, alpha = (group.name, 0.9) if i == 0 else (None, 0.5)
                axis.plot(steps, values, style, color=colour, linewidth=1.4, alpha=alpha, label=label)
            _mark_collapse(axis, group, key, colour)
    for axis in axes[1]:
        axis.set_xlabel("optimizer step")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(4, len(labels)), frameon=False, fontsize=10)
    out = io.StringIO()
    figure.savefig(out, format="svg")
    text = out.getvalue()
    return text[text.index("<svg") :]


def _mark_collapse(axis: Any, group: Group, key: str, colour: str) -> None:
    """Put a cross where the guard found a collapse."""
    for run, summary in zip(group.runs, group.summaries, strict=True):
        step = summary["collapse"]["step"]
        found = [r for r in RunFolder(run).read_metrics() if step is not None and r["step"] <= step]
        value = _points(found[-1], key) if found else None
        if value is not None and math.isfinite(value):
            axis.plot([step], [value], marker="X", color=colour, markersize=8, markeredgecolor="white", zorder=5)

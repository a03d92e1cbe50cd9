"""Figures of runs: curves of the loss and of the metrics that the collapse guard judges."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssl_zoo.errors import shown_name
from ssl_zoo.report.aggregate import Group
from ssl_zoo.runs.folder import RunFolder

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#666666", "#000000")
"""Okabe and Ito's palette, which colour-blind readers can distinguish."""

PANELS = (
    ("loss", "training loss"),
    ("std", "spread of z (1 = isotropic, 0 = one point)"),
    ("effective_rank", "effective rank of z"),
    ("similarity_gap", "cosine of positive pairs minus random pairs"),
)


def text(name: str) -> str:
    """Return a name in the form that matplotlib draws as it is: `$` is no mathematics, a leading `_` is not hidden."""
    plain = shown_name(name).replace("$", r"\$")
    return f" {plain}" if plain.startswith("_") else plain


@contextmanager
def quiet() -> Iterator[None]:
    """A context in which characters that the font lacks are drawn as boxes, without a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .*missing from", category=UserWarning)
        yield


def series(run: Path, key: str) -> list[tuple[int, float]]:
    """Return the finite (step, value) that a run logged of the loss or of an embedding metric."""
    found = [(r["step"], _value(r, key)) for r in RunFolder(run).read_metrics()]
    return [(step, y) for step, y in found if y is not None and math.isfinite(y)]


def _value(record: dict[str, Any], key: str) -> float | None:
    return record.get("loss") if key == "loss" else (record.get("embedding") or {}).get(key)


def alarm(run: Path, summary: Mapping[str, Any], key: str) -> tuple[int, float] | None:
    """Return the step of the guard's alarm and the last value of `key` that was logged by then, or None."""
    step = (summary.get("collapse") or {}).get("step")
    if step is None:
        return None
    found = [y for at, y in series(run, key) if at <= step]
    return (step, found[-1]) if found else None


def curves(groups: Sequence[Group]) -> str:
    """Return an SVG of loss, spread, effective rank and similarity gap over the steps, one colour per group."""
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
                found = series(run, key)
                steps, values = [step for step, _ in found], [y for _, y in found]
                label, alpha = (text(group.name), 0.9) if i == 0 else (None, 0.5)
                axis.plot(steps, values, style, color=colour, linewidth=1.4, alpha=alpha, label=label)
            _mark_collapse(axis, group, key, colour)
    for axis in axes[1]:
        axis.set_xlabel("optimizer step")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(4, len(labels)), frameon=False, fontsize=10)
    out = io.StringIO()
    with quiet():
        figure.savefig(out, format="svg")
    return out.getvalue()[out.getvalue().index("<svg") :]


def _mark_collapse(axis: Any, group: Group, key: str, colour: str) -> None:
    """Draw a cross at each alarm of the guard."""
    for run, summary in zip(group.runs, group.summaries, strict=True):
        place = alarm(run, summary, key)
        if place is not None:
            axis.plot(*([each] for each in place), "X", color=colour, markersize=8, markeredgecolor="white", zorder=5)

"""What pictures of runs share: colours, names, what was logged, and the guard's alarms."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssl_zoo.errors import shown_name
from ssl_zoo.runs.folder import RunFolder

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#666666", "#000000")
"""Okabe and Ito's palette, which colour-blind readers can distinguish."""


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

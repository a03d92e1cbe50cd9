"""Progress bars: drawn on a terminal, and only for work that takes longer than two seconds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

AFTER = 2.0
"""Seconds before a bar is drawn."""


def progress(items: Iterable[T], what: str, unit: str, total: int | None = None) -> Iterable[T]:
    """Return items as they are, with a bar on standard error while they are gone through; none if it is no terminal.

    Args:
        items: what is gone through.
        what: is done, the word before the bar.
        unit: what is counted.
        total: their number, where they do not tell.
    """
    return tqdm(items, desc=what, unit=f" {unit}", total=total, disable=None, leave=False, delay=AFTER)

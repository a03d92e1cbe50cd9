"""A test split by the names of its samples, for data that come as one split: `*_[0-4].wav`."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np

from ssl_zoo.errors import UserError


def held_out(names: Sequence[str], patterns: Sequence[str], splits: Sequence[str], where: str) -> np.ndarray:
    """Return which samples are the test split `(N,)`, bool.

    Args:
        names: of the samples of the only split, as paths below the source.
        patterns: of the option `test`; `*` stands for any text, `[0-4]` for one of some characters.
        splits: that the source has.
        where: what messages call the source.

    Raises:
        UserError: the source has a test split, a pattern fits no name, or all names are held out.
    """
    if "test" in splits:
        raise UserError(
            f"{where} has a test split; leave data.source.test out, or name the splits by data.source.splits."
        )
    chosen = np.zeros(len(names), dtype=bool)
    for pattern in patterns:
        found = np.fromiter((fnmatchcase(name, pattern) for name in names), dtype=bool, count=len(names))
        if not found.any():
            example = f", such as {names[0]}" if len(names) else ""
            raise UserError(f"data.source.test: {pattern!r} fits no name in {where}{example}.")
        chosen |= found
    if chosen.all():
        raise UserError(f"data.source.test: {list(patterns)} fits all names in {where}; nothing is left to train on.")
    return chosen

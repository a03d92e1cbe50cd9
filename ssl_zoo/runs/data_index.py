"""`data.npy`: names and sizes of the samples that a run trains on, so that a resumed run can say what has changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ssl_zoo.data.contents import Contents
from ssl_zoo.data.identity import Before
from ssl_zoo.runs.atomic import replacing


def write_index(path: Path, contents: Contents) -> None:
    """Write a row for each sample, `(N, 2)` int64: a hash of its name, and its size.

    Raises:
        CannotWrite: the disk is full, or the folder is gone.
    """
    with replacing(path) as file:
        np.save(file, np.stack([contents.names.view(np.int64), contents.sizes], axis=1), allow_pickle=False)


def read_index(path: Path) -> Before | None:
    """Return what `write_index` wrote; None where there is none, or it is damaged: it serves messages alone."""
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)  # mapped, so that it is no larger than the file
    except (OSError, ValueError, EOFError):
        return None
    if rows.dtype != np.int64 or rows.ndim != 2 or rows.shape[1] != 2:
        return None
    return Before(np.ascontiguousarray(rows[:, 0]).view(np.uint64), np.ascontiguousarray(rows[:, 1]))

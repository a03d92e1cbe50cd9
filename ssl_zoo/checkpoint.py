"""Checkpoints: one file, written atomically, loaded with `weights_only=True`."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from ssl_zoo.errors import UserError

FORMAT = 1


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint so that a kill at any moment leaves either the old file or the new one.

    Args:
        path: the file.
        state: tensors and plain Python values only.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save({"format": FORMAT, **state}, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        UserError: there is none, or it is not one of ours.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no checkpoint to go on from; remove the run's folder and start it again.")
    try:
        if not zipfile.is_zipfile(path):  # of what is none, torch would make a pickle of an older format
            raise EOFError
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile, LookupError, ValueError):
        raise UserError(f"{path}: is not a readable checkpoint of ssl_zoo.") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError(f"{path}: is not a checkpoint of this version of ssl_zoo (format {FORMAT}).")
    return state

"""Decoding of time series: CSV files and numpy arrays, a row per time step, become float32 `(C, L)`."""

from __future__ import annotations

import io
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from ssl_zoo.data.bad_samples import BadSample

EXTENSIONS = frozenset({".csv", ".npy"})
_NPY = b"\x93NUMPY"


def decode(data: bytes | BinaryIO, name: str, channels: int, time_first: bool = True) -> Tensor:
    """Return an encoded series as float32 `(C, L)`.

    Args:
        data: a CSV file, which may have a header, or an array that `numpy.save` wrote; their first bytes differ.
        name: of the sample, for messages.
        channels: that the series must have.
        time_first: whether a row is a time step; otherwise it is a channel.

    Raises:
        BadSample: it is neither, has other channels, no time step, or values that are missing or not finite.
    """
    content = data if isinstance(data, bytes) else data.read()
    try:
        table = _npy(content) if content.startswith(_NPY) else _csv(content)
    except (ValueError, EOFError, MemoryError) as error:
        raise BadSample(name, str(error).splitlines()[0] if str(error) else "it is cut short") from error
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes inf, which is refused below
        series = np.ascontiguousarray(table.T if time_first else table, dtype=np.float32)
    if len(series) != channels:
        raise BadSample(name, f"it has {len(series)} channels, not {channels}; set views.channels")
    if not series.size:
        raise BadSample(name, "it has no time steps")
    if not np.isfinite(series).all():
        channel, step = np.argwhere(~np.isfinite(series))[0]
        raise BadSample(name, f"channel {channel + 1} is not finite at time step {step + 1}")
    return torch.from_numpy(series)


def _npy(content: bytes) -> np.ndarray:
    array: np.ndarray = np.load(io.BytesIO(content), allow_pickle=False)
    if array.dtype.kind not in "fiub" or array.ndim not in (1, 2):
        raise ValueError(
            f"an array of shape {array.shape} and type {array.dtype}, not of numbers (time steps, channels)"
        )
    return array[:, None] if array.ndim == 1 else array


def _csv(content: bytes) -> np.ndarray:
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError("neither UTF-8 text nor a numpy array") from None
    rows = [line for line in lines if line.strip()]
    if rows and not _is_numbers(rows[0]):
        rows = rows[1:]  # a header
    if not rows:
        raise ValueError("it has no rows of numbers")
    return np.loadtxt(rows, delimiter=",", ndmin=2, dtype=np.float64, comments=None)


def _is_numbers(row: str) -> bool:
    try:
        [float(cell) for cell in row.split(",")]
    except ValueError:
        return False
    return True

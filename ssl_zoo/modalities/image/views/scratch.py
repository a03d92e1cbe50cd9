"""Buffers that are used again and again on a CPU.

Memory that is fresh from the system costs a page fault every 4 KiB, which takes longer than the arithmetic on it.
"""

from __future__ import annotations

import math
import threading
import weakref

import numpy as np
import torch
from torch import Tensor

_ALIGNED = 64
"""Bytes, a cache line: where buffers begin."""


class Desk(threading.local):
    """One float32 buffer a name and thread, which grows to the largest size that was asked for."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int, device: torch.device | None = None) -> Tensor:
        """Return memory of a shape, filled with anything; on a GPU, whose allocator keeps memory itself, a new one.

        What was taken by that name before, in this thread, is overwritten.
        """
        if device is not None and device.type != "cpu":
            return torch.empty(shape, device=device)
        size = math.prod(shape)
        held = self._buffers.get(name)
        if held is None or held.numel() < size:
            with torch.inference_mode(False):
                held = self._buffers[name] = torch.empty(size)
        return held[:size].view(shape)


class Lender:
    """Lends float32 memory that comes back by itself when no tensor uses it any more, to be lent again.

    Args:
        most: buffers that are kept for later at most.
    """

    def __init__(self, most: int = 4) -> None:
        self._most, self._free = most, list[np.ndarray]()

    def lend(self, *shape: int, device: torch.device) -> Tensor:
        """Return memory of a shape, filled with anything, that nobody else has; on a GPU, a new one."""
        if device.type != "cpu":
            return torch.empty(shape, device=device)
        size = math.prod(shape)
        place = next((i for i, buffer in enumerate(self._free) if buffer.size == size), None)
        buffer = _aligned(size) if place is None else self._free.pop(place)
        lent = buffer[:]  # an array of its own, which lives as long as the tensor's storage
        weakref.finalize(lent, self._take_back, buffer).atexit = False
        return torch.from_numpy(lent).view(shape)

    def _take_back(self, buffer: np.ndarray) -> None:
        self._free.append(buffer)
        del self._free[: -self._most]


def _aligned(size: int) -> np.ndarray:
    raw = np.empty(size + _ALIGNED // 4, np.float32)
    start = -raw.ctypes.data % _ALIGNED // 4
    return raw[start : start + size]


DESK, LENDER = Desk(), Lender()

"""Memory that is used again: float32 buffers on a CPU, and constants on any device.

Fresh memory costs a page fault every 4 KiB, which takes longer than the arithmetic on it. In a training process the C
library keeps memory too (`hardware.keep_memory`); see docs/decisions/0005-image-views.md for what each of them gains.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections import deque
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

_ALIGNED = 64
"""Bytes, a cache line: buffers begin at a multiple."""


class BufferPool:
    """A pool of float32 buffers, for all threads. One returns to it when the last tensor that uses it is freed.

    Args:
        most: free buffers kept; the oldest are dropped first.
    """

    def __init__(self, most: int = 128) -> None:
        self._most, self._free = most, list[np.ndarray]()
        # Buffers return from finalizers, which may run inside `borrow`: they take no lock, and leave them here.
        self._returned: deque[np.ndarray] = deque(maxlen=most)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return the number of free buffers."""
        with self._lock:
            self._collect()
            return len(self._free)

    def borrow(self, *shape: int, device: torch.device) -> Tensor:
        """Return uninitialised memory `shape` that nothing else uses; on a GPU, whose allocator keeps it, a new one."""
        if device.type != "cpu":
            return torch.empty(shape, device=device)
        size = math.prod(shape)
        with self._lock:
            self._collect()
            place = next((i for i in reversed(range(len(self._free))) if self._free[i].size == size), None)
            buffer = None if place is None else self._free.pop(place)
        if buffer is None:
            buffer = _aligned(size)
        borrowed = buffer[:]  # an array of its own, which lives as long as the tensor's storage
        weakref.finalize(borrowed, self._returned.append, buffer).atexit = False
        return torch.from_numpy(borrowed).view(shape)

    def _collect(self) -> None:
        """Move what has returned to the free buffers; only under the lock."""
        while self._returned:
            self._free.append(self._returned.popleft())
        del self._free[: -self._most]


def _aligned(size: int) -> np.ndarray:
    raw = np.empty(size + _ALIGNED // 4, np.float32)
    start = -raw.ctypes.data % _ALIGNED // 4
    return raw[start : start + size]


POOL = BufferPool()
"""The pool of this process."""


@lru_cache(maxsize=256)
def constant(
    values: tuple[float, ...] | tuple[bool, ...], device: torch.device, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return a tensor `(len(values),)` that no caller may change, made once per device.

    A copy to a GPU in every step would make the host wait.
    """
    with torch.inference_mode(False):
        return torch.tensor(values, device=device, dtype=dtype)

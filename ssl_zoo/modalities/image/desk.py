"""Buffers that are used again and again on a CPU.

Memory that is fresh from the system costs a page fault every 4 KiB, which takes longer than the arithmetic on it.
"""

from __future__ import annotations

import math
import threading

import torch
from torch import Tensor


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


DESK = Desk()

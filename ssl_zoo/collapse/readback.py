"""Numbers on their way from the device: one copy for all of them, and no wait until somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Values = dict[str, float]


@dataclass(frozen=True)
class Deferred:
    """Numbers that are half computed.

    Attributes:
        tensors: what the device computes.
        finish: makes the numbers of the same tensors on the host, in float64.
    """

    tensors: Sequence[Tensor]
    finish: Callable[[list[Tensor]], Values]


class Readback:
    """Reads tensors from a device, all at once.

    On a CUDA device the copy goes to pinned memory without a wait, and a thread finishes the numbers when it has
    arrived: the device is never idle for them, and the host only if `get` is called too early.

    Args:
        parts: what is read, by name.
    """

    def __init__(self, parts: Mapping[str, Deferred]):
        self._parts = dict(parts)
        tensors = [tensor for part in self._parts.values() for tensor in part.tensors]
        flat = torch.cat([tensor.double().flatten() for tensor in tensors])
        self._sizes = [tensor.shape for tensor in tensors]
        self._later: Future[dict[str, Values]] | None = None
        self._host = flat
        if flat.is_cuda:
            self._host = flat.to("cpu", non_blocking=True)  # pinned, since it is to be copied without a wait
            arrived = torch.cuda.Event(blocking=True)  # the thread sleeps until then
            arrived.record()
            self._later = _pool().submit(self._finish, arrived)
        elif flat.device.type != "cpu":
            self._host = flat.cpu()

    def get(self) -> dict[str, Values]:
        """Return the numbers of each part, by its name; waits where they are not there yet."""
        return self._finish() if self._later is None else self._later.result()

    @torch.no_grad()
    def _finish(self, arrived: Any = None) -> dict[str, Values]:
        if arrived is not None:
            arrived.synchronize()
        flat = self._host.split([size.numel() for size in self._sizes])
        tensors = iter([part.view(size) for part, size in zip(flat, self._sizes, strict=True)])
        return {name: part.finish([next(tensors) for _ in part.tensors]) for name, part in self._parts.items()}


_threads: list[ThreadPoolExecutor] = []


def _pool() -> ThreadPoolExecutor:
    """Return the thread that finishes numbers, which is made when it is needed first."""
    if not _threads:
        _threads.append(ThreadPoolExecutor(1, "readback"))
    return _threads[0]


def read(part: Deferred) -> Values:
    """Return numbers now."""
    return Readback({"": part}).get()[""]

"""The distance of a step from the limits of the hardware: arithmetic and bytes counted operation by operation.

A tool for developers of this package, and no part of its API.

An operation takes at least as long as its arithmetic at the speed of a large matrix product, and as its bytes (all that
it reads and writes, once) at the speed of a large copy (Williams, Waterman & Patterson 2009, the roofline model). The
sum over the operations of a step is the least time that it could take without fusing them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


@dataclass(frozen=True)
class Machine:
    """Measured speeds: of a matrix product in FLOP/s (a multiply-add is two), of a copy in bytes/s."""

    flops: float
    bytes: float

    def better(self, other: Machine) -> Machine:
        """Return the higher speeds of two measurements."""
        return Machine(max(self.flops, other.flops), max(self.bytes, other.bytes))


class Count(TorchDispatchMode):
    """Counts the operations inside its context.

    Attributes:
        ops: FLOP and bytes of each operation that reads or writes memory.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ops: list[tuple[int, int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if not func.is_view:
            tensors = [x for x in tree_leaves((args, kwargs, out)) if isinstance(x, Tensor)]
            counter = flop_registry.get(func._overloadpacket)
            flops = counter(*args, **kwargs, out_val=out) if counter is not None else 0
            self.ops.append((flops, sum(x.numel() * x.element_size() for x in tensors)))
        return out

    @property
    def flops(self) -> int:
        """The arithmetic of all products and convolutions."""
        return sum(flops for flops, _ in self.ops)

    def seconds(self, machine: Machine) -> float:
        """Return the least time that the operations could take."""
        return sum(max(flops / machine.flops, size / machine.bytes) for flops, size in self.ops)


COPIED = 2**26
"""Float32 values of the copy, 256 MiB: more than a cache holds."""


def measure_machine(device: torch.device, dtype: torch.dtype) -> Machine:
    """Return the speed of a product of square matrices in `dtype`, and of a copy of 256 MiB."""
    size = 2048 if device.type == "cpu" else 4096  # a core is at its full speed with the smaller one
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    source = torch.randn(COPIED, device=device)
    target = torch.empty_like(source)
    product, copy = _least(lambda: torch.mm(a, b)), _least(lambda: target.copy_(source))
    return Machine(2 * size**3 / product, 2 * source.nbytes / copy)


def _least(work: Callable[[], Any], times: int = 5) -> float:
    """Return the least seconds of some runs after one that is not timed."""
    taken = []
    for _ in range(times + 1):
        started = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - started)
    return min(taken[1:])


def describe(count: Count, machine: Machine, images: int, rate: float) -> str:
    """Return a sentence on the distance of a step from the roofline.

    Args:
        count: of one step.
        machine: its measured speeds.
        images: of one step.
        rate: measured images per second.
    """
    possible, done = images / count.seconds(machine), rate / images * count.flops
    return (
        f"{count.flops / images / 1e9:.3g} GFLOP an image: {done / 1e9:.4g} GFLOP/s, {done / machine.flops:.0%} of a "
        f"matrix product's {machine.flops / 1e9:.4g}; with its bytes at a copy's {machine.bytes / 1e9:.3g} GB/s, "
        f"operation by operation, {possible:.4g} images/s are possible (roofline), and the step reaches "
        f"{rate / possible:.0%}"
    )

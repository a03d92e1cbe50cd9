"""A CUDA graph without CUDA: the operations of a function are recorded as they reach torch, and done again.

Like `torch.cuda.CUDAGraph` it repeats operations and nothing of Python: numbers are what they were, lists do not grow,
and each result goes into the memory of the first time. It refuses what a capture refuses: an operation that hands a
value to Python. So a step that is equal to the plain one here depends on nothing but tensors; what it cannot show is
CUDA's own part: streams, memory pools, time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

T = TypeVar("T")

READS = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "equal")
"""Operations whose result Python has to know, or its shape."""


class Waits(RuntimeError):
    """A function that is recorded reads a value."""


def _reads(func: Any, args: tuple[Any, ...]) -> bool:
    name = func._overloadpacket.__name__
    masks = name in ("index", "index_put", "index_put_", "_index_put_impl_")
    return name in READS or (masks and any(x is not None and x.dtype == torch.bool for x in args[1]))


class _Watch(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if _reads(func, args):
            self.waits.append(str(func))
        return func(*args, **(kwargs or {}))


class _Record(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[tuple[int, Tensor]]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _reads(func, args):
            raise Waits(f"operation not permitted when stream is capturing: {func}")
        result = func(*args, **kwargs)
        known = {x.untyped_storage()._cdata for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        made = [(i, x) for i, x in enumerate(tree_leaves(result))
                if isinstance(x, Tensor) and x.untyped_storage()._cdata not in known]  # fmt: skip
        self.calls.append((func, args, kwargs, made))
        return result


class StandIn:
    """A `ssl_zoo.training.cuda_graph.Recorder` for tensors on a CPU."""

    def __init__(self) -> None:
        self._calls: list[Any] = []
        self._done = False
        self.replays = 0

    def run(self, function: Callable[[], T]) -> T:
        """Call a function."""
        return function()

    def watch(self, function: Callable[[], T]) -> tuple[T, list[str]]:
        """Call a function; return its result and the operations that read a value."""
        with _Watch() as watch:
            return function(), watch.waits

    def record(self, function: Callable[[], T]) -> T:
        """Record a function. It is done here too, in place of the first `replay`, which CUDA's capture leaves to that.

        Raises:
            Waits: it reads a value.
        """
        with _Record() as recorded:
            result = function()
        self._calls, self._done = recorded.calls, True
        return result

    def replay(self) -> None:
        """Do the operations again, into the same memory."""
        self.replays += 1
        if self._done:
            self._done = False
            return
        with torch.no_grad():
            for func, args, kwargs, made in self._calls:
                again = tree_leaves(func(*args, **kwargs))
                for place, old in made:
                    old.copy_(again[place])

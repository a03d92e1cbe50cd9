"""Operations on a GPU: how many kernels each launches, and for which the host waits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

GPU = torch.device("cuda:0")

READS = {
    "_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount",
    "histc", "equal", "repeat_interleave", "_linalg_check_errors", "_linalg_eigh", "_linalg_svd", "linalg_eig",
    "linalg_lstsq",
}  # fmt: skip
"""Operations for which the host waits: it needs a value, or the size of a result, or solvers report to it."""

NO_KERNEL = ("empty", "new_empty", "detach", "_unsafe_view", "lift", "_reshape_alias", "set_", "resize_")
"""Beginnings of the names of operations that launch nothing, next to all views."""


KERNELS: dict[str, int] = {
    "native_batch_norm": 3,  # statistics, running statistics, normalisation
    "native_batch_norm_backward": 2,  # sums, gradient
    "native_layer_norm_backward": 2,  # of the input, of the weights
    "native_group_norm": 2,
    "native_group_norm_backward": 3,
    "_local_scalar_dense": 0,  # a copy
    "_foreach_norm": 3,  # a fill, sums of chunks, roots of their sums
}
"""Kernels of operations that launch not just one. Convolutions launch one backward for each gradient asked for. Lists
of tensors (`_foreach`, fused optimizers) count as one where `is_one_launch`, though a long list takes a few.
"""


class Operation(NamedTuple):
    """An operation on the device.

    Attributes:
        part: what `FakeGpu.part` named at the time.
        name: of the operation, such as `add.Tensor`.
        tensors: shape and type of each tensor in it, then those of the results.
        numbers: its other arguments, such as the dimension of a sum. A CUDA graph repeats them as they were.
        launches: how many kernels it launches; see `KERNELS`.
    """

    part: str
    name: str
    tensors: tuple[tuple[str, tuple[int, ...]], ...]
    numbers: str
    launches: int


def launches_of(func: Any, name: str, args: Sequence[Any], results: Sequence[Any]) -> int:
    """Return how many kernels an operation launches.

    Args:
        func: the operation.
        name: of it, without the overload.
        args: what it was given.
        results: what it returned.
    """
    if func.is_view or name.startswith(NO_KERNEL):
        return 0
    if name == "convolution_backward":
        return sum(x is not None for x in results)
    lists = [x for x in args if isinstance(x, (list, tuple)) and x and isinstance(x[0], Tensor)]
    if name.startswith("_foreach") and not is_one_launch(lists):
        return len(lists[0])
    return KERNELS.get(name, 1)


def is_one_launch(lists: Sequence[Sequence[Tensor]]) -> bool:
    """Return whether torch computes an operation on lists of tensors at once, and not tensor by tensor.

    All are of one device and type, and those of one place in the lists have the same shape and strides.
    """
    kinds = {(x.device, x.dtype) for each in lists for x in each}
    return len(kinds) == 1 and all(len({_layout(x) for x in group}) == 1 for group in zip(*lists, strict=True))


def _layout(x: Tensor) -> tuple[Any, ...]:
    """Return the shape, and the strides of the axes along which there are several numbers."""
    return x.shape, *(stride for stride, size in zip(x.stride(), x.shape, strict=True) if size > 1)


def waits(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], leaves: list[Any]) -> bool:
    """Return whether the host would wait: a read, a mask as an index, or a copy between devices that blocks."""
    if name in READS:
        return True
    if name in ("index", "index_put", "index_put_"):
        return any(x is not None and x.dtype in (torch.bool, torch.uint8) for x in args[1])
    if name not in ("_to_copy", "copy_"):
        return False
    devices = {x.device.type for x in leaves if isinstance(x, Tensor)} | {kwargs.get("device", GPU).type}
    unblocking = kwargs.get("non_blocking") or (name == "copy_" and True in args[2:])
    # To the CPU without blocking: the values are not there yet; who reads them has to wait by other means.
    return len(devices) > 1 and not unblocking


def places(index: Tensor | None) -> list[Tensor | None]:
    """Return the places that an index names; of a mask, as if all were true."""
    if index is None or index.dtype not in (torch.bool, torch.uint8):
        return [index]
    return [index.new_empty(index.numel(), dtype=torch.int64) for _ in range(index.ndim)]


def leaves_of(value: Any) -> Iterator[Any]:
    """Yield what lists, tuples and mappings hold."""
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from leaves_of(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from leaves_of(each)
    else:
        yield value

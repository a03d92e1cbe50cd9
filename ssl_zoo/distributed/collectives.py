"""Statistics over all processes: the one place where embeddings cross from one process to another.

The promise is that the gradient of every parameter, averaged over processes as DistributedDataParallel does, is the one
that a single process computes on the concatenated batch. Two facts give it:

- `gather` puts the batches of all processes together, in the order of their ranks, and its backward adds up what the
  losses of all processes ask of each sample. Where every process computes the same loss L of the gathered batch, a
  process receives k dL/dz for its own samples, and the average over k processes is dL/dz.
- a mean over samples needs nothing: the average of k means over equal shards is the mean over all.

torch's raw `all_reduce` has no gradient; that is the error that made other libraries' gradients 1/k too small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

SPLIT_FROM = 2048
"""Samples of a batch from which a product over it is split between processes. With fewer, sending the matrix takes
longer than computing it: over eight adapters of 400 Gbit/s a node, both meet near 600 samples in float32 (50 TFLOP/s)
and near 3,000 in TF32 (250 TFLOP/s)."""

_whole: ContextVar[bool] = ContextVar("whole", default=False)


def num_processes() -> int:
    """Return the number of processes that train together; 1 where there is no process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if num_processes() > 1 else 0


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.in_one = _in_one_tensor(x)
        return _gather(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        grad = grads[0].contiguous()
        if ctx.in_one:
            own = grad.new_empty(len(grad) // num_processes(), *grad.shape[1:])
            _renamed("reduce_scatter_single", "reduce_scatter_tensor")(own, grad)
            return own
        grad = grad.clone()
        dist.all_reduce(grad)
        return grad.chunk(num_processes())[rank()]


def _gather(x: Tensor) -> Tensor:
    whole = x.new_empty(num_processes() * len(x), *x.shape[1:])
    if _in_one_tensor(x):
        _renamed("all_gather_single", "all_gather_into_tensor")(whole, x.contiguous())
    else:
        dist.all_gather(list(whole.chunk(num_processes())), x.contiguous())
    return whole


def _renamed(name: str, before: str) -> Callable[[Tensor, Tensor], Any]:
    """Return a function of torch by its name, or by the one that it had before torch 2.14."""
    function: Callable[[Tensor, Tensor], Any] = getattr(dist, name, None) or getattr(dist, before)
    return function


def _in_one_tensor(x: Tensor) -> bool:
    """Return whether the processes gather into one tensor and scatter sums of one, which gloo does not in all versions.

    A sum of which each process gets its own part is half the traffic of one that all of them get.
    """
    return x.is_cuda and dist.get_backend() != "gloo"


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        grad = grads[0].contiguous().clone()
        dist.all_reduce(grad)
        return grad


def gather(x: Tensor) -> Tensor:
    """Return the batches `(B, ...)` of all processes as one, `(k B, ...)`, in the order of their ranks.

    Differentiable; every process must call it with the same shape. With one process, `x` itself.
    """
    return _Gather.apply(x) if num_processes() > 1 else x


def gather_all(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return what `gather` returns of each tensor, in one exchange for each type of number; not differentiable."""
    return _packed(tensors, _gather) if num_processes() > 1 else list(tensors)


def mean_all(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return what `mean` returns of each tensor, in one exchange for each type of number; not differentiable."""
    return _packed(tensors, mean) if num_processes() > 1 else list(tensors)


@torch.no_grad()
def _packed(tensors: Sequence[Tensor], exchange: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """Return what an exchange `(1, N) -> (k, N)` makes of tensors `(B, ...)`, each `(k B, ...)`."""
    found = list(tensors)
    for dtype in dict.fromkeys(x.dtype for x in tensors):
        places = [i for i, x in enumerate(tensors) if x.dtype == dtype]
        packed = exchange(torch.cat([tensors[i].flatten() for i in places])[None])
        parts = packed.split([tensors[i].numel() for i in places], dim=1)
        for i, part in zip(places, parts, strict=True):
            shape = tensors[i].shape
            found[i] = part.reshape(len(part) * shape[0], *shape[1:]) if shape else part.squeeze()
    return found


def total(x: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes; differentiable. With one process, `x` itself."""
    return _Total.apply(x) if num_processes() > 1 else x


def mean(x: Tensor) -> Tensor:
    """Return the mean of a tensor over all processes; differentiable. With one process, `x` itself."""
    return total(x) / num_processes() if num_processes() > 1 else x


def least(x: Tensor) -> Tensor:
    """Return the least of a tensor over all processes, number by number. With one process, `x` itself."""
    if num_processes() == 1:
        return x
    x = x.clone()
    dist.all_reduce(x, op=dist.ReduceOp.MIN)
    return x


@contextmanager
def whole_batches() -> Iterator[None]:
    """A context in which batches are those that `gather` returned, so that `product` may split them."""
    token = _whole.set(True)
    try:
        yield
    finally:
        _whole.reset(token)


def product(x: Tensor, y: Tensor) -> Tensor:
    """Return x^T y `(..., D, D)`, the sum over the samples of two batches `(..., B, D)`; differentiable.

    Where the batches are gathered ones (`whole_batches`) and large, each process multiplies the rows that are its own
    and the matrices are added up: with k processes 1/k of the arithmetic, instead of the same product k times.
    """
    size, num = num_processes(), x.shape[-2]
    if size == 1 or not _whole.get() or num < SPLIT_FROM or num % size:
        return x.mT @ y
    x, y = (each.narrow(-2, rank() * num // size, num // size) for each in (x, y))
    return total(x.mT @ y)

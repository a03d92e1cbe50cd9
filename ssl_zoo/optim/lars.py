"""The optimizer `lars` (You, Gitman & Ginsburg 2017, arXiv 1708.03888)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any

import torch
import torch.distributed as dist
from pydantic import Field
from torch import Tensor

from ssl_zoo.data.transfer import to_device
from ssl_zoo.distributed.shards import is_sharded, local
from ssl_zoo.optim.optimizers import Decay, Fraction
from ssl_zoo.registry import register


class LARS(torch.optim.Optimizer):
    """Momentum SGD whose step is scaled layer by layer to the norm of the weights.

    g <- g + wd w;  g <- trust |w| / |g| g  (where the group adapts);  v <- momentum v + g;  w <- w - lr v.
    The order is that of the code of Barlow Twins and VICReg. Weight decay and adaptation are switched separately.

    Args:
        groups: parameter groups; `adapt: False` in one leaves its layers unscaled.
        momentum: in [0, 1).
        weight_decay: L2 penalty, where a group does not set its own.
        trust: the trust coefficient, eta.
        clip: bound the rate of each layer by the learning rate.
    """

    def __init__(
        self, groups: list[dict[str, Any]], momentum: float, weight_decay: float, trust: float, clip: bool = False
    ):
        defaults = {"lr": 0.0, "momentum": momentum, "weight_decay": weight_decay, "trust": trust, "adapt": True}
        self.clip = clip
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch types it by overloads
        """Take one step; `closure` is called first, with gradients on, as in torch's optimizers."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weights in _alike([w for w in group["params"] if w.grad is not None]):
                self._update(weights, group)
        return loss

    def _update(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """Move weights of one device and type: torch's multi-tensor functions take all of them in a few kernels."""
        for weight in weights:
            if "momentum_buffer" not in self.state[weight]:
                self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        shards = _shards(weights[0])
        w = list(map(local, weights))
        v = [local(self.state[weight]["momentum_buffer"]) for weight in weights]
        g = [local(weight.grad) for weight in weights if weight.grad is not None]
        if group["weight_decay"]:
            g = list(torch._foreach_add(g, w, alpha=group["weight_decay"]))
        if group["adapt"]:
            # A factor for each weight, on the device: reading it as a number would make a GPU wait at each layer.
            factors = self._factors(_norms(w, shards), _norms(g, shards), group)
            g = list(torch._foreach_mul(g, factors_of_each(factors, g)))
        torch._foreach_mul_(v, group["momentum"])
        torch._foreach_add_(v, g)
        torch._foreach_add_(w, v, alpha=-group["lr"])

    def _factors(self, size: Tensor, slope: Tensor, group: dict[str, Any]) -> Tensor:
        """Return the factor on the gradient of each weight, for the norms of weights and gradients."""
        ratio = group["trust"] * size / slope
        if self.clip:
            ratio = (ratio / group["lr"]).clamp(max=1) if group["lr"] else torch.ones_like(size)
        return torch.where((size > 0) & (slope > 0), ratio, torch.ones_like(size))


def factors_of_each(factors: Tensor, tensors: list[Tensor]) -> list[Tensor]:
    """Return what to multiply each of N tensors by.

    On a CPU these are numbers. Elsewhere torch multiplies a list by a list of numbers tensor by tensor, a kernel for
    each; by tensors of the same shapes and strides it takes the list at once. So each number is repeated to the size of
    its tensor, all of them in two kernels; the products are the same.

    Args:
        factors: `(N,)`.
        tensors: N, of one device and type.
    """
    sizes = tuple(x.numel() for x in tensors)
    if factors.device.type == "cpu" or not any(sizes) or not all(map(_is_dense, tensors)):
        return list(factors.unbind())
    return repeated(factors, tensors)


def repeated(factors: Tensor, tensors: list[Tensor]) -> list[Tensor]:
    """Return each of the factors `(N,)` in the shape and strides of one of N tensors without gaps."""
    sizes = tuple(x.numel() for x in tensors)
    block = math.gcd(*sizes)
    owners = _owners(tuple(size // block for size in sizes), factors.device)
    flat = factors.index_select(0, owners)[:, None].expand(-1, block).reshape(-1)
    parts = zip(flat.split(sizes), tensors, strict=True)
    return [part.as_strided(x.shape, x.stride(), part.storage_offset()) for part, x in parts]


@lru_cache(maxsize=8)
def _owners(counts: tuple[int, ...], device: torch.device) -> Tensor:
    """Return the number of each tensor as often as it has blocks."""
    numbers = torch.arange(len(counts), dtype=torch.int32)
    return to_device(numbers.repeat_interleave(torch.tensor(counts)), device)


def _is_dense(x: Tensor) -> bool:
    """Return whether the numbers of a tensor lie in memory without gaps, in one of torch's formats."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return x.is_contiguous() or (x.ndim in formats and x.is_contiguous(memory_format=formats[x.ndim]))


def _alike(weights: list[Any]) -> list[list[Any]]:
    """Return the weights in lists of one device, type and way of being sharded."""
    lists: dict[Any, list[Any]] = {}
    for w in weights:
        mesh = (w.device_mesh, w.placements) if is_sharded(w) else None
        lists.setdefault((w.device, w.dtype, mesh), []).append(w)
    return list(lists.values())


def _shards(w: Any) -> list[Any]:
    """Return the groups of processes that each hold a part of a weight; none where the whole is here."""
    if not is_sharded(w):
        return []
    return [w.device_mesh.get_group(dim) for dim, place in enumerate(w.placements) if place.is_shard()]


def _norms(tensors: list[Tensor], shards: list[Any]) -> Tensor:
    """Return the norms `(N,)` of N whole weights, of which these are the parts here."""
    norms = torch.stack(list(torch._foreach_norm(tensors)))
    for group in shards:
        squares = norms.square()
        dist.all_reduce(squares, group=group)
        norms = squares.sqrt()
    return norms


@register("optimizer", "lars")
def lars(
    groups: list[dict[str, Any]],
    *,
    momentum: Fraction = 0.9,
    weight_decay: Decay = 0.0,
    trust: Annotated[float, Field(gt=0)] = 0.001,
    clip: bool = False,
) -> torch.optim.Optimizer:
    """Layer-wise adaptive SGD for large batches (LARS).

    Args:
        groups: parameter groups.
        momentum: in [0, 1).
        weight_decay: L2 penalty, where a group does not set its own.
        trust: the trust coefficient, eta.
        clip: the rate of a layer is the smaller of lr and trust |w| / |g|, not their product (solo-learn, EMP-SSL).
    """
    return LARS(groups, momentum, weight_decay, trust, clip)

"""Shapes without values: a torch mode under which parts run on the meta device, fast and with few imports.

Torch's own functions for the meta device import its compiler and sympy, which takes longer than `import torch`. What
the usual networks are made of (convolution, norm, pooling, product) is computed here, from shapes that fit; for those
that do not, and for all else, torch is asked, so that its message is the one that is reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_CONVOLUTIONS: dict[Any, int] = {F.conv1d: 1, F.conv2d: 2, F.conv3d: 3}
_SUMS = (Tensor.add, Tensor.add_)
_POOLING = {"stride", "padding", "dilation", "ceil_mode", "return_indices"}  # as nn.MaxPool2d calls it


def outline(x: Tensor) -> Tensor:
    """Return a tensor of the same shape and type on the meta device."""
    return _empty(x.shape, x)


def _empty(shape: Sequence[int], like: Tensor) -> Tensor:
    return torch.empty(tuple(shape), dtype=like.dtype, device="meta")


class NoRandomValues(TorchFunctionMode):
    """Under this mode, weights on the meta device are not initialised: they have no values."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch."""
        if func in (Tensor.normal_, Tensor.uniform_) and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))


class ShapesOnly(TorchFunctionMode):
    """Under this mode, functions of tensors on the meta device return tensors of the right shape."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch."""
        kwargs = kwargs or {}
        if args and isinstance(args[0], Tensor) and args[0].is_meta:
            shape = _shape(func, args, kwargs)
            if shape is not None:
                return _empty(shape, args[0])
        return func(*args, **kwargs)


def _shape(func: Any, args: Any, kwargs: Any) -> Sequence[int] | None:
    """Return the shape of a function's value, or None where torch is to be asked."""
    x = args[0]
    if func in _CONVOLUTIONS and not kwargs and len(args) == 7:
        weight, _, stride, padding, dilation, groups = args[1:]
        fits = x.ndim == _CONVOLUTIONS[func] + 2 and x.shape[1] == weight.shape[1] * groups
        sides = _slid(x.shape[2:], weight.shape[2:], stride, padding, dilation) if fits else None
        return None if sides is None else (len(x), len(weight), *sides)
    if func is F.max_pool2d and kwargs.keys() == _POOLING and not kwargs["ceil_mode"] and not kwargs["return_indices"]:
        sides = _slid(x.shape[2:], args[1], kwargs["stride"], kwargs["padding"], kwargs["dilation"])
        return None if sides is None else (*x.shape[:2], *sides)
    if func is F.linear and len(args) > 1 and x.shape[-1] == args[1].shape[1]:
        return (*x.shape[:-1], len(args[1]))
    if func in _SUMS and isinstance(args[1], Tensor) and args[1].shape == x.shape:
        return x.shape
    if func is F.batch_norm and args[1] is not None:
        _same((x.shape[1],), args[1].shape)
        return x.shape
    if func is F.layer_norm:
        _same(tuple(x.shape[-len(args[1]) :]), tuple(args[1]))
        return x.shape
    if func is F.adaptive_avg_pool2d and args[1] in (1, (1, 1)):
        return (*x.shape[:-2], 1, 1)
    return None


def _slid(sides: Sequence[int], kernel: Any, stride: Any, padding: Any, dilation: Any) -> list[int] | None:
    """Return the sides of what a sliding window gives, or None where it does not fit."""
    if isinstance(padding, str):
        return None
    options = (kernel, stride, padding, dilation)
    along = (each if isinstance(each, Sequence) else (each,) * len(sides) for each in options)
    made = [
        (side + 2 * pad - gap * (size - 1) - 1) // step + 1
        for side, size, step, pad, gap in zip(sides, *along, strict=True)
    ]
    return made if min(made) > 0 else None


def _same(given: Sequence[int], wanted: Sequence[int]) -> None:
    if tuple(given) != tuple(wanted):
        raise ValueError(f"a norm made for {tuple(wanted)} was given {tuple(given)}")

"""What a part returned, compared with what its contract says, as one sentence with what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ssl_zoo.registry import PartFailed


def check_features(label: str, value: Any, batch: int, width: int, given: str = "") -> None:
    """Make sure that a part returned features `(B, width)`.

    Args:
        label: the part, in messages.
        value: what it returned.
        batch: number of samples that it was given.
        width: what it states as its `out_dim`.
        given: what it was given, for the message.

    Raises:
        PartFailed: it returned something else.
    """
    wanted = f"not a tensor (B, {width})"
    if not isinstance(value, Tensor):
        raise PartFailed(f"{label}: returned {_kind(value)}, {wanted}; {_advice_on_parts(value, batch, width)}.")
    shape = tuple(value.shape)
    if shape == (batch, width):
        if not value.is_floating_point():
            raise PartFailed(f"{label}: returned {value.dtype}, not floats; convert them with .float().")
        return
    if value.ndim == 2 and shape[0] == batch:
        raise PartFailed(
            f"{label}: returned {_sides(shape)}{given}, but its out_dim is {width}; set out_dim = {shape[1]}, or "
            f"return {width} features."
        )
    raise PartFailed(f"{label}: returned {_sides(shape)}{given}, {wanted}; {_advice_on_shape(shape, batch, width)}.")


def check_tokens(label: str, value: Any, batch: int, width: int) -> None:
    """Make sure that an encoder's `tokens` returned features of places `(B, N, width)` and their grid.

    Raises:
        PartFailed: it returned something else.
    """
    wanted = f"not features of places (B, N, {width}) with their grid, whose product is N"
    if not isinstance(value, tuple) or len(value) != 2 or not isinstance(value[0], Tensor):
        got = _sides(tuple(value.shape)) if isinstance(value, Tensor) else _kind(value)
        raise PartFailed(f"{label}: its tokens returned {got}, {wanted}.")
    shape, grid = tuple(value[0].shape), tuple(value[1])
    if shape != (batch, math.prod(grid), width):
        raise PartFailed(f"{label}: its tokens returned {_sides(shape)} with the grid {grid}, {wanted}.")


def _sides(shape: tuple[int, ...]) -> str:
    return f"a tensor {shape}"


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, Mapping):
        keys = ", ".join(map(str, list(value)[:8]))
        return f"a dict ({keys})" if type(value) is dict else f"a dict {type(value).__name__} ({keys})"
    if isinstance(value, (tuple, list)):
        return f"a {'list' if isinstance(value, list) else 'tuple'}"
    fields = [name for name in vars(value) if not name.startswith("_")] if hasattr(value, "__dict__") else []
    return f"an object {type(value).__name__}" + (f" ({', '.join(fields[:8])})" if fields else "")


def _advice_on_parts(value: Any, batch: int, width: int) -> str:
    """Say which item of a collection are the features, or else that they must be returned alone."""
    if value is None:
        return "end its forward with return"
    items: list[tuple[str, Any]] = []
    if isinstance(value, Mapping):
        items = [(f"[{key!r}]", item) for key, item in value.items()]
    elif isinstance(value, (tuple, list)):
        items = [(f"[{i}]", item) for i, item in enumerate(value)]
    elif hasattr(value, "__dict__"):
        items = [(f".{name}", item) for name, item in vars(value).items()]
    for place, item in items:
        if isinstance(item, Tensor) and tuple(item.shape) == (batch, width):
            return f"its item {place} is one: return that alone"
    return "return the features alone"


def _advice_on_shape(shape: tuple[int, ...], batch: int, width: int) -> str:
    if len(shape) > 2 and shape[0] == batch and all(side == 1 for side in shape[2:]):
        return "take the sides of 1 away: h.flatten(1)"
    if len(shape) == 3 and shape[0] == batch and shape[2] == width:
        return "these are tokens: return their mean, h.mean(dim=1), or the class token, h[:, 0]"
    if len(shape) > 2 and shape[:2] == (batch, width):
        return f"these are maps: return their mean over the places, h.mean(dim={tuple(range(2, len(shape)))})"
    if len(shape) > 2 and shape[0] == batch:
        return "pool or flatten it to one row per sample"
    return f"return one row per sample: it was given {batch} samples"

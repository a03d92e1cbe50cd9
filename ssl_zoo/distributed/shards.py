"""Tensors that are spread over processes (torch's DTensor): how they become whole, and how whole ones are spread.

Nothing here imports torch's module of them, which takes long and which only a sharded strategy needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ssl_zoo.distributed import collectives

Read = Callable[[Mapping[str, Tensor]], None]
"""Fills tensors, by their names in a checkpoint: whole ones, or this process's parts of those that are spread. All
processes call it together."""


@dataclass(frozen=True)
class Stored:
    """A tensor of a checkpoint that has not been read yet.

    Attributes:
        name: in the checkpoint.
        shape: of the whole tensor.
        dtype: of its numbers.
        read: reads it and others of the same checkpoint.
    """

    name: str
    shape: torch.Size
    dtype: torch.dtype
    read: Read

    def empty(self, like: Tensor | None = None) -> Tensor:
        """Return a tensor for it without numbers, spread as another of its shape or whole on the CPU."""
        return torch.empty(self.shape, dtype=self.dtype) if like is None else torch.empty_like(like, dtype=self.dtype)


def fill(wanted: Sequence[tuple[Stored, Tensor]]) -> None:
    """Read stored tensors into others, those of a checkpoint together; all processes call it."""
    by_read: dict[Read, dict[str, Tensor]] = {}
    for stored, into in wanted:
        by_read.setdefault(stored.read, {})[stored.name] = into
    for read, tensors in by_read.items():
        read(tensors)


def read_whole(value: Any) -> Any:
    """Return nested dicts, lists and tuples with the whole tensors in the places of those that were not yet read."""
    wanted: list[tuple[Stored, Tensor]] = []

    def taken(stored: Stored) -> Tensor:
        wanted.append((stored, stored.empty()))
        return wanted[-1][1]

    made = map_leaves(value, Stored, taken)
    fill(wanted)
    return made


def is_sharded(x: Any) -> bool:
    """Return whether a value is a tensor of which each process holds a part."""
    return isinstance(x, Tensor) and hasattr(x, "full_tensor")


def local(x: Tensor) -> Tensor:
    """Return this process's part of a tensor that is spread, and any other tensor itself."""
    part: Tensor = x.to_local() if is_sharded(x) else x  # type: ignore[attr-defined]  # of torch's DTensor
    return part


def whole(x: Tensor) -> Tensor:
    """Return a tensor with all its numbers in each process; all processes must call it for one that is spread."""
    full: Tensor = x.full_tensor() if is_sharded(x) else x  # type: ignore[attr-defined]  # of torch's DTensor
    return full


def spread_like(x: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor, the same in each process, spread as another of its shape is; nothing is exchanged."""
    if not is_sharded(like) or is_sharded(x):
        return x
    from torch.distributed.tensor import DTensor, Replicate

    assert isinstance(like, DTensor)
    mesh = like.device_mesh
    everywhere = DTensor.from_local(x.to(mesh.device_type), mesh, [Replicate()] * mesh.ndim, run_check=False)
    return everywhere.redistribute(mesh, like.placements)  # from whole to a part: each process cuts its own out


def entries(tensors: Sequence[Tensor], most: int) -> Tensor:
    """Return up to `most` numbers of each tensor, at equal distances, one after the other in float32.

    Of tensors that are spread over processes, all processes must ask; each gets the numbers of the whole tensors.
    """
    found = [_entries(x.detach(), -(-x.numel() // most)) for x in tensors]
    few = torch.cat(found) if found else torch.empty(0)
    return collectives.total(few) if any(map(is_sharded, tensors)) else few


def _entries(x: Tensor, distance: int) -> Tensor:
    """Return every so manyth number of a tensor; of one that is spread, 0 for those that another process holds."""
    if not is_sharded(x):
        return x.flatten()[::distance].float()
    mine: Any = x
    part, mesh = local(x).flatten(), mine.device_mesh
    few = part.new_zeros(-(-x.numel() // distance), dtype=torch.float32)
    *others, place = mesh.get_coordinate()
    if not any(others):  # where weights are kept several times, one copy answers
        rows = -(-len(x) // mesh.size(mesh.ndim - 1))  # as torch.chunk divides them
        start = min(place * rows, len(x)) * (x.numel() // len(x))
        first = -start % distance
        chosen = part[first::distance]
        few[(start + first) // distance :][: len(chosen)] = chosen
    return few


def map_tensors(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """Return nested dicts, lists and tuples with each tensor changed, in their order."""
    return map_leaves(value, Tensor, change)


def map_leaves(value: Any, kind: Any, change: Callable[[Any], Any]) -> Any:
    """Return nested dicts, lists and tuples with each value of a kind changed, in their order."""
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, dict):
        return {key: map_leaves(each, kind, change) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map_leaves(each, kind, change) for each in value)
    return value

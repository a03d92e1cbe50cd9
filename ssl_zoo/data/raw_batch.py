"""A micro-batch as the loader gives it: tensors that travel to the device together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from ssl_zoo.data.transfer import pack, unpack

_INDEX, _DRAWN = "index of the samples", "drawn for the method: "
"""Name of `RawBatch.index` in a block, and the beginning of the names of `RawBatch.drawn`: none of the payload's."""


@dataclass(frozen=True)
class RawBatch:
    """A micro-batch on the CPU, before views are made of it.

    Attributes:
        payload: what the policy's `collate` returned; its `forward` makes the views of it.
        index: `(B,)` int64, the positions of the samples in the split.
        bad: the samples that could not be read, in whose places others are, as (name, reason).
        error: why there is no payload, where the view policy refuses the samples. From a worker process, an exception
            would arrive with a traceback in its text.
        block: uint8 `(bytes,)`, the memory in which the tensors lie, where they have been packed.
        drawn: what the method draws for the samples; see `Batch.drawn`.
    """

    payload: dict[str, Tensor]
    index: Tensor
    bad: list[tuple[str, str]]
    error: str = ""
    block: Tensor | None = None
    drawn: dict[str, Tensor] = field(default_factory=dict)

    @property
    def _tensors(self) -> dict[str, Tensor]:
        """All tensors by name."""
        return {**self.payload, **{_DRAWN + name: x for name, x in self.drawn.items()}, _INDEX: self.index}

    def _holding(self, tensors: Mapping[str, Tensor], block: Tensor | None) -> RawBatch:
        """Return the batch with other tensors of the same names."""
        payload = {name: tensors[name] for name in self.payload}
        drawn = {name: tensors[_DRAWN + name] for name in self.drawn}
        return replace(self, payload=payload, index=tensors[_INDEX], block=block, drawn=drawn)

    def pin_memory(self) -> RawBatch:
        """Return the batch in page-locked memory; the DataLoader calls this."""
        return self.packed(pin=True)

    def packed(self, pin: bool) -> RawBatch:
        """Return the batch with all its tensors on the CPU in one block; see `transfer.pack`."""
        block, packed = pack(self._tensors, pin)
        return self._holding(packed, block)

    def moved(self, copy: Callable[[Tensor], Tensor]) -> RawBatch:
        """Return the batch, with all its tensors, elsewhere.

        Args:
            copy: takes the block, and each tensor that is not in it, to the same place.
        """
        tensors = self._tensors
        block = None if self.block is None else copy(self.block)
        if self.block is None or block is None or block is self.block:
            there = {name: copy(x) for name, x in tensors.items()}
        else:
            inside = self._inside(tensors)
            there = {name: copy(x) for name, x in tensors.items() if name not in inside}
            there |= unpack(self.block, inside, block)
        return self._holding(there, block)

    def take(self, other: RawBatch) -> None:
        """Copy the tensors of another batch of the same layout to where those of this one lie, without waiting."""
        theirs, packed = other._tensors, set[str]()
        if self.block is not None and other.block is not None:
            self.block.copy_(other.block, non_blocking=True)
            packed = set(other._inside(theirs))
        for name, x in self._tensors.items():
            if name not in packed:
                x.copy_(theirs[name], non_blocking=True)

    @property
    def layout(self) -> object:
        """Names, shapes, types and strides: batches with equal ones lie in memory alike."""
        tensors = self._tensors
        return {name: (x.shape, x.dtype, x.stride()) for name, x in tensors.items()}

    def _inside(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors that lie in the block."""
        assert self.block is not None
        near = {name: x for name, x in tensors.items() if x.device == self.block.device}
        memory = self.block.untyped_storage().data_ptr()
        return {name: x for name, x in near.items() if x.untyped_storage().data_ptr() == memory}

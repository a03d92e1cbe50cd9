"""A micro-batch as the loader gives it: tensors that travel to the device together."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from ssl_zoo.data.transfer import Transfer, pack, unpack

_INDEX = "index of the samples"
"""Name of `RawBatch.index` in a block: none of the payload's."""


@dataclass(frozen=True)
class RawBatch:
    """A micro-batch on the CPU, before views are made of it.

    Attributes:
        payload: what the policy's `collate` returned; its `forward` makes the views of it.
        index: `(B,)` int64, the positions of the samples in the split.
        bad: the samples that were left out because they cannot be read, as (name, reason).
        error: why there is no payload, where the view policy refuses the samples. From a worker process, an exception
            would arrive with a traceback in its text.
        block: uint8 `(bytes,)`, the memory in which payload and index lie, where they have been packed.
    """

    payload: dict[str, Tensor]
    index: Tensor
    bad: list[tuple[str, str]]
    error: str = ""
    block: Tensor | None = None

    def pin_memory(self) -> RawBatch:
        """Return the batch in page-locked memory; the DataLoader calls this."""
        return self.packed(pin=True)

    def packed(self, pin: bool) -> RawBatch:
        """Return the batch with all its tensors on the CPU in one block; see `transfer.pack`."""
        block, packed = pack({**self.payload, _INDEX: self.index}, pin)
        index = packed.pop(_INDEX)
        return replace(self, payload=packed, index=index, block=block)

    def on_device(self, transfer: Transfer) -> RawBatch:
        """Return the batch on a device, payload and index, without waiting for the copy.

        Args:
            transfer: to the device.
        """
        tensors = {**self.payload, _INDEX: self.index}
        if self.block is None:
            moved, block = {name: x.to(transfer.device, non_blocking=True) for name, x in tensors.items()}, None
        else:
            block = transfer(self.block)
            moved = unpack(self.block, tensors, block)
        index = moved.pop(_INDEX)
        return replace(self, payload=moved, index=index, block=block)

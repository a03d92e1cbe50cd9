"""The way of a batch from the loader to a GPU: one copy from page-locked memory, during the step before.

A copy from pageable memory makes the host wait, and each copy costs a launch. So the loader puts all tensors of a batch
into one page-locked block, and what arrives is cut into the same tensors.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

ALIGNMENT = 64
"""Bytes: where a tensor in a block may begin."""


def pack(tensors: Mapping[str, Tensor], pin: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """Copy tensors on the CPU into one block of memory.

    Args:
        tensors: by name; those on another device stay as they are.
        pin: whether the block is page-locked, which needs a GPU.

    Returns:
        The block, uint8 `(bytes,)`, and the tensors, which lie in it.
    """
    inside = {name: x for name, x in tensors.items() if x.device.type == "cpu"}
    ends, end = {}, 0
    for name, x in inside.items():
        begin = -(-end // ALIGNMENT) * ALIGNMENT
        ends[name] = end = begin + x.nbytes
    block = torch.empty(end, dtype=torch.uint8, pin_memory=pin)
    packed = {}
    for name, x in inside.items():
        strides = torch.empty_like(x, device="meta").stride()  # those of x, but without gaps and repetitions
        place = block[ends[name] - x.nbytes : ends[name]].view(x.dtype)
        packed[name] = place.as_strided(x.shape, strides, place.storage_offset()).copy_(x)
    return block, {name: packed.get(name, x) for name, x in tensors.items()}


def unpack(block: Tensor, packed: Mapping[str, Tensor], moved: Tensor) -> dict[str, Tensor]:
    """Return the tensors of a block as they lie in a copy of it; no memory is copied.

    Args:
        block: of `pack`.
        packed: tensors that lie in it.
        moved: a copy of `block`, perhaps on another device.
    """
    tensors = {}
    for name, x in packed.items():
        begin = x.data_ptr() - block.data_ptr()
        place = moved[begin : begin + x.nbytes].view(x.dtype)
        tensors[name] = place.as_strided(x.shape, x.stride(), place.storage_offset())
    return tensors


class Transfer:
    """Copies blocks to a device, on a CUDA device by a stream of its own.

    The host is ahead of the GPU: while that still computes one step, the batch of the next one is asked for. Its copy
    does not queue up behind the computations, and those that need it wait for it.

    Args:
        device: to copy to.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, block: Tensor) -> Tensor:
        """Return a copy on the device, which the current stream may use; what is there already, as it is."""
        if self._stream is None or block.device == self.device:
            return block.to(self.device, non_blocking=True)
        with torch.cuda.stream(self._stream):
            moved = block.to(self.device, non_blocking=True)
        current = torch.cuda.current_stream(self.device)
        current.wait_stream(self._stream)
        moved.record_stream(current)  # its memory is not used again before the current stream is done with it
        return moved


def to_device(x: Tensor, device: torch.device | str) -> Tensor:
    """Return a tensor on a device; to a GPU it is copied from page-locked memory, so that the host need not wait."""
    device = torch.device(device)
    if device.type == "cuda" and x.device.type == "cpu" and torch.cuda.is_available():
        x = x.pin_memory()
    return x.to(device, non_blocking=True)

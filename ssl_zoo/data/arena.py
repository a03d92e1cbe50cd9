"""Samples in memory that other processes of this machine can map: an anonymous file of the kernel.

Linux alone has such files. They have no name and need no room in /dev/shm (which containers often keep small), and the
kernel frees them with the last process that has them open, however it ends.
"""

from __future__ import annotations

import io
import math
import mmap
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_zoo.data.source import Sample

_ALIGNED = 64
"""Tensors begin at a multiple of this many bytes."""


def has_arenas() -> bool:
    """Return whether this system has anonymous files that processes can share."""
    return hasattr(os, "memfd_create")


class NotShareable(Exception):
    """A value cannot be sent to another process, such as one that holds an open file."""


@dataclass(frozen=True)
class Handle:
    """What another process of this machine needs to map an arena.

    Attributes:
        process: that holds it.
        file: its file descriptor there.
        nbytes: of the arena.
        about: (start, end) of the description of its contents, in bytes.
    """

    process: int
    file: int
    nbytes: int
    about: tuple[int, int]


class Arena:
    """Memory that is written by one process and then only read, by it and by others."""

    def __init__(self) -> None:
        self._file = os.memfd_create("ssl_zoo", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self._end = 0
        self._block: tuple[Tensor, mmap.mmap] | None = None

    def tensor(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return an empty tensor that lies in the arena; there can be one, made before anything else is written."""
        assert self._end == 0 and self._block is None
        nbytes = math.prod(shape) * dtype.itemsize
        os.ftruncate(self._file, max(1, nbytes))
        memory = mmap.mmap(self._file, max(1, nbytes))
        tensor = torch.frombuffer(memory, dtype=torch.uint8, count=nbytes).view(dtype).view(*shape)
        self._block, self._end = (tensor, memory), nbytes
        return tensor

    def write(self, data: Any) -> int:
        """Append bytes; return where they begin."""
        start = -(-self._end // _ALIGNED) * _ALIGNED
        left, place = memoryview(data).cast("B"), start
        while left:
            done = os.pwrite(self._file, left, place)
            left, place = left[done:], place + done
        self._end = place
        return start

    def dump(self, value: Any) -> tuple[int, int]:
        """Append any value, its tensors and arrays as they are; return where it begins and ends.

        Raises:
            NotShareable: it cannot be sent to another process.
        """
        text = io.BytesIO()
        try:
            _Pickler(text, self).dump(value)
        except Exception as error:  # whatever a value raises that refuses
            raise NotShareable(str(error)) from error
        start = self.write(text.getbuffer())
        return start, self._end

    def place_of(self, tensor: Tensor) -> int | None:
        """Return where a tensor begins that lies in the arena already."""
        if self._block is None or not tensor.is_contiguous():
            return None
        block = self._block[0]
        start = tensor.data_ptr() - block.data_ptr()
        return start if 0 <= start and start + tensor.nbytes <= block.nbytes else None

    def seal(self, about: Any) -> Handle:
        """End the writing: append a description of the contents, and keep the size from ever being changed.

        Raises:
            NotShareable: as `dump`.
        """
        import fcntl  # a system that has arenas has it

        place = self.dump(about)
        fcntl.fcntl(self._file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        return Handle(os.getpid(), self._file, self._end, place)

    def close(self) -> None:
        """Close the file; what has been mapped stays."""
        os.close(self._file)


class _Pickler(pickle.Pickler):
    """Pickles a value of this process for another one of the same run; tensors and arrays go into the arena."""

    def __init__(self, text: io.BytesIO, arena: Arena) -> None:
        super().__init__(text, protocol=pickle.HIGHEST_PROTOCOL)
        self._arena = arena

    def persistent_id(self, value: Any) -> Any:
        """Return a reference to a tensor or an array that is written into the arena."""
        if type(value) is Tensor and value.device.type == "cpu" and value.layout is torch.strided:
            start = self._arena.place_of(value)
            if start is None:
                flat = value.detach().contiguous().flatten()
                start = self._arena.write(flat.view(torch.uint8).numpy() if flat.numel() else b"")
            return "tensor", start, tuple(value.shape), value.dtype
        if type(value) is np.ndarray and not value.dtype.hasobject and value.ndim == 1:
            return "array", self._arena.write(np.ascontiguousarray(value).view(np.uint8)), value.shape, value.dtype
        return None


class Mapped:
    """An arena that is mapped into this process. Changes to it stay in this process.

    Args:
        handle: of the arena.

    Raises:
        OSError: it cannot be opened, or is not as large as it should be.
    """

    def __init__(self, handle: Handle) -> None:
        file = os.open(f"/proc/{handle.process}/fd/{handle.file}", os.O_RDWR | os.O_CLOEXEC)
        try:
            if os.fstat(file).st_size != handle.nbytes:
                raise OSError(f"{os.fstat(file).st_size} bytes instead of {handle.nbytes}")
            self._memory = mmap.mmap(file, handle.nbytes, access=mmap.ACCESS_COPY)
        finally:
            os.close(file)
        self.about = self.load(*handle.about)

    def load(self, start: int, end: int) -> Any:
        """Return a value that lies in the arena; its tensors are views of the arena."""
        return _Unpickler(io.BytesIO(self._memory[start:end]), self._memory).load()


class _Unpickler(pickle.Unpickler):
    def __init__(self, text: io.BytesIO, memory: mmap.mmap) -> None:
        super().__init__(text)
        self._memory = memory

    def persistent_load(self, place: Any) -> Any:
        """Return the tensor or the array of a reference."""
        kind, start, shape, dtype = place
        count = math.prod(shape)
        if kind == "array":
            return np.frombuffer(self._memory, dtype, count, start)
        if not count:
            return torch.empty(shape, dtype=dtype)
        return torch.frombuffer(self._memory, dtype=dtype, count=count, offset=start).view(shape)


class SampleWriter:
    """Takes samples one by one into an arena, in place of a list of them.

    Args:
        arena: for the samples.
    """

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self.places: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self.places)

    def append(self, sample: Sample) -> None:
        """Write a sample."""
        self.places.append(self._arena.dump(sample))


class MappedSamples(Sequence[Sample]):
    """Samples that lie in an arena; each is made of it when it is asked for.

    Args:
        memory: the arena.
        places: `(N, 2)` int64, where each sample begins and ends.
    """

    def __init__(self, memory: Mapped, places: Tensor) -> None:
        self._memory, self._places = memory, places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, i: int) -> Sample:  # type: ignore[override]  # slices are not offered
        start, end = self._places[i].tolist()
        return self._memory.load(start, end)

"""The folder of a checkpoint's parts: each process writes its own, by torch.distributed.checkpoint, in the background.

It is what torch writes: `__RANK_0.distcp` with the tensors of a process, and `.metadata`, which says where the pieces
of each tensor are. torch reads the latter with a plain unpickler, which would run what a file says; here only the
classes of such a description are taken. This module is imported where there are such checkpoints only, since torch's
own for them takes long to import.
"""

from __future__ import annotations

import hashlib
import math
import pickle
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint import (
    CheckpointException,
    DefaultLoadPlanner,
    FileSystemReader,
    FileSystemWriter,
    async_save,
)
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta, TensorStorageMetadata

from ssl_zoo.distributed import collectives

METADATA = ".metadata"


class Damaged(ValueError):
    """The folder is not what the checkpoint says: a sentence without its subject."""


class Saving:
    """Parts that are being written.

    Args:
        future: of the writing in this process and all others.
        writer: of this process.
    """

    def __init__(self, future: Future[Any], writer: _Writer):
        self._future, self._writer = future, writer

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self._future.done()

    def result(self) -> tuple[dict[str, str], str | None]:
        """Wait for the end; return {file: SHA-256} of what this process has written, and what went wrong if anything.

        A failure of any process is one of all.
        """
        try:
            self._future.result()
        except (Exception, CheckpointException) as error:  # torch derives its own from BaseException
            return self._writer.digests, _reason(error)
        return self._writer.digests, None


def _reason(error: BaseException) -> str:
    """Return why parts could not be written, of the first process that met something."""
    failures = getattr(error, "failures", None)  # of torch's CheckpointException: {rank: (error, where)}
    found = next(iter(failures.values()))[0] if isinstance(failures, dict) and failures else error
    text = found.strerror if isinstance(found, OSError) and found.strerror else str(found)
    return " ".join(text.split()).rstrip(".")[:300] or type(found).__name__


def start(folder: Path, tensors: Mapping[str, Tensor], group: dist.ProcessGroup) -> Saving:
    """Copy this process's parts of tensors, and begin to write them; all processes call it.

    Args:
        folder: a new one.
        tensors: by a name of each, the same names in all processes.
        group: of all processes, on the CPU, which nothing else uses until the end.
    """
    writer = _Writer(folder)
    future = async_save(dict(tensors), storage_writer=writer, process_group=group)
    return Saving(cast("Future[Any]", future), writer)


class _Writer(FileSystemWriter):
    """torch's writer, which notes the checksums of the files."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self._folder = folder
        self.digests: dict[str, str] = {}

    def stage(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        """Return a copy in the CPU's memory, which the next steps do not change."""
        return {
            name: x.detach().clone() if x.device.type == "cpu" else x.detach().to("cpu")
            for name, x in state_dict.items()
        }

    def write_data(self, plan: Any, planner: Any) -> Any:
        """Write this process's file, in the background."""
        results = super().write_data(plan, planner)
        for name in sorted({result.storage_data.relative_path for result in results.value()}):
            self.digests[name] = digest(self._folder / name)
        return results

    def finish(self, metadata: Metadata, results: Any) -> None:
        """Write the description, in the first process and after all files."""
        super().finish(metadata, results)
        self.digests[METADATA] = digest(self._folder / METADATA)

    def storage_meta(self) -> StorageMeta:
        """Return what the description says of its place: nothing, so that the folder can be moved."""
        return StorageMeta()


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Folder:
    """A folder of parts, whose tensors are read when they are asked for.

    Args:
        path: of the folder, that `start` has written.
        files: {file: SHA-256} of all that it holds.
        together: whether all processes read, so that each looks at the checksums of some files, and learns what the
            others have found.

    Attributes:
        tensors: {name: (shape, type)}.

    Raises:
        Damaged: its description is missing or is another.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path, files: Mapping[str, str], together: bool):
        self._path, self._files, self._together = path, dict(files), together and collectives.num_processes() > 1
        for name in self._files:
            if not (path / name).is_file():
                raise Damaged(f"lacks its part {path.name}/{name}; copy the folder {path.name} along with the file")
        self._check([METADATA])
        self._reader = _Reader(path, self._files)
        self._metadata = self._reader.read_metadata()
        found = self._metadata.state_dict_metadata.items()
        self.tensors = {name: (each.size, each.properties.dtype) for name, each in found}  # type: ignore[union-attr]

    def read(self, tensors: Mapping[str, Tensor]) -> None:
        """Read numbers into tensors, whole ones or this process's parts.

        Raises:
            Damaged: a file is missing or is another.
            OSError: one cannot be read.
        """
        if self._together:
            self._check_together()
        else:
            self._check(self._files)
        _fill(tensors, self._reader, self._metadata)

    def _check_together(self) -> None:
        answers: list[str | None] = [None] * collectives.num_processes()
        own: str | None = None
        try:
            self._check(sorted(self._files)[collectives.rank() :: len(answers)])
        except Damaged as error:
            own = str(error)
        dist.all_gather_object(answers, own)
        if (problem := next(filter(None, answers), None)) is not None:
            raise Damaged(problem)

    def _check(self, names: Iterable[str]) -> None:
        for name in names:
            if digest(self._path / name) != self._files.get(name):
                raise Damaged(f"is damaged: the checksum of its part {self._path.name}/{name} does not fit")


def _fill(tensors: Mapping[str, Tensor], reader: FileSystemReader, metadata: Metadata) -> None:
    planner = DefaultLoadPlanner()
    planner.set_up_planner(cast("dict[str, Any]", dict(tensors)), metadata, is_coordinator=True)
    reader.set_up_storage_reader(metadata, is_coordinator=True)
    plan = reader.prepare_local_plan(planner.create_local_plan())
    (plan,) = reader.prepare_global_plan(planner.create_global_plan([plan]))
    reader.read_data(planner.finish_plan(plan), planner).wait()


class _Reader(FileSystemReader):
    """torch's reader, which takes nothing but descriptions of tensors in known files."""

    def __init__(self, folder: Path, files: Mapping[str, str]):
        super().__init__(folder)
        self._files, self._folder = files, folder

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Return the description.

        Raises:
            Damaged: it is none, or of other things than tensors that these files can hold.
        """
        try:
            with (self._folder / METADATA).open("rb") as file:
                metadata = _Unpickler(file).load()
        except (pickle.UnpicklingError, EOFError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise Damaged(f"has no readable description of its parts: {error}") from None
        if not isinstance(metadata, Metadata) or not isinstance(metadata.storage_data, dict):
            raise Damaged("has no description of its parts")
        known = metadata.state_dict_metadata.values()
        held = sum((self._folder / name).stat().st_size for name in self._files)
        if not all(isinstance(each, TensorStorageMetadata) for each in known) or held < sum(map(_bytes, known)):
            raise Damaged("describes more than its parts hold")
        if {place.relative_path for place in metadata.storage_data.values()} - self._files.keys():
            raise Damaged("describes files that are none of its parts")
        metadata.storage_meta = StorageMeta(load_id=self.load_id)
        return metadata


def _bytes(found: Any) -> int:
    return math.prod(found.size) * int(found.properties.dtype.itemsize)


def _member(kind: Any, name: str) -> Any:
    if not (isinstance(kind, type) and issubclass(kind, Enum)):
        raise pickle.UnpicklingError("getattr of anything but an enum is no part of one")
    return kind[name]


class _Unpickler(pickle.Unpickler):
    """Takes plain values, torch's types and layouts, and data classes and enums of torch.distributed.checkpoint."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a class that a description may hold; the module of no other is imported.

        Raises:
            UnpicklingError: it may not.
        """
        if "." in name:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of one")
        if module == "torch" and (
            name == "Size" or isinstance(getattr(torch, name, None), (torch.dtype, torch.layout))
        ):
            return getattr(torch, name)
        if (module, name) == ("builtins", "getattr"):  # so Python 3.11.0 to 3.11.3 name a member of an enum
            return _member
        if (module, name) == ("torch.serialization", "_get_layout"):
            return super().find_class(module, name)
        if module in ("torch.distributed.checkpoint.metadata", "torch.distributed.checkpoint.filesystem"):
            found = super().find_class(module, name)
            if isinstance(found, type) and (is_dataclass(found) or issubclass(found, Enum)):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is no part of one")

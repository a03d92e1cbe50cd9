"""Checkpoints: one file, written atomically and only with finite numbers, checked by its checksum when it is read.

The file is what `torch.save` writes, a zip archive, and `torch.load(path, weights_only=True)` reads it. The archive's
comment is the SHA-256 of all bytes before it.

Of tensors that are spread over processes, the file names a folder beside it, `NAME.shards-N`, in which each process has
written its parts (`ssl_zoo.runs.shard_files`). It is written last, so that parts without a file that names them are
nothing; `load` returns whole tensors either way, or says where those of the parts are.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor

from ssl_zoo.distributed.shards import Stored, read_whole
from ssl_zoo.errors import NotFinite, UserError
from ssl_zoo.runs.atomic import replacing, writing

FORMAT = 2

PARTS = "parts"
"""The entry of the file that says where its parts are: `folder`, `files` {name: SHA-256}, `places` {name: keys}."""

_DIGEST = 64
"""Characters of the checksum."""


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint so that a kill at any moment leaves either the old file or the new one.

    Args:
        path: the file; its folder is made.
        state: tensors and plain Python values only.

    Raises:
        NotFinite: a tensor holds nan or an infinity; `path` is unchanged.
        CannotWrite: the disk is full, the folder is read-only or gone; `path` is unchanged.
    """
    if (name := first_not_finite(state)) is not None:
        raise NotFinite(f"the state after step {state.get('step')} is not finite ({name}); {NotFinite.advice}")
    with writing(path):
        path.parent.mkdir(exist_ok=True)
    with replacing(path) as file:
        with _ErrorKeeper(file) as keeper:
            torch.save({"format": FORMAT, **state}, cast(IO[bytes], keeper))  # torch calls write and flush alone
        file.seek(-2, os.SEEK_END)  # the end of a zip archive is the length of its comment, so far 0
        file.write(_DIGEST.to_bytes(2, "little"))
        file.seek(0)
        digest = hashlib.file_digest(cast(Any, file), "sha256").hexdigest()  # typed for its own protocol of a file
        file.seek(0, os.SEEK_END)
        file.write(digest.encode())
    _remove_parts(path, but=state.get(PARTS, {}).get("folder"))


class _ErrorKeeper:
    """A file that keeps the `OSError` of a failing write: torch raises another error, without the reason."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self._error = self._error or error
            raise

    def flush(self) -> None:
        self._file.flush()

    def __enter__(self) -> _ErrorKeeper:
        return self

    def __exit__(self, *_: object) -> None:
        if self._error is not None:
            raise self._error


def first_not_finite(state: Any) -> str | None:
    """Return the dotted path of the first tensor in nested values that holds nan or an infinity, or None."""
    found = {path: value for path, value in _tensors(state) if value.is_floating_point() or value.is_complex()}
    by_device: dict[torch.device, list[str]] = {}
    for path, value in found.items():
        by_device.setdefault(value.device, []).append(path)
    # One flag per device, whatever the number of tensors, so that a GPU is synchronised once.
    flags = {d: torch.stack([torch.isfinite(found[path]).all() for path in paths]) for d, paths in by_device.items()}
    if all(bool(each.all()) for each in flags.values()):
        return None
    return next(path for path, value in found.items() if not torch.isfinite(value).all())


def _tensors(value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, (dict, list, tuple)):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _tensors(each, f"{path}.{key}" if path else str(key))


def load(path: Path, parts: bool = False) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Args:
        path: the file.
        parts: leave the tensors that are stored in parts unread, as `ssl_zoo.distributed.shards.Stored`, which all
            processes then read together.

    Raises:
        UserError: there is none, it is damaged, or it is not one of ours.
    """
    state: Any = None
    try:
        if sound := _is_sound(path):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no checkpoint.") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}.") from None
    except (RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile, LookupError, ValueError):
        raise UserError(f"{path}: is not a readable checkpoint of ssl_zoo.") from None
    if not sound:
        raise UserError(f"{path}: is damaged, or no checkpoint of this version of ssl_zoo: its checksum does not fit.")
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError(f"{path}: is not a checkpoint of this version of ssl_zoo (format {FORMAT}).")
    state = _with_parts(path, state, parts) if PARTS in state else state
    return state if parts else read_whole(state)


def _with_parts(path: Path, state: dict[str, Any], together: bool) -> dict[str, Any]:
    """Return the state of a file with the tensors that its folder holds, unread.

    Raises:
        UserError: the folder is missing, damaged, or not the one of this file.
    """
    from ssl_zoo.runs import shard_files

    with _told(path):
        parts = state.pop(PARTS)
        if not _is_parts_of(path, parts["folder"]):
            raise shard_files.Damaged("names a folder that is none of its parts")
        folder = shard_files.Folder(path.parent / parts["folder"], parts["files"], together)

        def read(tensors: Mapping[str, Tensor]) -> None:
            with _told(path):
                folder.read(tensors)

        for name, keys in parts["places"].items():
            place = state
            for key in keys[:-1]:
                place = place[key]
            place[keys[-1]] = Stored(name, *folder.tensors[name], read)
    return state


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """A context in which what is wrong with the parts of a file becomes a `UserError`."""
    from ssl_zoo.runs import shard_files

    try:
        yield
    except shard_files.Damaged as error:
        raise UserError(f"{path}: {error}.") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}.") from None
    except (RuntimeError, LookupError, TypeError, AttributeError, AssertionError):
        raise UserError(f"{path}: its parts are not those of a readable checkpoint of ssl_zoo.") from None


def next_folder(path: Path) -> Path:
    """Return a new folder for the parts of a checkpoint."""
    numbers = [int(each.name.rpartition("-")[2]) for each in _folders(path)]
    return path.with_name(f"{path.stem}.shards-{max(numbers, default=-1) + 1}")


def merge(path: Path) -> int:
    """Make one file of a checkpoint and its parts; return the step that it is of.

    Raises:
        UserError: it cannot be read.
        CannotWrite: the disk is full, or the folder is read-only; the checkpoint is what it was.
    """
    state = load(path)
    save(path, {key: value for key, value in state.items() if key != "format"})
    return int(state["step"])


def remove(path: Path) -> None:
    """Remove a checkpoint and its parts, if it is there."""
    path.unlink(missing_ok=True)
    _remove_parts(path, but=None)


def _folders(path: Path) -> list[Path]:
    return [each for each in path.parent.glob("*.shards-*") if _is_parts_of(path, each.name)]


def _is_parts_of(path: Path, name: str) -> bool:
    return re.fullmatch(re.escape(path.stem) + r"\.shards-\d+", name) is not None


def _remove_parts(path: Path, but: str | None) -> None:
    """Remove the folders with parts of a checkpoint except one: of its former self, and of those never finished."""
    for folder in _folders(path):
        if folder.name != but:
            shutil.rmtree(folder, ignore_errors=True)


def digest(path: Path) -> str:
    """Return the checksum that stands at the end of a checkpoint."""
    with path.open("rb") as file:
        file.seek(-_DIGEST, os.SEEK_END)
        return file.read().decode("ascii", "replace")


def _is_sound(path: Path) -> bool:
    """Return whether a file ends with the checksum of what is before it."""
    digest, size = hashlib.sha256(), path.stat().st_size - _DIGEST
    with path.open("rb") as file:
        for place in range(0, size, 2**20):
            digest.update(file.read(min(2**20, size - place)))
        return size > 0 and file.read() == digest.hexdigest().encode()

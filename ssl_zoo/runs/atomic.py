"""Atomic writes: a kill, a full disk or a crash leaves the old file or the new one, and never a part of it."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ssl_zoo.errors import CannotWrite, UserError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A context in which a failing write becomes one sentence that names the file.

    Raises:
        CannotWrite: an `OSError` was raised inside.
    """
    try:
        yield
    except OSError as error:
        raise CannotWrite(f"cannot write {path}: {error.strerror or error}.") from error


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A context with a new file, open for writing and reading, that replaces `path` at the end.

    The file is synced to the disk first, so that a power cut leaves one of the two as well.

    Raises:
        CannotWrite: the disk is full, the folder is read-only or gone; `path` is unchanged.
    """
    partial = path.with_name(path.name + ".partial")
    with writing(path):
        try:
            with partial.open("w+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except Exception:
            with suppress(OSError):  # a full disk needs the space
                partial.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Sync a folder's entries to the disk, where the system allows it."""
    if os.name != "posix":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # some network file systems cannot
            raise
    finally:
        os.close(number)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees either the old one or the new one.

    Characters that UTF-8 does not have, from names of files, are written as escapes.

    Raises:
        CannotWrite: the disk is full, the folder is read-only or gone; `path` is unchanged.
    """
    with replacing(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def check_place(path: str | Path, option: str, *, folder: bool = False) -> None:
    """Make sure that a file or a folder can be made at `path`, before work starts whose result belongs there.

    It makes a temporary folder there: permissions alone do not show a read-only disk, nor anything to the superuser.

    Args:
        path: of the file or folder.
        option: the command-line option that named it, such as `--out`, for messages.
        folder: whether it will be a folder, and not a file.

    Raises:
        UserError: it cannot.
    """
    path = Path(path)
    try:
        place = path if folder else path.parent
        while not place.exists():
            place = place.parent
        if not place.is_dir():
            raise UserError(f"{option} {path}: {place} is a file; name {'a folder' if folder else 'another place'}.")
        with tempfile.TemporaryDirectory(prefix=".ssl-zoo-", dir=place):
            pass
    except OSError as error:
        raise UserError(f"{option} {path}: cannot be written: {error.strerror or error}.") from None

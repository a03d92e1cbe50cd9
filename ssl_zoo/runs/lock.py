"""The lock of a run folder: one process at a time works in it, and another one is told which."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ssl_zoo.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"

_held: set[int] = set()
"""The files by which this process holds locks."""


class Lock:
    """A lock that this process holds.

    Args:
        path: the file by which it is held.
        number: of the open file.
    """

    def __init__(self, path: Path, number: int):
        self._path, self._number = path, number
        _held.add(number)

    def release(self) -> None:
        """Give the lock back and remove its file; in a process that was forked meanwhile, do nothing."""
        if self._number in _held:
            with suppress(OSError):  # the folder may be gone
                self._path.unlink()
            _held.discard(self._number)
            os.close(self._number)


def take(folder: Path, log: Callable[[str], None]) -> Lock:
    """Return the lock of a folder.

    The system gives a lock back when its process ends, however it ends: one that was killed leaves a file behind and
    no lock. The file says which process on which machine holds it.

    Args:
        folder: which exists.
        log: told where the file system has no locks, and of a process on another machine that left its file behind.

    Raises:
        UserError: another process holds the lock.
        OSError: the file of the lock cannot be written.
    """
    path = folder / NAME
    while True:
        number = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _take(number, folder, log)
            if path.exists() and os.path.samestat(os.fstat(number), os.stat(path)):
                _sign(number, folder, log)
                return Lock(path, number)
        except BaseException:
            os.close(number)
            raise
        os.close(number)  # its holder has just removed the file: the lock of a file that is gone keeps nobody out


def _sign(number: int, folder: Path, log: Callable[[str], None]) -> None:
    """Write into the file who holds the lock."""
    left, host = _owner(number), socket.gethostname()
    if left and not left.endswith(f" on {host}"):
        log(f"{folder}: {left} did not leave this folder in order; if it still runs there, stop one of the two")
    os.ftruncate(number, 0)
    os.pwrite(number, f"process {os.getpid()} on {host}\n".encode(), 0)


def _take(number: int, folder: Path, log: Callable[[str], None]) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(
            f"{folder}: {_owner(number) or 'another process'} works in this run folder; wait until it has ended, or "
            "stop it."
        ) from None
    except OSError as error:
        log(f"{folder}: cannot be locked ({error.strerror}); see to it that no other process works in it")


def _owner(number: int) -> str:
    return os.pread(number, 200, 0).decode("utf-8", "replace").strip()


def _let_go() -> None:
    """Close the files of the locks in a process that was forked, so that it keeps no lock when its parent is gone."""
    for number in _held:
        os.close(number)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)

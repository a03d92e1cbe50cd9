"""The lock of a run folder: one process at a time works in it, and a second one gets an error that names the first."""

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
    fcntl = None  # type: ignore[assignment]  # a module or None, which mypy cannot express for an import

NAME = ".lock"

_held: set[int] = set()
"""File descriptors of the locks that this process holds."""


class Lock:
    """A lock that this process holds.

    Args:
        path: of the lock file.
        number: file descriptor of the open file.
    """

    def __init__(self, path: Path, number: int):
        self._path, self._number = path, number
        _held.add(number)

    def release(self) -> None:
        """Release the lock and remove its file; in a process that was forked meanwhile, do nothing."""
        if self._number in _held:
            with suppress(OSError):  # the folder may be gone
                self._path.unlink()
            _held.discard(self._number)
            os.close(self._number)


def take(folder: Path, log: Callable[[str], None]) -> Lock:
    """Return the lock of a folder.

    The system releases a lock when its process ends, however it ends: a killed process leaves a file and no lock. The
    file names the process and the machine that hold it.

    Args:
        folder: an existing folder.
        log: prints a note where the file system has no locks, and on a file that a process of another machine left.

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
        os.close(number)  # its holder has just removed the file, so this lock protects nothing: try again


def _sign(number: int, folder: Path, log: Callable[[str], None]) -> None:
    """Write the holder of the lock into its file."""
    left, host = _owner(number), socket.gethostname()
    if left and not left.endswith(f" on {host}"):
        log(f"{folder}: {left} left its lock file behind; if it still runs there, stop one of the two")
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
        log(f"{folder}: cannot be locked ({error.strerror}); make sure that no other process works in it")


def _owner(number: int) -> str:
    return os.pread(number, 200, 0).decode("utf-8", "replace").strip()


def _close_after_fork() -> None:
    """Close the lock files in a forked process, so that it does not hold the locks after its parent has ended."""
    for number in _held:
        os.close(number)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_after_fork)

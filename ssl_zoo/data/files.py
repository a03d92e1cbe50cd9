"""Files of a user: only regular ones are read, and no larger ones than a modality allows."""

from __future__ import annotations

import os
import stat

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.source import Modality

_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket"}


MOST_SIZED = 100_000
"""Largest number of files of which the sizes are looked up: on a network disk, each takes about a millisecond."""


def size_of(path: str) -> int:
    """Return the size of a file in bytes, -1 where there is none."""
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def read_regular(path: str, modality: Modality) -> bytes:
    """Return the bytes of a file, or of the one that a link leads to.

    Args:
        path: of the file.
        modality: its `max_bytes` is the limit.

    Raises:
        BadSample: it cannot be read, is no regular file (a pipe would be waited for, a device may be endless), or is
            larger than allowed.
    """
    try:
        _check(os.stat(path), path, modality)  # before it is opened: that alone waits for a pipe, and may move a device
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())  # of what was opened, which may be another file by now
            _check(status, path, modality)
            return file.read(status.st_size)
    except OSError as error:
        raise BadSample(path, error.strerror or str(error)) from error


def check_size(size: int, name: str, modality: Modality) -> None:
    """Refuse an encoded sample that is larger than its modality allows.

    Args:
        size: in bytes.
        name: of the sample, for messages.
        modality: its `max_bytes` is the limit.

    Raises:
        BadSample: it is larger.
    """
    if size > modality.max_bytes:
        advice = f"; raise {modality.size_option}" if modality.size_option else ""
        sizes = f"{size / 2**20:.0f} MiB, more than the {modality.max_bytes / 2**20:.0f} MiB that are allowed"
        raise BadSample(name, sizes + advice)


def _check(status: os.stat_result, path: str, modality: Modality) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "a folder" if stat.S_ISDIR(status.st_mode) else "something else")
        raise BadSample(path, f"{kind}, not a regular file")
    check_size(status.st_size, path, modality)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))

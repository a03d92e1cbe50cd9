"""Parts of remote files on this machine's disk: a folder of a bounded size, which all processes share."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # a module or None, which mypy cannot express for an import

LOCKS = 64
"""Files that processes lock, so that no two fetch the same part at once."""

SLACK = 32
"""The folder is looked at again after this part of its size was written."""


def default_folder(name: str) -> Path:
    """Return a folder in the user's cache: below `XDG_CACHE_HOME`, or `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ssl_zoo" / name


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees all of it or none.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    number, partial = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with open(number, "wb") as file:
            file.write(data)
        os.replace(partial, path)
    except OSError:
        with suppress(FileNotFoundError):
            os.unlink(partial)
        raise


@dataclass
class BlockCache:
    """A cache of parts of files.

    Attributes:
        folder: where they lie.
        most: bytes that they may take; with several processes up to one part in 32 more for each.
    """

    folder: Path
    most: int
    _written: int | None = field(default=None, repr=False)

    def get(self, key: str, size: int, crc32: int, fetch: Callable[[], bytes]) -> bytes:
        """Return a part, from the folder or else from `fetch`.

        A part whose checksum is wrong is fetched again. A folder that cannot be written to is no error: what is
        fetched is returned all the same.

        Args:
            key: of the part.
            size: its bytes.
            crc32: their checksum.
            fetch: returns it, checked.
        """
        name = hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
        path = self.folder / name[:2] / name
        found = _read(path, size, crc32)
        if found is not None:
            return found
        if size > self.most:
            return fetch()
        with self._locked(int(name[:4], 16) % LOCKS):
            found = _read(path, size, crc32)  # another process may have fetched it meanwhile
            if found is None:
                found = fetch()
                with suppress(OSError):  # a full disk
                    self._write(path, found)
        return found

    @contextmanager
    def _locked(self, number: int) -> Iterator[None]:
        file = None
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            if fcntl is not None:
                file = open(self.folder / f"lock-{number:02d}", "ab")
                fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            if file is not None:
                file.close()

    def _write(self, path: Path, data: bytes) -> None:
        if self._written is None or self._written + len(data) > self.most // SLACK:
            self._make_room(len(data))
            self._written = 0
        write_whole(path, data)
        self._written += len(data)

    def _make_room(self, needed: int) -> None:
        """Remove the parts that were not read for the longest time, until there is room."""
        found = []
        for folder in self.folder.iterdir():
            with suppress(OSError):
                for entry in os.scandir(folder) if folder.is_dir() else ():
                    status = entry.stat()
                    found.append((max(status.st_atime, status.st_mtime), status.st_size, entry.path))
        used = sum(size for _, size, _ in found) + max(needed, self.most // SLACK)
        for _, size, path in sorted(found):
            if used <= self.most:
                return
            with suppress(OSError):
                os.unlink(path)
            used -= size


def _read(path: Path, size: int, crc32: int) -> bytes | None:
    try:
        data = path.read_bytes()
        if len(data) == size and zlib.crc32(data) == crc32:
            os.utime(path)
            return data
    except OSError:
        pass
    return None

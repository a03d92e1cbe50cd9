"""Files of a folder on this machine, or behind an address (`https://`, `s3://`, `gs://`), read by ranges of bytes."""

from __future__ import annotations

import os
import re
import stat
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import urlsplit, urlunsplit

from ssl_zoo.data.block_cache import BlockCache
from ssl_zoo.errors import UserError

_ADDRESS = re.compile(r"[a-z][a-z0-9+.:-]*://.+", re.IGNORECASE)

FIRST_WAIT = 0.2
"""Seconds before a request is made again; they double with each."""


class Unreadable(ValueError):
    """A file, or a part of it, that cannot be read or is not what it should be: the reason in a few words."""


class Missing(Unreadable):
    """A file that is not there."""


def is_address(text: str) -> bool:
    """Return whether a text is an address rather than a path: `https://host/shards`, `s3://bucket/shards`."""
    return _ADDRESS.fullmatch(text) is not None


class Storage(Protocol):
    """A folder of files that are read by ranges of bytes; it pickles, and each process opens what it needs."""

    @property
    def where(self) -> str:
        """Where it is, for messages, without passwords."""

    @property
    def folder(self) -> Path | None:
        """The folder, where it is on this machine."""

    def read(self, name: str, start: int, size: int, crc32: int) -> bytes:
        """Return `size` bytes of a file from `start` on.

        Raises:
            Unreadable: there are none, or they have another checksum.
        """

    def whole(self, name: str, most: int) -> bytes:
        """Return a whole file of at most `most` bytes.

        Raises:
            Unreadable: it is larger, or cannot be read.
        """

    def size(self, name: str) -> int | None:
        """Return the bytes of a file, -1 for one that is not there; None where asking takes long."""


def open_storage(
    path: str, cache: BlockCache | None, timeout: float, retries: int, options: Mapping[str, Any]
) -> Storage:
    """Return the files of a folder or behind an address.

    Args:
        path: of the folder, or its address.
        cache: on this machine's disk, for what is read from an address.
        timeout: seconds that one answer may take.
        retries: how often a request that failed is made again.
        options: of fsspec's file system, such as `{anon: true}`.

    Raises:
        UserError: a kind of address that is not known, or that needs a package.
    """
    if not is_address(path):
        return LocalFolder(str(Path(path).expanduser()))
    return RemoteFolder(path.rstrip("/"), cache, timeout, retries, dict(options))


@dataclass(frozen=True)
class LocalFolder:
    """A folder on this machine."""

    where: str

    @property
    def folder(self) -> Path:
        """See `Storage`."""
        return Path(self.where)

    def read(self, name: str, start: int, size: int, crc32: int) -> bytes:
        """See `Storage`."""
        try:
            with self._opened(name) as file:
                file.seek(start)
                data = file.read(size)
        except OSError as error:
            raise _unreadable(error) from error
        return _checked(data, size, crc32)

    def _opened(self, name: str) -> BinaryIO:
        """Open a regular file: a pipe would be waited for."""
        path = os.path.join(self.where, name)
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise Unreadable("it is no regular file")
        return open(path, "rb")

    def whole(self, name: str, most: int) -> bytes:
        """See `Storage`."""
        try:
            with self._opened(name) as file:
                data = file.read(most + 1)
        except OSError as error:
            raise _unreadable(error) from error
        return _at_most(data, most)

    def size(self, name: str) -> int | None:
        """See `Storage`."""
        try:
            return os.stat(os.path.join(self.where, name)).st_size
        except OSError:
            return -1


@dataclass
class RemoteFolder:
    """Files behind an address, through fsspec."""

    address: str
    cache: BlockCache | None
    timeout: float
    retries: int
    options: dict[str, Any]
    folder: None = None
    _opened: tuple[int, Any, str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if "::" in self.address:
            raise UserError(f"{self.where}: chains of file systems (`::`) are not read; give the address itself.")
        self._open()  # what is missing is said before anything is read

    @property
    def where(self) -> str:
        """The address without a user's name and password."""
        parts = urlsplit(self.address)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def _open(self) -> tuple[Any, str]:
        """Return the file system of this process, and the path in it: a forked one must not use its parent's."""
        if self._opened is None or self._opened[0] != os.getpid():
            import fsspec

            scheme = self.address.partition("://")[0]
            try:
                system, root = fsspec.core.url_to_fs(self.address, **self.options)
            except ImportError as error:
                reason = " ".join(str(error).split()).rstrip(".")
                extra = "; pip install 'ssl_zoo[http]'" if scheme.lower() in ("http", "https") else ""
                raise UserError(f"{scheme}:// needs a package that is not installed: {reason}{extra}.") from None
            except Exception as error:  # an unknown scheme, options that it does not take, no credentials, ...
                raise UserError(f"{self.where}: cannot be opened: {_reason(error)}.") from None
            self._opened = os.getpid(), system, root
        return self._opened[1:]

    def read(self, name: str, start: int, size: int, crc32: int) -> bytes:
        """See `Storage`."""

        def fetch() -> bytes:
            return self._again(lambda: _checked(self._get(name, start, start + size), size, crc32))

        if self.cache is None:
            return fetch()
        return self.cache.get(f"{self.address}/{name}?{start}+{size}", size, crc32, fetch)

    def whole(self, name: str, most: int) -> bytes:
        """See `Storage`."""
        return _at_most(self._again(lambda: self._get(name, 0, most + 1)), most)

    def size(self, name: str) -> int | None:
        """See `Storage`."""
        return None

    def _again(self, fetch: Callable[[], bytes]) -> bytes:
        for trial in range(self.retries + 1):
            try:
                return fetch()
            except Missing:
                raise
            except Unreadable:
                if trial == self.retries:
                    raise
            time.sleep(FIRST_WAIT * 2**trial)
        raise AssertionError("unreachable")

    def _get(self, name: str, start: int, stop: int) -> bytes:
        system, root = self._open()
        path = f"{root}/{name}"
        try:
            if getattr(system, "async_impl", False):
                from fsspec.asyn import sync

                data = sync(system.loop, system._cat_file, path, start=start, end=stop, timeout=self.timeout)
            else:
                data = system.cat_file(path, start=start, end=stop)
        except FileNotFoundError as error:
            raise Missing("it is not there") from error
        except Exception as error:  # each file system has its own
            raise Unreadable(_reason(error)) from error
        if len(data) > stop - start:
            raise Missing("the server does not serve parts of files (HTTP range requests)")
        return bytes(data)


def _unreadable(error: OSError) -> Unreadable:
    kind = Missing if isinstance(error, FileNotFoundError) else Unreadable
    return kind("it is not there" if kind is Missing else error.strerror or str(error))


def _checked(data: bytes, size: int, crc32: int) -> bytes:
    if len(data) < size:
        raise Unreadable(f"the file is cut short: {len(data)} bytes where there should be {size}")
    if zlib.crc32(data) != crc32:
        raise Unreadable("its checksum is wrong")
    return data


def _at_most(data: bytes, most: int) -> bytes:
    if len(data) > most:
        raise Unreadable(f"it is larger than {most} bytes")
    return data


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return "no answer in time"
    text = " ".join(str(error).split()).rstrip(".")[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

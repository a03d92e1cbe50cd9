"""Indices of tar archives, kept: where the samples of an archive lie, so that its headers are read once.

The index of an archive lies in the user's cache, or beside the archive. It is taken as long as the archive has the same
size and time of its last change, and the modality the same endings of files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from ssl_zoo.data.block_cache import default_folder, write_whole
from ssl_zoo.data.layout.shards import Shard, index

Keep = Literal["cache", "beside", "none"]

KEPT_FROM = 1000
"""Fewest samples of an archive whose index is kept: it takes a hundredth of a second to read their headers."""

MOST_BYTES = 2**30
VERSION = 1


def kept_index(path: Path, extensions: Collection[str], keep: Keep = "cache") -> Shard:
    """Return the samples of an archive, from its index where there is one, which is else made and kept.

    Args:
        path: of the archive.
        extensions: of files that are samples.
        keep: where indices are; `none` reads the archive.

    Raises:
        UserError: see `index`.
    """
    place = None if keep == "none" else _place(path, extensions, keep)
    state = _state(path, extensions)
    if place is None or state is None:
        return index(path, extensions)
    found = _read(place, path, state)
    if found is None:
        found = index(path, extensions)
        if len(found.names) >= KEPT_FROM:
            with suppress(OSError):  # a disk that is full or read-only: it is read again the next time
                _write(place, found, state)
    return found


def _place(path: Path, extensions: Collection[str], keep: Keep) -> Path:
    kind = hashlib.blake2b(" ".join(sorted(extensions)).encode(), digest_size=4).hexdigest()
    if keep == "beside":
        return path.with_name(f".{path.name}.{kind}.index.json")
    whole = hashlib.blake2b(str(path.absolute()).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
    return default_folder("tar") / f"{whole}.{kind}.json"


def _state(path: Path, extensions: Collection[str]) -> dict[str, Any] | None:
    """Return what an index is of; None where there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return {"version": VERSION, "bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "of": sorted(extensions)}


def _write(place: Path, found: Shard, state: dict[str, Any]) -> None:
    values = {key: value for key, value in asdict(found).items() if key != "path"}
    text = json.dumps({"state": state, **values}, ensure_ascii=True)  # names may hold bytes that are no UTF-8
    write_whole(place, text.encode())


def _read(place: Path, path: Path, state: dict[str, Any]) -> Shard | None:
    """Return an index, or None where there is none, it is of another archive, or damaged."""
    try:
        if place.stat().st_size > MOST_BYTES:
            return None
        found = json.loads(place.read_bytes())
        if found.pop("state") != state:
            return None
        shard = Shard(path, **found)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return shard if _is_sound(shard, state["bytes"]) else None


def _is_sound(shard: Shard, nbytes: int) -> bool:
    lists = shard.names, shard.offsets, shard.sizes, shard.labels
    if not all(isinstance(each, list) and len(each) == len(shard.names) for each in lists):
        return False
    if not all(isinstance(name, str) for name in shard.names) or shard.size != nbytes:
        return False
    numbers = [*shard.offsets, *shard.sizes, shard.others]
    return all(type(each) is int and 0 <= each < 2**62 for each in numbers) and type(shard.cut) is bool

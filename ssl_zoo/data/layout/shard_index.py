"""The index of a folder of shards: `shards.json`, which says what lies where, and none of which is trusted.

It has for each split its number of samples, its file of labels, and its shards; for each shard its size in bytes, its
SHA-256, its rows and its row groups; and for each row group its rows, where it begins, its bytes and their CRC-32.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssl_zoo.errors import UserError

NAME = "shards.json"
FORMAT = "ssl_zoo shards"
VERSION = 1

MOST_BYTES = 2**30
"""Largest index that is read: one of about 20 million row groups."""

MOST_ROWS = 100_000
"""Largest number of rows of a row group."""

ROWS_PER_BYTE = 64
"""Most rows for a byte of a row group: equal samples may be compressed a lot, but not without end."""

KINDS = ("bytes", "array", "string", "strings")
"""What samples are stored as: the bytes of a file, a tensor as those of a `.npy` file, a string, a list of strings."""

FILES = ("bytes", "array")
"""The kinds that are a struct of `bytes` and `path`."""

MEMBERS = "members"
"""The kind of samples that are mappings: each member has a column of one of `KINDS`."""

NAMES = "name"
"""The column of names, where they are not the paths of the one column of samples."""

_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_MOST = 2**62
"""Largest number of bytes, so that sums of two fit in 64 bits."""


def is_sharded(path: Path) -> bool:
    """Return whether a path is a folder of shards, by its index."""
    return (path / NAME).is_file()


@dataclass(frozen=True, eq=False)
class ShardTable:
    """The shards of a split, and their row groups.

    Attributes:
        files: names of the shards.
        nbytes: `(S,)` int64, the size of each file.
        footers: `(S, 2)` int64, where the description at the end of each begins, and its CRC-32.
        shard: `(G,)` int64, the shard of each row group.
        number: `(G,)` int64, which of its row groups it is.
        rows: `(G,)` int64, its samples.
        ranges: `(G, 2)` int64, where it begins in the file, and its bytes.
        crc32: `(G,)` int64, of these bytes.
    """

    files: tuple[str, ...]
    nbytes: np.ndarray
    footers: np.ndarray
    shard: np.ndarray
    number: np.ndarray
    rows: np.ndarray
    ranges: np.ndarray
    crc32: np.ndarray

    def fingerprint(self, labels: int | None) -> str:
        """Return a digest of the contents of all samples and their labels, wherever the files lie."""
        into = hashlib.sha256(str(labels).encode())
        for values in (self.rows, self.ranges[:, 1], self.crc32):
            into.update(np.ascontiguousarray(values, "<i8").tobytes())
        return into.hexdigest()


@dataclass(frozen=True)
class SplitIndex:
    """What the index says of a split.

    Attributes:
        samples: their number.
        labels: the file of the labels, and its CRC-32; None without labels.
        table: the shards.
    """

    samples: int
    labels: tuple[str, int] | None
    table: ShardTable


@dataclass(frozen=True)
class ShardIndex:
    """An index.

    Attributes:
        modality: of the samples; empty where they are mappings.
        columns: of the samples in the shards, {column: what they are stored as, one of `KINDS`}; of mappings, one for
            each member, by its name.
        members: of samples that are mappings, {member: modality}; else None.
        classes: names of the labels, or None.
        splits: `{name: its index}`, `train` first.
        left_out: number of samples of the source that could not be read.
    """

    modality: str
    columns: Mapping[str, str]
    members: Mapping[str, str] | None
    classes: tuple[str, ...] | None
    splits: Mapping[str, SplitIndex]
    left_out: int


class _Lie(ValueError):
    """A value that the index cannot have."""


def parse_index(data: bytes, where: str) -> ShardIndex:
    """Return an index.

    Args:
        data: of the file.
        where: it lies, for messages.

    Raises:
        UserError: it is no index of this version, or says what cannot be.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: is no JSON ({error}); copy it anew.") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise UserError(f"{where}: is no index of shards, which `ssl-zoo data shard` writes.")
    if found.get("version") != VERSION:
        raise UserError(
            f"{where}: is of version {str(found.get('version'))[:20]}, and this version of ssl_zoo reads {VERSION}; "
            "write the shards anew by `ssl-zoo data shard`."
        )
    try:
        return _index(found)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{where}: is damaged: {reason}; copy it anew, or write the shards anew.") from None


def _index(found: Mapping[str, Any]) -> ShardIndex:
    classes = found["classes"]
    if classes is not None:
        classes = tuple(_is(name, str, "a class") for name in _is(classes, list, "classes"))
    splits = {_is(name, str, "a split"): _split(name, of) for name, of in _is(found["splits"], dict, "splits").items()}
    if "train" not in splits:
        raise _Lie("it has no split train")
    left_out = _whole(found["left_out"], "left_out", 0, _MOST)
    if found["kind"] == MEMBERS:
        each = _is(found["members"], dict, "members")
        kinds = {_is(member, str, "a member"): _kind(of["kind"]) for member, of in each.items()}
        members = {member: _is(of["modality"], str, "modality") for member, of in each.items()}
        if not members:
            raise _Lie("it has no members")
        return ShardIndex("", kinds, members, classes, splits, left_out)
    modality, column = (_is(found[key], str, key) for key in ("modality", "column"))
    return ShardIndex(modality, {column: _kind(found["kind"])}, None, classes, splits, left_out)


def _kind(kind: Any) -> str:
    if kind not in KINDS:
        raise _Lie(f"its samples are stored as {str(kind)[:20]!r}")
    return str(kind)


def _split(name: str, of: Mapping[str, Any]) -> SplitIndex:
    shards = _is(of["shards"], list, "shards")
    files, nbytes, footers = [], [], []
    groups: list[list[int]] = []
    for number, shard in enumerate(shards):
        files.append(_file(shard["file"]))
        nbytes.append(_whole(shard["bytes"], "bytes", 12, _MOST))
        rows, before = 0, len(groups)
        end = 0
        for place, group in enumerate(_is(shard["groups"], list, "groups")):
            num, start, size, crc = group
            _whole(num, "rows of a row group", 1, MOST_ROWS)
            _whole(size, "bytes of a row group", 1, nbytes[-1])
            _whole(start, "the place of a row group", end, nbytes[-1] - size)
            if num > size * ROWS_PER_BYTE:
                raise _Lie(f"{files[-1]} holds {num} rows in {size} bytes")
            groups.append([number, place, num, start, size, _whole(crc, "crc32", 0, 2**32 - 1)])
            rows, end = rows + num, start + size
        if len(groups) == before or rows != shard["rows"]:
            raise _Lie(f"{files[-1]} has {shard['rows']} rows, and {rows} in its row groups")
        footers.append([end, _whole(shard["footer_crc32"], "crc32", 0, 2**32 - 1)])
    array = np.array(groups, np.int64).reshape(-1, 6)
    samples = _whole(of["samples"], "samples", 1, _MOST)
    if samples != int(array[:, 2].sum()):
        raise _Lie(f"the split {name[:20]} has {samples} samples, and {int(array[:, 2].sum())} in its shards")
    if len(set(files)) < len(files):
        raise _Lie("a shard comes twice")
    labels = of["labels"]
    if labels is not None:
        labels = _file(labels["file"]), _whole(labels["crc32"], "crc32", 0, 2**32 - 1)
    columns = array[:, 0], array[:, 1], array[:, 2], array[:, 3:5], array[:, 5]
    table = ShardTable(tuple(files), np.array(nbytes, np.int64), np.array(footers, np.int64).reshape(-1, 2), *columns)
    return SplitIndex(samples, labels, table)


def _whole(value: Any, what: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _Lie(f"{what} is {str(value)[:40]}, not a whole number from {least} to {most}")
    return value


def _is(value: Any, kind: type, what: str) -> Any:
    if not isinstance(value, kind):
        raise _Lie(f"{what} is a {type(value).__name__}, not a {kind.__name__}")
    return value


def _file(name: Any) -> str:
    if not isinstance(name, str) or not _FILE.fullmatch(name):
        raise _Lie(f"{str(name)[:40]!r} is no name of a file beside it")
    return name


def index_text(
    *,
    modality: str,
    columns: Mapping[str, str],
    members: Mapping[str, str] | None,
    classes: Sequence[str] | None,
    splits: Mapping[str, Any],
    left_out: int,
    written: Mapping[str, Any],
) -> str:
    """Return the text of an index, a line for each shard.

    Args:
        modality: of the samples.
        columns: of the samples, see `ShardIndex`.
        members: of samples that are mappings, see `ShardIndex`.
        classes: names of the labels, or None.
        splits: `{name: {"samples", "labels", "shards"}}`, as the index has them.
        left_out: number of samples of the source that could not be read.
        written: how and of what: options and the identity of the source, for people; nothing depends on it.
    """
    head = {
        "format": FORMAT, "version": VERSION, **_stored(modality, columns, members),
        "classes": None if classes is None else list(classes), "left_out": left_out, "written": dict(written),
    }  # fmt: skip
    dump: Callable[[Any], str] = json.dumps
    parts = []
    for name, of in splits.items():
        shards = ",\n  ".join(map(dump, of["shards"]))
        rest = dump({key: value for key, value in of.items() if key != "shards"})[1:-1]
        parts.append(f'{dump(name)}: {{{rest}, "shards": [\n  {shards}\n ]}}')
    return f'{dump(head)[:-1]},\n "splits": {{\n {",".join(parts)}\n}}}}\n'


def _stored(modality: str, columns: Mapping[str, str], members: Mapping[str, str] | None) -> dict[str, Any]:
    if members is None:
        ((column, kind),) = columns.items()
        return {"modality": modality, "column": column, "kind": kind}
    each = {member: {"modality": of, "kind": columns[member]} for member, of in members.items()}
    return {"kind": MEMBERS, "members": each}

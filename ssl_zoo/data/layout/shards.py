"""Tar archives of samples: which there are, and where in them the samples lie."""

from __future__ import annotations

import itertools
import json
import math
import re
import tarfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssl_zoo.data.layout.left_out import set_aside
from ssl_zoo.errors import UserError, shown_name

MOST_SHARDS = 100_000
"""Largest number of archives that braces may stand for."""

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})")
_LABEL_BYTES = 2**16
"""Largest file of a label that is read."""


def has_braces(text: str) -> bool:
    """Return whether a path stands for several: `train-{000..009}.tar`, `{a,b}.tar`."""
    return any(_RANGE.fullmatch(inner) or "," in inner for inner in _BRACES.findall(text))


def expand(text: str) -> list[str]:
    """Return the paths that braces stand for, in their order; numbers keep their leading zeros.

    Raises:
        UserError: more than `MOST_SHARDS`.
    """
    pieces: list[list[str]] = []
    end = 0
    for match in _BRACES.finditer(text):
        pieces.append([text[end : match.start()]])
        pieces.append(_choices(match[1], match[0], text))
        end = match.end()
    pieces.append([text[end:]])
    if math.prod(map(len, pieces)) > MOST_SHARDS:
        raise UserError(f"{text}: its braces stand for more than {MOST_SHARDS} files.")
    return ["".join(each) for each in itertools.product(*pieces)]


def _choices(inner: str, whole: str, text: str) -> list[str]:
    numbers = _RANGE.fullmatch(inner)
    if numbers is None:
        return inner.split(",") if "," in inner else [whole]
    first, last = int(numbers[1]), int(numbers[2])
    if last - first >= MOST_SHARDS:
        raise UserError(f"{text}: its braces stand for more than {MOST_SHARDS} files.")
    width = len(numbers[1])
    if last < first:
        raise UserError(f"{text}: the braces {whole} count backwards; write {{FIRST..LAST}}.")
    return [f"{number:0{width}d}" for number in range(first, last + 1)]


@dataclass
class Shard:
    """The samples in an archive, in their order there.

    Attributes:
        path: of the archive.
        names: of the files of the samples, as paths below the archive.
        offsets: where each begins.
        sizes: of each, in bytes.
        labels: of each, as written; None for none.
        size: of the archive, in bytes.
        cut: whether it ends before its last file does, or without its end mark in the middle of a header.
        others: files that belong to no sample, or are a second one of a sample.
    """

    path: Path
    names: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    size: int = 0
    cut: bool = False
    others: int = 0


@dataclass
class _Group:
    """The files of one name but for the ending."""

    sample: tarfile.TarInfo | None = None
    label: Any = None


def index(path: Path, extensions: Collection[str]) -> Shard:
    """Return the samples of an archive; only headers and labels are read.

    Raises:
        UserError: it does not exist, is compressed, or is no tar archive.
    """
    try:
        shard = Shard(path, size=path.stat().st_size)
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            groups = _groups(archive, shard, extensions)
    except tarfile.ReadError as error:
        advice = "; unpack it by gunzip or the like" if _is_compressed(path) else ""
        raise UserError(f"{path} cannot be read as a tar archive without compression ({error}){advice}.") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}.") from None
    for group in groups:
        if group.sample is None:
            continue
        shard.names.append(group.sample.name)
        shard.offsets.append(group.sample.offset_data)
        shard.sizes.append(group.sample.size)
        shard.labels.append(group.label)
    return shard


def _groups(archive: tarfile.TarFile, shard: Shard, extensions: Collection[str]) -> Collection[_Group]:
    groups: dict[str, _Group] = {}
    for member in _members(archive, shard):
        folder, _, name = member.name.removeprefix("./").rpartition("/")
        member.name = f"{folder}/{name}" if folder else name
        stem, dot, ending = name.partition(".")
        if set_aside(name) or any(set_aside(part) for part in folder.split("/") if part):
            continue
        whole = member.offset_data + member.size <= shard.size
        last = f".{ending.rpartition('.')[2]}".lower() if dot else ""
        if last in extensions:
            group = groups.setdefault(f"{folder}/{stem}", _Group())
            if group.sample is not None and group.sample.name != member.name:
                shard.others += 1
            else:
                group.sample = member
        elif last in (".cls", ".json") and whole and member.size <= _LABEL_BYTES:
            label = _label(archive, member, last)
            if label is not None:
                groups.setdefault(f"{folder}/{stem}", _Group()).label = label
        else:
            shard.others += 1
    return groups.values()


def _members(archive: tarfile.TarFile, shard: Shard) -> Iterator[tarfile.TarInfo]:
    """Yield the regular files of an archive, the last one too where the archive is cut in it."""
    while True:
        try:
            member = archive.next()
        except tarfile.ReadError:  # it ends in a file or in a header
            shard.cut = True
            return
        if member is None:  # at the end mark, or where the archive ends in a header
            shard.cut = archive.offset + tarfile.BLOCKSIZE > shard.size
            return
        setattr(archive, "members", [])  # noqa: B010 - it would keep all of them, and has no type
        if member.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
            if member.offset_data + member.size > shard.size:
                shard.cut = True
            yield member


def _label(archive: tarfile.TarFile, member: tarfile.TarInfo, ending: str) -> Any:
    """Return the label in a small file: its text, or the value of `label` in JSON; None for none."""
    opened = archive.extractfile(member)
    if opened is None:
        return None
    text = opened.read().decode("utf-8", "replace").strip()
    if ending == ".cls":
        return text or None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    label = found.get("label") if isinstance(found, dict) else None
    return str(label) if isinstance(label, (int, str)) and not isinstance(label, bool) else None


def _is_compressed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(6).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"))


def notes_on(shards: list[Shard]) -> Iterator[str]:
    """Yield a sentence on archives that are cut short, and on files that are not used."""
    cut = [shard.path for shard in shards if shard.cut]
    if cut:
        more = f" and {len(cut) - 3} more" if len(cut) > 3 else ""
        yield f"cut short, so that what came after is missing: {', '.join(map(str, cut[:3]))}{more}."
    others = sum(shard.others for shard in shards)
    if others:
        yield f"{shown_name(str(shards[0].path))} and others: {others} files are not used, as they are no samples."

"""Shards that `ssl-zoo data shard` wrote: data larger than the machine, on a disk or behind an address."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ssl_zoo.data.block_cache import BlockCache, default_folder
from ssl_zoo.data.blocks import HELD, STREAMS, Blocks
from ssl_zoo.data.layout.shard_file import is_named
from ssl_zoo.data.layout.shard_index import MOST_BYTES, NAME, ShardIndex, SplitIndex, is_sharded, parse_index
from ssl_zoo.data.paired import PairedModality
from ssl_zoo.data.shard_split import ShardSplit
from ssl_zoo.data.source import Modality
from ssl_zoo.data.storage import Storage, Unreadable, is_address, open_storage
from ssl_zoo.errors import UserError
from ssl_zoo.registry import register

MOST_LABELS = 2**34
"""Bytes of the largest file of labels: of two thousand million samples."""


@register("source", "shards")
class Shards:
    """Shards that `ssl-zoo data shard` wrote, in a folder or behind an address: `https://`, `s3://`, `gs://`.

    Row groups are read in an order that depends on the seed and the epoch alone, each by one of k processes; a few are
    held at a time, and samples are mixed among these. What has a wrong checksum or is not there is a bad sample for
    each of its rows.

    Args:
        modality: of the samples. Of mappings, such as images with texts, the modality of one member reads it alone.
        path: the folder, or the address of it.
        streams: parts of an epoch that are read side by side, each for its part of a batch; a multiple of the number of
            processes, so that each row group is read by one of them.
        held: row groups of a stream over which samples are mixed.
        cache: folder on this machine for what is read from an address; `auto` is one in the user's cache, null none.
        cache_gib: GiB that this folder may take.
        timeout: seconds to wait for an answer of a server.
        retries: how often a request that failed is made again, after waiting longer each time.
        storage: options of fsspec's file system, such as `{anon: true}`; keep passwords out of recipes.

    Attributes:
        notes: sentences about what reading holds in memory, and about files that are missing.

    Raises:
        UserError: no such folder, no index in it or a damaged one, samples of another modality, or an address of a kind
            that needs a package.
    """

    gives_members = None
    places = ("path", "cache", "cache_gib", "timeout", "retries", "storage")

    def __init__(
        self,
        modality: Modality,
        *,
        path: str,
        streams: Annotated[int, Field(ge=1, le=65536)] = STREAMS,
        held: Annotated[int, Field(ge=1, le=65536)] = HELD,
        cache: str | None = "auto",
        cache_gib: Annotated[float, Field(gt=0)] = 20.0,
        timeout: Annotated[float, Field(gt=0)] = 60.0,
        retries: Annotated[int, Field(ge=0, le=20)] = 4,
        storage: dict[str, Any] = {},  # noqa: B006 - an option's default, never mutated
    ) -> None:
        self._modality = modality
        folder = None
        if cache is not None:
            place = default_folder("shards") if cache == "auto" else Path(cache).expanduser()
            folder = BlockCache(place, int(cache_gib * 2**30))
        self._storage = open_storage(path, folder, timeout, retries, storage)
        self._index = _read_index(self._storage)
        self._columns = _columns(self._index, modality, self._storage.where)
        self._streams, self._held = streams, held
        self.splits = tuple(self._index.splits)
        self._opened = {name: self._open(name) for name in self.splits}
        self.notes = tuple(self._notes())

    @staticmethod
    def matches(path: Path, modality: object) -> bool:
        """Return whether `path` is a folder of shards, or an address."""
        return is_sharded(path)

    @staticmethod
    def takes_address(text: str) -> bool:
        """Return whether a text is an address."""
        return is_address(text)

    def split(self, name: str) -> ShardSplit:
        """Return the split of that name; its samples are read when they are needed."""
        return self._opened[name]

    def _open(self, name: str) -> ShardSplit:
        found = self._index.splits[name]
        blocks = Blocks(found.table.rows, self._streams, self._held)
        index, labels = self._index, _labels(self._storage, found, self._index)
        classes = None if labels is None or index.classes is None else list(index.classes)
        named = is_named(index.columns, index.members is not None)
        return ShardSplit(self._storage, self._columns, found, named, blocks, labels, classes, self._modality)

    def _notes(self) -> Iterator[str]:
        where = self._storage.where
        for name, split in self._opened.items():
            table = self._index.splits[name].table
            held = split.blocks.most_held() if split.blocks is not None else 0
            size = int(np.sort(table.ranges[:, 1])[-held:].sum())
            yield (
                f"{name}: {len(table.files)} shards of {len(table.rows)} row groups; a process that reads them holds "
                f"up to {min(held, len(table.rows))}, about {max(1, round(size / 2**20))} MiB."
            )
        if self._index.left_out:
            yield f"{where}: {self._index.left_out} samples of the source could not be read and are in no shard."
        for name, split in self._opened.items():
            faults = split.faults()
            for first in list(faults)[:1]:
                num = f"{len(faults)} of the {len(self._index.splits[name].table.files)}"
                yield f"{where}: {num} shards of {name} cannot be read, for example {first}: {faults[first]}."


def _columns(index: ShardIndex, modality: Modality, where: str) -> dict[str, str]:
    """Return the columns to read for a modality, {column: its kind}.

    Raises:
        UserError: the shards hold no samples of it, or of several members.
    """
    known, wanted = index.members, modality.spec.modality
    if isinstance(modality, PairedModality):
        asked = {member: of.spec.modality for member, of in modality.members.items()}
        lacking = [member for member, of in asked.items() if (known or {}).get(member) != of]
        if lacking:
            raise UserError(
                f"{where}: holds {_described(index)}, and the views have the member {lacking[0]!r} of the modality "
                f"{asked[lacking[0]]!r}."
            )
        return {member: index.columns[member] for member in asked}
    if known is None:
        if index.modality == wanted:
            return dict(index.columns)
        raise UserError(
            f"{where}: its samples are of the modality {index.modality!r}, and the views are of {wanted!r}."
        )
    fitting = [member for member, of in known.items() if of == wanted]
    if len(fitting) != 1:
        raise UserError(
            f"{where}: holds {_described(index)}, and the views are of {wanted!r}; write views per member, or give "
            "views of a modality that one of them has."
        )
    return {fitting[0]: index.columns[fitting[0]]}


def _described(index: ShardIndex) -> str:
    if index.members is None:
        return f"samples of the modality {index.modality!r}"
    return "samples of " + " and ".join(f"{member} ({of})" for member, of in index.members.items())


def _read_index(storage: Storage) -> ShardIndex:
    try:
        return parse_index(storage.whole(NAME, MOST_BYTES), f"{storage.where}/{NAME}")
    except Unreadable as error:
        raise UserError(f"{storage.where}/{NAME}, the index of the shards, cannot be read: {error}.") from None


def _labels(storage: Storage, found: SplitIndex, index: ShardIndex) -> Tensor | None:
    """Return the labels of a split, `(N,)` int64; they are compared with their checksum.

    Raises:
        UserError: they cannot be read, or are none of these samples.
    """
    if found.labels is None:
        return None
    name, crc32 = found.labels
    try:
        labels = _read_labels(storage, name, crc32, found.samples)
    except (Unreadable, OSError, ValueError, EOFError) as error:
        raise UserError(f"{storage.where}/{name}, the labels of the samples, cannot be read: {error}.") from None
    most = len(index.classes) if index.classes is not None else 2**62
    if labels.dtype != np.int64 or labels.shape != (found.samples,) or labels.min() < -1 or labels.max() >= most:
        raise UserError(f"{storage.where}/{name}: is damaged: these are no labels of {found.samples} samples.")
    return torch.from_numpy(labels)


def _read_labels(storage: Storage, name: str, crc32: int, samples: int) -> Any:
    """Return an array of labels; on this machine it is mapped, so that processes share it."""
    if storage.folder is None:
        if 8 * samples > MOST_LABELS:
            raise Unreadable(f"{samples} are too many")
        return np.load(io.BytesIO(storage.read(name, 0, LABEL_HEADER + 8 * samples, crc32)), allow_pickle=False)
    path = storage.folder / name
    if zlib.crc32(np.memmap(path, np.uint8, "r").data) != crc32:
        raise Unreadable("its checksum is wrong")
    return np.load(path, mmap_mode="c", allow_pickle=False)


LABEL_HEADER = 128
"""Bytes before the numbers of a file of labels, as numpy writes it."""

"""The shards of one split, written one after the other; each is whole when it has its name."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ssl_zoo import rng
from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.layout.array_cell import pack
from ssl_zoo.data.layout.shard_file import Compression, ShardWriter, describe_shard, schema_of
from ssl_zoo.data.progress import progress
from ssl_zoo.data.source import Split
from ssl_zoo.errors import UserError
from ssl_zoo.runs.atomic import replacing, write_atomically

SHARD_BYTES = 256 * 2**20
"""Bytes of a shard, by default."""

GROUP_BYTES = 2 * 2**20
GROUP_ROWS = 1000
"""A row group ends at the first of these, by default; what a process holds is a few dozen of them."""

MOST_GROUP_BYTES = 2**30
"""A row group ends here, however many rows are asked for: arrow counts the bytes of one in 31 bits."""

LOG = ".done.json"
"""Ending of a file on a shard that is whole, as long as others are not."""


@dataclass(frozen=True)
class Layout:
    """How shards are written.

    Attributes:
        shards: their number in each split; None goes by `shard_bytes`.
        shard_bytes: a shard ends with the sample that reaches it.
        row_group: rows of a row group; None: `GROUP_ROWS` or `GROUP_BYTES`.
        compression: of the columns. Images, recordings and clips are compressed already; texts are not.
        seed: of the order in which samples are written; None keeps that of the source.
        on_error: `raise` stops at a sample that cannot be read, `skip` leaves it out and counts it.
    """

    shards: int | None = None
    shard_bytes: int = SHARD_BYTES
    row_group: int | None = None
    compression: Compression = "none"
    seed: int | None = 0
    on_error: Literal["raise", "skip"] = "raise"


def stored_as(sample: Any, source: str) -> str:
    """Return what a sample is stored as: `bytes`, `array`, `string` or `strings`.

    Raises:
        UserError: it is neither.
    """
    if isinstance(sample, bytes):
        return "bytes"
    if isinstance(sample, Tensor):
        return "array"
    if isinstance(sample, str):
        return "string"
    if isinstance(sample, list) and all(isinstance(each, str) for each in sample):
        return "strings"
    raise UserError(
        f"{source}: its samples are no files, texts or tensors but {type(sample).__name__}s, which shards do not hold; "
        "write them to a folder."
    )


class SplitShards:
    """The shards of a split, written one after the other.

    Args:
        part: the folder.
        name: of the split.
        split: the samples, as they are stored.
        columns: of the samples, {column: what they are stored as}.
        members: whether samples are mappings, with a column for each member.
        layout: how they are written.
    """

    def __init__(
        self, part: Path, name: str, split: Split, columns: Mapping[str, str], members: bool, layout: Layout
    ) -> None:
        self._part, self._name, self._split, self._layout = part, name, split, layout
        self._columns, self._members = columns, members
        self._order = written_order(split, layout.seed)
        classes = split.class_names
        self._schema = schema_of(columns, members, classes, split.labels is not None)
        self._place = 0

    def write(self) -> Iterator[dict[str, Any]]:
        """Yield what is known of each shard: `start` and `stop` in the order, `shard` for the index, and `left_out`."""
        bar = progress(range(len(self._order)), f"writing {self._name}", "samples")
        self._bar = iter(bar)
        number = 0
        while self._place < len(self._order):
            log = self._part / f"{self._name}-{number:05d}{LOG}"
            done = self._done(log)
            if done is None:
                done = self._write(number)
                write_atomically(log, json.dumps(done))
            else:
                for _ in range(done["stop"] - done["start"]):
                    next(self._bar, None)
            self._place = done["stop"]
            number += 1
            yield done
        next(self._bar, None)  # the end of the bar

    def _done(self, log: Path) -> dict[str, Any] | None:
        """Return what is known of a shard that was written before."""
        try:
            done: dict[str, Any] = json.loads(log.read_bytes())
            size = (self._part / done["shard"]["file"]).stat().st_size
            return done if size == done["shard"]["bytes"] and done["start"] == self._place else None
        except (OSError, ValueError, KeyError):
            return None

    def _write(self, number: int) -> dict[str, Any]:
        """Write a shard."""
        file, start = f"{self._name}-{number:05d}.parquet", self._place
        left_out: list[list[Any]] = []
        last = None
        if self._layout.shards is not None:
            num = min(self._layout.shards, len(self._order))
            last = (number + 1) * len(self._order) // num
        place = start
        with replacing(self._part / file) as opened:
            writer = ShardWriter(opened, self._schema, self._layout.compression)
            try:
                written = 0
                while place < len(self._order) and (place < last if last is not None else written < self._room):
                    place, size = self._write_group(writer, place, last, self._room - written, left_out)
                    written += size
            finally:
                writer.close()
        shard = {"file": file, **describe_shard(self._part / file)}
        return {"start": start, "stop": place, "shard": shard, "left_out": left_out}

    @property
    def _room(self) -> int:
        return self._layout.shard_bytes

    def _write_group(
        self, writer: ShardWriter, place: int, last: int | None, room: int, left_out: list[list[Any]]
    ) -> tuple[int, int]:
        """Write a row group from a place in the order on; return the place behind it, and its bytes."""
        rows = self._layout.row_group or GROUP_ROWS
        most = MOST_GROUP_BYTES if self._layout.row_group else GROUP_BYTES
        most = most if last is not None else min(most, room)
        samples: list[Any] = []
        chosen: list[int] = []
        size = 0
        while place < (len(self._order) if last is None else last) and len(samples) < rows and size < most:
            i = int(self._order[place])
            place += 1
            next(self._bar, None)
            try:
                sample = self._split.read(i)
            except BadSample as error:
                if self._layout.on_error == "raise":
                    raise
                left_out.append([i, error.name, error.reason])
                continue
            samples.append(self._values(sample, i))
            chosen.append(i)
            size += sum(map(_size, samples[-1].values()))
        if samples:
            labels = None if self._split.labels is None else self._split.labels[chosen].tolist()
            writer.add(samples, [self._named(i) for i in chosen], labels)
        return place, size

    def _values(self, sample: Any, i: int) -> dict[str, Any]:
        """Return {column: value} of a sample.

        Raises:
            UserError: it is stored in another way than the first samples, or cannot be.
        """
        values = dict(sample) if self._members else dict.fromkeys(self._columns, sample)
        for column, kind in self._columns.items():
            if stored_as(values[column], self._name) != kind:
                raise UserError(f"{self._split.name(i)}: is stored in another way than the first samples.")
            if kind == "array":
                values[column] = pack(values[column], self._split.name(i))
        return values

    def _named(self, i: int) -> str:
        return self._split.name(i) if self._split.names is None else self._split.names[i]

    def write_labels(self, done: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
        """Write the labels of the samples in their order; return the file and its checksum for the index."""
        labels: Tensor | None = self._split.labels
        if labels is None:
            return None
        gone = {each[0] for log in done for each in log["left_out"]}
        order = self._order if not gone else self._order[~np.isin(self._order, list(gone))]
        file = f"{self._name}labels.npy"  # by which `datasets` takes it for no part of a split
        with replacing(self._part / file) as opened:
            np.save(opened, labels[torch.from_numpy(order)].numpy().astype("<i8"), allow_pickle=False)
        return {"file": file, "crc32": zlib.crc32((self._part / file).read_bytes())}


def _size(value: Any) -> int:
    return len(value) if isinstance(value, (bytes, str)) else sum(map(len, value))


def written_order(split: Split, seed: int | None) -> np.ndarray:
    """Return the positions of all samples in the order in which they are written.

    Args:
        split: the samples. What lies together is read together.
        seed: of the order; None keeps that of the split.
    """
    if seed is None:
        return np.arange(len(split))
    if split.blocks is not None:
        blocks = replace(split.blocks, streams=1, held=split.blocks.most_held())
        order = blocks.order(seed, 0, 1)
        return torch.cat([order.batch(place) for place in range(len(split))]).numpy()
    return torch.randperm(len(split), generator=rng.generator(seed, "shard")).numpy()

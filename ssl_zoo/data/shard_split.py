"""Samples in shards, read by row groups of which the last ones are held."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import Tensor

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.blocks import Blocks
from ssl_zoo.data.layout.array_cell import unpack
from ssl_zoo.data.layout.parquet_cells import cell_of
from ssl_zoo.data.layout.shard_file import Rows, read_footer, read_rows
from ssl_zoo.data.layout.shard_index import SplitIndex
from ssl_zoo.data.paired import PairedModality
from ssl_zoo.data.source import Modality, Sample, Split
from ssl_zoo.data.storage import Storage, Unreadable
from ssl_zoo.distributed import collectives

FOOTERS = 64
"""Descriptions of shards that a process keeps."""


class ShardSplit(Split):
    """The samples of a split in shards.

    Args:
        storage: where the shards lie.
        columns: of the shards to read, {column: its kind}.
        found: what the index says of this split.
        named: whether the shards have a column of names.
        blocks: its row groups; as many are held as an order of them reads from at a time.
        labels: `(N,)` int64, or None.
        class_names: of the labels, or None.
        modality: of the samples; of mappings, with a column for each of its members.
    """

    def __init__(
        self,
        storage: Storage,
        columns: Mapping[str, str],
        found: SplitIndex,
        named: bool,
        blocks: Blocks,
        labels: Tensor | None,
        class_names: list[str] | None,
        modality: Modality,
    ) -> None:
        self._storage, self._table = storage, found.table
        self._columns, self._named = columns, named
        self._modality = modality
        self._ends = np.cumsum(found.table.rows)
        self.blocks = blocks
        self.labels = labels
        self.class_names = class_names
        self.fingerprint = found.table.fingerprint(None if found.labels is None else found.labels[1])
        self._groups: OrderedDict[int, Rows | str] = OrderedDict()
        self._footers: OrderedDict[int, Any] = OrderedDict()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_groups": OrderedDict(), "_footers": OrderedDict()}

    def read(self, i: int) -> Sample:
        """Return sample `i`, decoded."""
        stored, name = self._stored(i)
        if isinstance(self._modality, PairedModality):
            parts = self._modality.members.items()
            return {member: _decoded(stored[member], of, name, f"{member}: ") for member, of in parts}
        (value,) = stored.values()
        return _decoded(value, self._modality, name)

    def remarks(self, i: int) -> tuple[str, ...]:
        """Return notes on how sample `i` is understood."""
        stored, name = self._stored(i)
        if isinstance(self._modality, PairedModality):
            parts = [(f"{member}: ", of, stored[member]) for member, of in self._modality.members.items()]
        else:
            parts = [("", self._modality, value) for value in stored.values()]
        encoded = [part for part in parts if isinstance(part[2], bytes)]
        return tuple(f"{member}{remark}" for member, of, value in encoded for remark in of.remarks(value, name))

    def name(self, i: int) -> str:
        """Return the shard, and the name of the sample in its source; its row, where the shard cannot be read."""
        group, row = self._at(i)
        rows = self._rows(group)
        return self._number(group, row) if isinstance(rows, str) else self._name(group, row, rows)

    def faults(self) -> dict[str, str]:
        """Return `{shard: why it cannot be read}` of those on this machine's disks that are missing or cut short."""
        found = {}
        for file, nbytes in zip(self._table.files, self._table.nbytes.tolist(), strict=True):
            size = self._storage.size(file)
            if size == -1:
                found[file] = "it is not there"
            elif size is not None and size != nbytes:
                found[file] = f"it has {size} bytes, and should have {nbytes}"
        return found

    def unreadable(self) -> Mapping[str, str]:
        """Return the samples of shards that are missing or of another size, see `faults`."""
        faults = self.faults()
        found: dict[str, str] = {}
        shards = [number for number, file in enumerate(self._table.files) if file in faults]
        for group in np.flatnonzero(np.isin(self._table.shard, shards)).tolist() if shards else ():
            reason = faults[self._table.files[int(self._table.shard[group])]]
            found |= {self._number(group, row): reason for row in range(int(self._table.rows[group]))}
        return found

    def _at(self, i: int) -> tuple[int, int]:
        """Return the row group of sample `i`, and its row there."""
        i = range(len(self))[i]
        group = int(self._ends.searchsorted(i, side="right"))
        return group, i - int(self._ends[group]) + int(self._table.rows[group])

    def _stored(self, i: int) -> tuple[dict[str, Any], str]:
        """Return {column: value} of a sample, and its name; arrays are unpacked."""
        group, row = self._at(i)
        rows = self._rows(group)
        if isinstance(rows, str):
            raise BadSample(self._number(group, row), rows)
        name = self._name(group, row, rows)
        members = self._modality.members if isinstance(self._modality, PairedModality) else {}
        stored: dict[str, Any] = {}
        for column, kind in self._columns.items():
            with _said_of(f"{column}: " if members else "", name):
                value: Any = cell_of(rows.samples[column][row], name, members.get(column, self._modality))
                stored[column] = unpack(value, name) if kind == "array" else value
        return stored, name

    def _name(self, group: int, row: int, rows: Rows) -> str:
        try:
            name = rows.names[row].as_py()
        except UnicodeDecodeError:
            name = None
        return self._number(group, row) if name is None else f"{self._file(group)}/{name}"

    def _number(self, group: int, row: int) -> str:
        """Return the row of a sample in its shard, counted from 0."""
        shard = int(self._table.shard[group])
        first = int(self._table.rows[group - int(self._table.number[group]) : group].sum())
        return f"row {first + row} of {self._storage.where}/{self._table.files[shard]}"

    def _file(self, group: int) -> str:
        return f"{self._storage.where}/{self._table.files[int(self._table.shard[group])]}"

    def _rows(self, group: int) -> Rows | str:
        """Return a row group, or why it cannot be read."""
        known = self._groups.get(group)
        if known is None:
            try:
                known = self._load(group)
            except Unreadable as error:
                number = int(self._table.number[group])
                known = f"row group {number} of {self._table.files[int(self._table.shard[group])]}: {error}"
            most = self.blocks.most_held(collectives.num_processes()) if self.blocks is not None else 1
            while len(self._groups) >= most:
                self._groups.popitem(last=False)
            self._groups[group] = known
        self._groups.move_to_end(group)
        return known

    def _load(self, group: int) -> Rows:
        table, (start, size) = self._table, self._table.ranges[group].tolist()
        shard, number = int(table.shard[group]), int(table.number[group])
        footer = self._footer(shard)
        data = self._storage.read(table.files[shard], start, size, int(table.crc32[group]))
        return read_rows(data, start, int(table.rows[group]), number, footer, self._columns, self._named)

    def _footer(self, shard: int) -> Any:
        if shard not in self._footers:
            start, crc32 = self._table.footers[shard].tolist()
            data = self._storage.read(self._table.files[shard], start, int(self._table.nbytes[shard]) - start, crc32)
            groups = int((self._table.shard == shard).sum())
            while len(self._footers) >= FOOTERS:
                self._footers.popitem(last=False)
            self._footers[shard] = read_footer(data, groups)
        self._footers.move_to_end(shard)
        return self._footers[shard]


def _decoded(value: Any, modality: Modality, name: str, member: str = "") -> Sample:
    """Return a sample as a modality decodes it; an array is one already."""
    with _said_of(member, name):
        return value if isinstance(value, Tensor) else modality.from_value(value, name)


@contextmanager
def _said_of(member: str, name: str) -> Iterator[None]:
    """A context in which a reason why a sample cannot be read begins with its member."""
    try:
        yield
    except BadSample as error:
        raise BadSample(name, f"{member}{error.reason}") from error

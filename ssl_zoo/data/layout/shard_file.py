"""One shard: a parquet file with small row groups of samples as they were stored, in Hugging Face's layout.

A row group is read as one range of bytes, whose checksum is compared with the index, and then handed to arrow.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from ssl_zoo.data.layout.parquet_schema import short
from ssl_zoo.data.layout.shard_index import FILES, MOST_ROWS, NAMES
from ssl_zoo.data.storage import Unreadable

Compression = Literal["none", "zstd"]

MOST_UNPACKED = 2**31 - 2**20
"""Most bytes of the samples of a row group: arrow counts those of an array in 31 bits."""


def is_named(columns: Mapping[str, str], members: bool) -> bool:
    """Return whether a shard has the column `NAMES`: else the names are the paths of the one column of samples."""
    return members or not all(kind in FILES for kind in columns.values())


def schema_of(columns: Mapping[str, str], members: bool, classes: Sequence[str] | None, labelled: bool) -> Any:
    """Return arrow's schema of a shard.

    Args:
        columns: of the samples, {column: its kind}, see `ShardIndex`.
        members: whether samples are mappings.
        classes: names of the labels, which Hugging Face's `datasets` and the source `parquet` understand.
        labelled: whether there are labels.
    """
    import pyarrow as pa

    file = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    types = {**dict.fromkeys(FILES, file), "string": pa.string(), "strings": pa.list_(pa.string())}
    fields = [pa.field(column, types[kind]) for column, kind in columns.items()]
    if is_named(columns, members):
        fields.append(pa.field(NAMES, pa.string()))
    if labelled:
        fields.append(pa.field("label", pa.int64()))
    metadata = {}
    if labelled and classes is not None:
        features = {"label": {"names": list(classes), "_type": "ClassLabel"}}
        metadata["huggingface"] = json.dumps({"info": {"features": features}})
    return pa.schema(fields, metadata or None)


class ShardWriter:
    """Writes row groups into a new file.

    Args:
        file: opened for writing.
        schema: see `schema_of`.
        compression: of the columns.
    """

    def __init__(self, file: IO[bytes], schema: Any, compression: Compression) -> None:
        import pyarrow.parquet as pq

        self._schema = schema
        self._writer = pq.ParquetWriter(
            file, schema, compression=compression, use_dictionary=False, write_statistics=False
        )

    def add(self, samples: Sequence[Mapping[str, Any]], names: Sequence[str], labels: Sequence[int] | None) -> None:
        """Write a row group.

        Args:
            samples: {column: value} of each.
            names: of each.
            labels: of each, or None.
        """
        import pyarrow as pa

        shown = pa.array([name.encode("utf-8", "backslashreplace").decode() for name in names], pa.string())
        columns = []
        for field in self._schema:
            values = [sample.get(field.name) for sample in samples]
            if field.name not in samples[0]:
                columns.append(shown if field.type == pa.string() else pa.array(labels, pa.int64()))
            elif pa.types.is_struct(field.type):
                parts = [pa.array(values, pa.binary()), shown]
                columns.append(pa.StructArray.from_arrays(parts, fields=list(field.type)))
            else:
                columns.append(pa.array(values, field.type))
        self._writer.write_table(pa.table(columns, schema=self._schema), row_group_size=len(samples))

    def close(self) -> None:
        """Write the end of the file."""
        self._writer.close()


def describe_shard(path: Path) -> dict[str, Any]:
    """Return what the index says of a shard: its bytes, rows, checksums, and `[rows, start, bytes, CRC-32]` of groups.

    The file is read once, a row group at a time.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as opened:
        metadata = opened.metadata
    whole, groups, end = hashlib.sha256(), [], 0
    with path.open("rb") as file:
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            columns = [group.column(j) for j in range(group.num_columns)]
            start = min(each.data_page_offset for each in columns)
            stop = max(each.data_page_offset + each.total_compressed_size for each in columns)
            whole.update(file.read(start - end))
            data = file.read(stop - start)
            whole.update(data)
            groups.append([group.num_rows, start, stop - start, zlib.crc32(data)])
            end = stop
        footer = file.read()
        whole.update(footer)
        return {
            "bytes": file.tell(), "rows": metadata.num_rows, "sha256": whole.hexdigest(),
            "footer_crc32": zlib.crc32(footer), "groups": groups,
        }  # fmt: skip


class _Window:
    """A file of which only some bytes are at hand, for arrow to read."""

    closed = False

    def __init__(self, data: bytes, start: int, size: int) -> None:
        self._data, self._start, self._size, self._place = data, start, size, 0

    def size(self) -> int:
        return self._size

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = 0) -> int:
        self._place = offset + (0, self._place, self._size)[whence]
        return self._place

    def read(self, num: int = -1) -> bytes:
        first = self._place - self._start
        if num < 0 or first < 0 or first + num > len(self._data):
            raise OSError("a column lies outside of its row group")
        self._place += num
        return self._data[first : first + num]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        pass


def read_footer(data: bytes, num_groups: int) -> Any:
    """Return arrow's metadata of a shard, from the bytes at its end.

    Raises:
        Unreadable: they are none, or of another number of row groups.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(pa.BufferReader(b"PAR1" + data))  # arrow wants a file of its own
    except (pa.ArrowException, OSError) as error:
        raise Unreadable(f"its description is no parquet: {short(str(error))}") from None
    if metadata.num_row_groups != num_groups:
        raise Unreadable(f"it has {metadata.num_row_groups} row groups, not {num_groups}")
    return metadata


@dataclass(frozen=True)
class Rows:
    """A row group.

    Attributes:
        samples: {column: arrow's array of the samples as they are stored}.
        names: arrow's array of their names.
        nbytes: memory that both take.
    """

    samples: Mapping[str, Any]
    names: Any
    nbytes: int


def read_rows(
    data: bytes, start: int, rows: int, number: int, metadata: Any, columns: Mapping[str, str], named: bool
) -> Rows:
    """Return a row group from its bytes.

    Args:
        data: of the row group.
        start: where it begins in the file.
        rows: how many it has to have.
        number: which row group of the file it is.
        metadata: of the file.
        columns: to read, {column: its kind}.
        named: whether there is a column of names, see `is_named`.

    Raises:
        Unreadable: it is not what the index says.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    group = metadata.row_group(number)
    if group.num_rows != rows or rows > MOST_ROWS:
        raise Unreadable(f"it has {group.num_rows} rows, not {rows}")
    unpacked = sum(group.column(j).total_uncompressed_size for j in range(group.num_columns))
    if unpacked > MOST_UNPACKED:
        raise Unreadable(f"it claims {unpacked} bytes when unpacked")
    wanted = [f"{column}.bytes" if kind in FILES else column for column, kind in columns.items()]
    wanted += [NAMES] if named else [f"{column}.path" for column in columns]
    window = _Window(data, start, start + len(data))
    try:
        with pq.ParquetFile(pa.PythonFile(window, mode="r"), metadata=metadata) as file:
            table = file.read_row_group(number, columns=wanted, use_threads=False).combine_chunks()
        if table.num_rows != rows:
            raise Unreadable(f"it has {table.num_rows} rows, not {rows}")
        arrays = {column: table.column(column).chunk(0) for column in columns}
        names = table.column(NAMES).chunk(0) if named else next(iter(arrays.values())).field("path")
        samples = {column: of.field("bytes") if columns[column] in FILES else of for column, of in arrays.items()}
    except (pa.ArrowException, OSError, KeyError, UnicodeDecodeError) as error:
        raise Unreadable(f"it is no parquet: {short(str(error))}") from None
    return Rows(samples, names, table.nbytes)

"""One shard: a parquet file with small row groups of samples as they were stored, in Hugging Face's layout.

A row group is read as one range of bytes, whose checksum is compared with the index, and then handed to arrow.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from ssl_zoo.data.layout.parquet_schema import short
from ssl_zoo.data.layout.shard_index import MOST_ROWS
from ssl_zoo.data.storage import Unreadable

Compression = Literal["none", "zstd"]

MOST_UNPACKED = 2**31 - 2**20
"""Most bytes of the samples of a row group: arrow counts those of an array in 31 bits."""

NAMES = "name"
"""The column of names, where samples are no structs."""


def schema_of(column: str, kind: str, classes: Sequence[str] | None, labelled: bool) -> Any:
    """Return arrow's schema of a shard.

    Args:
        column: of the samples.
        kind: `bytes` (a struct of `bytes` and `path`), `string` or `strings`.
        classes: names of the labels, which Hugging Face's `datasets` and the source `parquet` understand.
        labelled: whether there are labels.
    """
    import pyarrow as pa

    types = {
        "bytes": pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        "string": pa.string(),
        "strings": pa.list_(pa.string()),
    }
    fields = [pa.field(column, types[kind])]
    if kind != "bytes":
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

    def add(self, samples: Sequence[Any], names: Sequence[str], labels: Sequence[int] | None) -> None:
        """Write a row group."""
        import pyarrow as pa

        kind = self._schema.field(0).type
        shown = [name.encode("utf-8", "backslashreplace").decode() for name in names]
        if pa.types.is_struct(kind):
            parts = [pa.array(samples, pa.binary()), pa.array(shown, pa.string())]
            columns = [pa.StructArray.from_arrays(parts, fields=list(kind))]
        else:
            columns = [pa.array(samples, kind), pa.array(shown, pa.string())]
        if labels is not None:
            columns.append(pa.array(labels, pa.int64()))
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
        samples: arrow's array of the samples as they are stored.
        names: arrow's array of their names.
        nbytes: memory that both take.
    """

    samples: Any
    names: Any
    nbytes: int


def read_rows(data: bytes, start: int, rows: int, number: int, metadata: Any, column: str, kind: str) -> Rows:
    """Return a row group from its bytes.

    Args:
        data: of the row group.
        start: where it begins in the file.
        rows: how many it has to have.
        number: which row group of the file it is.
        metadata: of the file.
        column: of the samples.
        kind: what they are stored as.

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
    names = [f"{column}.bytes", f"{column}.path"] if kind == "bytes" else [column, NAMES]
    window = _Window(data, start, start + len(data))
    try:
        with pq.ParquetFile(pa.PythonFile(window, mode="r"), metadata=metadata) as file:
            table = file.read_row_group(number, columns=names, use_threads=False).combine_chunks()
        if table.num_rows != rows:
            raise Unreadable(f"it has {table.num_rows} rows, not {rows}")
        if kind == "bytes":
            array = table.column(column).chunk(0)
            parts = array.field("bytes"), array.field("path")
        else:
            parts = table.column(column).chunk(0), table.column(NAMES).chunk(0)
    except (pa.ArrowException, OSError, KeyError, UnicodeDecodeError) as error:
        raise Unreadable(f"it is no parquet: {short(str(error))}") from None
    return Rows(*parts, table.nbytes)

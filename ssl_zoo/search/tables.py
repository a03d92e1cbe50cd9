"""Tables on the disk, written row by row: CSV or parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from ssl_zoo.errors import UserError
from ssl_zoo.runs.atomic import replacing

_ROWS = 65536

Row = Mapping[str, Any]


def check_table(path: Path, option: str = "--out") -> None:
    """Make sure that a table can have a name.

    Raises:
        UserError: its ending is of no table.
    """
    if path.suffix not in _WRITERS:
        raise UserError(f"{option} {path}: name a file that ends in {' or '.join(_WRITERS)}.")


def write_table(path: Path, columns: Mapping[str, type], rows: Iterable[Row]) -> None:
    """Write a table.

    Args:
        path: FILE.csv or FILE.parquet.
        columns: `{name: str, int or float}`.
        rows: `{name: value}`; None is an empty cell.

    Raises:
        CannotWrite: the disk is full.
    """
    _WRITERS[path.suffix](path, columns, rows)


def _csv(path: Path, columns: Mapping[str, type], rows: Iterable[Row]) -> None:
    with replacing(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="", write_through=True)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_cell(row[name]) for name in columns] for row in rows)
        text.detach()


def _cell(value: Any) -> Any:
    return "" if value is None else f"{value:.6f}" if isinstance(value, float) else value


def _parquet(path: Path, columns: Mapping[str, type], rows: Iterable[Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds: dict[type, Any] = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in columns.items()])
    left = iter(rows)
    with replacing(path) as file, pq.ParquetWriter(file, schema) as writer:
        while some := list(islice(left, _ROWS)):
            writer.write_table(pa.table({name: _values(some, name) for name in columns}, schema=schema))


def _values(rows: Sequence[Row], name: str) -> list[Any]:
    return [row[name] for row in rows]


_WRITERS: dict[str, Callable[[Path, Mapping[str, type], Iterable[Row]], None]] = {".csv": _csv, ".parquet": _parquet}

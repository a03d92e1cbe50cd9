"""Rows of a table that a user writes: CSV, TSV or parquet, read as a stream."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ssl_zoo.data.layout.parquet_schema import reading, short
from ssl_zoo.data.source import Modality
from ssl_zoo.errors import UserError, suggest

SEPARATORS = {".csv": ",", ".tsv": "\t"}
"""Endings of tables of text, and what is between their columns."""

ENDINGS = (*SEPARATORS, ".parquet")

PATHS = ("path", "file", "filename", "file_name", "filepath", "name", "id")
"""Names that a column of files may have, the first choice first."""

LABELS = ("label", "class", "target")
"""Names that a column of labels may have, the first choice first."""

SPLITS = ("split", "subset", "partition")
"""Names that a column of splits may have, the first choice first."""

_ROWS = 65_536
"""Rows of a parquet file that are read at a time."""


class Table:
    """A table in a file, whose first line names the columns.

    Args:
        path: of the file; by its ending it is parquet, or text in UTF-8 with commas or tabs between columns.

    Attributes:
        columns: their names.

    Raises:
        UserError: no such file, another ending, or it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise UserError(f"the table {path} does not exist." if not path.exists() else f"{path} is no file.")
        self.path, self._ending = path, path.suffix.lower()
        if self._ending not in ENDINGS:
            raise UserError(f"{path}: a table ends in {', '.join(ENDINGS)}.")
        self.columns = self._header()

    def _header(self) -> list[str]:
        if self._ending == ".parquet":
            import pyarrow.parquet as pq

            with reading(self.path):
                return list(pq.read_schema(self.path).names)
        return [name.strip() for name in next(self._lines(), [])]

    def _lines(self) -> Iterator[list[str]]:
        """Yield the lines of a table of text, in pieces."""
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                yield from csv.reader(file, delimiter=SEPARATORS[self._ending])
        except (UnicodeDecodeError, csv.Error, OSError) as error:
            raise UserError(f"cannot read {self.path} as a table: {short(str(error)).rstrip('.')}.") from None

    def column(self, asked: str, known: Sequence[str], option: str, required: bool = True) -> str | None:
        """Return the name of a column.

        Args:
            asked: its name, or `auto` for the first of some that is there.
            known: these.
            option: where it is asked for, for messages.
            required: whether to fail where there is none.

        Raises:
            UserError: there is no such column.
        """
        if asked != "auto":
            if asked not in self.columns:
                raise UserError(f"{option}: {self.path} has no column {asked!r}{suggest(asked, self.columns)}")
            return asked
        lowered = {name.lower(): name for name in reversed(self.columns)}
        found = next((lowered[name] for name in known if name in lowered), None)
        if found is None and required:
            shown = short(", ".join(self.columns)) or "none"
            raise UserError(
                f"{self.path}: its first line names the columns {shown}; name one of them {known[0]}, or give "
                f"-s {option}=COLUMN."
            )
        return found

    def rows(self, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield some columns of each row; blank cells are None, and blank lines are left out.

        Raises:
            UserError: a row has fewer columns than the first line, or the file cannot be read.
        """
        if self._ending == ".parquet":
            yield from self._parquet_rows(names)
            return
        places = [self.columns.index(name) for name in names]
        lines = self._lines()
        next(lines, None)
        for number, line in enumerate(lines, start=2):
            if not any(line):
                continue
            if len(line) < len(self.columns):
                raise UserError(
                    f"{self.path}: row {number} has {len(line)} columns, and the first line names {len(self.columns)}."
                )
            yield tuple(line[place].strip() or None for place in places)

    def _parquet_rows(self, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        import pyarrow.parquet as pq

        with reading(self.path), pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(_ROWS, columns=list(dict.fromkeys(names))):
                columns = [batch.column(name).to_pylist() for name in names]
                yield from zip(*columns, strict=True)


def typed(labels: Sequence[Any]) -> list[Any]:
    """Return labels of a table of text, as numbers where all of them are whole ones."""
    known = {each for each in labels if each is not None}
    if not all(isinstance(each, str) and _is_whole(each) for each in known):
        return list(labels)
    numbers = {each: int(each) for each in known}
    return [None if each is None else numbers[each] for each in labels]


def _is_whole(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 18 and str(int(text)) == text


def names_files(path: Path, modality: type[Modality]) -> bool:
    """Return whether a parquet file has a column of paths, strings, and none that samples of the modality may be in."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with reading(path):
            schema = pq.read_schema(path)
    except UserError:  # raised again where it is read
        return False
    kinds = {field.name.lower(): field.type for field in schema}
    if kinds.keys() & set(modality.columns):
        return False
    return any(
        name in kinds and (pa.types.is_string(kinds[name]) or pa.types.is_large_string(kinds[name])) for name in PATHS
    )

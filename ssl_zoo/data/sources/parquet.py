"""Encoded samples in parquet files, in the layout of Hugging Face data sets."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_zoo.data.layout.by_name import held_out
from ssl_zoo.data.layout.parquet_cells import cell_of
from ssl_zoo.data.layout.parquet_files import below, find
from ssl_zoo.data.layout.parquet_labels import read_labels
from ssl_zoo.data.layout.parquet_schema import File, inspect, is_list, reading
from ssl_zoo.data.layout.shard_index import is_sharded
from ssl_zoo.data.layout.split_names import Splits
from ssl_zoo.data.layout.table import names_files
from ssl_zoo.data.source import Modality, Sample, Split
from ssl_zoo.errors import UserError, shown_name
from ssl_zoo.registry import register

_LOOKED_AT = 10_000
"""Largest number of files that are looked at to find out whether a folder is one of parquet files."""


@register("source", "parquet")
class Parquet:
    """Encoded samples in a parquet file, or in a folder of them whose names give the split: `train-00000.parquet`.

    The files may lie in the folder or below it, as on the Hugging Face hub (`data/train-*.parquet`,
    `default/train/0000.parquet`); `val` stands in for `test` where there is none. A folder whose files are named
    otherwise is one train split. Samples are encoded files in a column that the modality names, either bytes or a
    struct with a field `bytes`; texts may be strings, or lists of strings. A split is read into memory, still encoded.

    Args:
        modality: of the files.
        path: the file or folder.
        label: the column of labels; `auto` takes `label` where there is one, None leaves labels out. They are numbers
            (below 0: none), with names where the files carry them, or words.
        splits: `auto` as above; `none` takes all files for train; or the files or folders of each split,
            `{train: "a-*.parquet", test: b}`.
        test: where all rows are one split, patterns of the names of its test samples: `["*_[0-4].wav"]`. Names are the
            field `path` next to `bytes`.
        column: the column of samples; `auto` takes one that the modality names.


    Attributes:
        notes: sentences about what was left out, and how the files were understood.

    Raises:
        UserError: no such file, a damaged one, no column of samples, no such column of labels, or files that do not
            agree about it.
    """

    def __init__(
        self,
        modality: Modality,
        *,
        path: str,
        label: str | None = "auto",
        splits: Splits = "auto",
        test: list[str] = [],  # noqa: B006 - an option's default, never mutated
        column: str = "auto",
    ) -> None:
        self._modality = modality
        self._origin = modality, {"path": path, "label": label, "splits": splits, "test": test, "column": column}
        root = Path(path).expanduser()
        if not root.exists():
            raise UserError(f"the data path {path} does not exist.")
        if root.is_file() and isinstance(splits, dict):
            raise UserError(f"data.source.splits: {path} is one file and so one split; give the folder of the files.")
        paths, notes = ({"train": [root.name]}, []) if root.is_file() else find(root, splits)
        folder = root.parent if root.is_file() else root
        columns = modality.columns if column == "auto" else (column,)
        self._files = {
            split: [inspect(folder / name, name, columns, label, modality.reads_text) for name in names]
            for split, names in paths.items()
        }
        self._labels, self._class_names, of_labels = read_labels(self._files, path)
        others = self._files["train"][0].others
        if others:
            notes.append(
                f"{path}: there is no column label, so that the data have none; columns of classes are "
                f"{', '.join(others)}: choose one by -s data.source.label=COLUMN."
            )
        self.notes = tuple(map(shown_name, (*notes, *of_labels)))
        self._rows: dict[str, np.ndarray] = {}
        if test:
            self._hold_out(test, path)
        self.splits = tuple(self._files)

    def _hold_out(self, test: list[str], path: str) -> None:
        """Make a test split of the rows whose names fit."""
        names = [name for file in self._files["train"] for name in _paths(file)]
        chosen = held_out(names, test, list(self._files), path)
        self._rows = {"train": np.flatnonzero(~chosen), "test": np.flatnonzero(chosen)}
        self._files = {name: self._files["train"] for name in self._rows}
        labels = self._labels["train"]
        rows = {name: torch.from_numpy(index) for name, index in self._rows.items()}
        self._labels = {name: None if labels is None else labels[index] for name, index in rows.items()}

    @staticmethod
    def matches(path: Path, modality: type[Modality]) -> bool:
        """Return whether `path` is a file `*.parquet`, or a folder of them that hold samples, or of nothing else."""
        if not modality.columns or is_sharded(path):
            return False
        if path.is_file():
            return path.suffix.lower() == ".parquet" and not names_files(path, modality)
        found = list(islice(below(path), _LOOKED_AT)) if path.is_dir() else []
        tables = [path / name for name, is_parquet in found if is_parquet]
        if any(_holds_samples(table, modality) for table in tables[:10]):
            return True
        return bool(tables) and not any(Path(name).suffix.lower() in modality.extensions for name, _ in found)

    def split(self, name: str) -> ParquetSplit:
        """Return the split of that name, read into memory."""
        labels = self._labels[name]
        class_names = None if labels is None else self._class_names
        rows = self._rows.get(name)
        return ParquetSplit(self._files[name], self._modality, labels, class_names, (*self._origin, name), rows)


class ParquetSplit(Split):
    """Rows of parquet files.

    The encoded samples stay in the buffers that arrow read, which forked workers share. A pickled copy holds the names
    of the files only, and reads them again.
    """

    def __init__(
        self,
        files: Sequence[File],
        modality: Modality,
        labels: Tensor | None,
        class_names: list[str] | None,
        origin: tuple[Modality, dict[str, Any], str],
        rows: np.ndarray | None = None,
    ) -> None:
        import pyarrow as pa

        self._names, self._modality, self._origin = [file.name for file in files], modality, origin
        columns = [_read(file) for file in files]
        self._samples = pa.chunked_array([chunk for column in columns for chunk in column.chunks], columns[0].type)
        self._ends = np.cumsum([len(column) for column in columns])
        self._rows = rows
        self.labels, self.class_names = labels, class_names
        if labels is not None and len(labels) != len(self):
            raise UserError(
                f"{files[0].path} and the files next to it hold {len(self)} samples and {len(labels)} labels."
            )

    def __len__(self) -> int:
        return len(self._samples) if self._rows is None else len(self._rows)

    def read(self, i: int) -> Sample:
        """Return sample `i`, decoded."""
        return self._modality.from_value(self._encoded(i), self.name(i))

    def remarks(self, i: int) -> tuple[str, ...]:
        """Return notes on how sample `i` is understood."""
        encoded = self._encoded(i)
        return self._modality.remarks(encoded, self.name(i)) if isinstance(encoded, bytes) else ()

    def _row(self, i: int) -> int:
        return i if self._rows is None else int(self._rows[i])

    def _encoded(self, i: int) -> bytes | str | list[str]:
        return cell_of(self._samples[self._row(i)], self.name(i), self._modality)

    def name(self, i: int) -> str:
        """Return the row within its file, counted from 0: `row 17 of train.parquet`."""
        row = self._row(i)
        file = int(np.searchsorted(self._ends, row, side="right"))
        return f"row {row - (self._ends[file - 1] if file else 0)} of {self._names[file]}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, self._origin


def _reopened(modality: Modality, options: dict[str, Any], name: str) -> ParquetSplit:
    return Parquet(modality, **options).split(name)


def _holds_samples(path: Path, modality: type[Modality]) -> bool:
    try:
        inspect(path, path.name, modality.columns, None, modality.reads_text)
    except UserError:  # raised again where the file is opened to be read
        return False
    return True


def _read(file: File) -> Any:
    """Return the encoded samples of a file as a chunked array of bytes, of strings, or of lists of strings."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with reading(file.path), pq.ParquetFile(file.path) as opened:
        is_struct = pa.types.is_struct(opened.schema_arrow.field(file.sample).type)
        samples = opened.read(columns=[f"{file.sample}.bytes" if is_struct else file.sample]).column(0)
        if is_struct:
            samples = pc.struct_field(samples, "bytes")
        if is_list(samples.type):
            return samples.cast(pa.large_list(pa.large_string()))
        strings = pa.types.is_string(samples.type) or pa.types.is_large_string(samples.type)
        return samples.cast(pa.large_string() if strings else pa.large_binary())


def _paths(file: File) -> list[str]:
    """Return the names of a file's samples.

    Raises:
        UserError: it has none.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with reading(file.path), pq.ParquetFile(file.path) as opened:
        kind = opened.schema_arrow.field(file.sample).type
        if not pa.types.is_struct(kind) or kind.get_field_index("path") < 0:
            raise UserError(f"data.source.test: {file.path} has no names of samples, a field path next to their bytes.")
        paths = opened.read(columns=[f"{file.sample}.path"]).column(0)
        return [path or "" for path in pc.struct_field(paths, "path").to_pylist()]

"""A list of files in a table, with labels and splits: `path,label,split`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from ssl_zoo.data.items import number
from ssl_zoo.data.layout.by_name import held_out
from ssl_zoo.data.layout.left_out import files, some
from ssl_zoo.data.layout.split_names import role_of
from ssl_zoo.data.layout.table import ENDINGS, LABELS, PATHS, SPLITS, Table, names_files, typed
from ssl_zoo.data.layout.tree import SplitFiles
from ssl_zoo.data.source import Modality
from ssl_zoo.data.sources.folder import FolderSplit
from ssl_zoo.data.strings import Strings
from ssl_zoo.errors import UserError, shown_name
from ssl_zoo.registry import register


@register("source", "list")
class List:
    """Files that a table names: CSV, TSV or parquet, with a column of paths and perhaps of labels and splits.

    The first line of a CSV names the columns. Samples come in the order of the rows; labels are words, or numbers from
    any start, and blank or below 0 for none. Every file has to be there. A row that comes again is left out.

    Args:
        modality: of the files.
        path: the table.
        root: the folder that paths in it are relative to; None: the table's own.
        column: of the paths; `auto`: `path`, `file`, `filename`, `name` or the like, or a name of the modality's.
        label: the column of labels; `auto` takes `label`, `class` or `target` where there is one, None leaves labels
            out.
        split: the column of splits, `train`, `test` or `val`; `auto` takes `split` where there is one, None none.
        test: where all rows are one split, patterns of the paths of its test samples: `["*_[0-4].png"]`.
        missing: what to do about files that are not there: `error`, or `skip` them with a note.

    Attributes:
        notes: sentences about what was left out.

    Raises:
        UserError: no such table or column, no row, files that are not there or of another modality, or a file that has
            two labels or is in two splits.
    """

    places = ("path", "root")

    def __init__(
        self,
        modality: Modality,
        *,
        path: str,
        root: str | None = None,
        column: str = "auto",
        label: str | None = "auto",
        split: str | None = "auto",
        test: list[str] = [],  # noqa: B006 - an option's default, never mutated
        missing: Literal["error", "skip"] = "error",
    ) -> None:
        self._modality = modality
        table = Table(Path(path).expanduser())
        self._root = table.path.parent if root is None else Path(root).expanduser()
        names = [
            table.column(column, (*PATHS, *modality.columns), "data.source.column"),
            None if label is None else table.column(label, LABELS, "data.source.label", required=False),
            None if split is None else table.column(split, SPLITS, "data.source.split", required=False),
        ]
        rows = _Rows(path)
        rows.read(table, names)
        rows.check(self._root, modality, missing)
        self._files, of_labels = _divided(rows, names[1] is not None, test)
        self.splits = tuple(self._files)
        self.notes = tuple(map(shown_name, (*rows.notes, *of_labels)))

    @staticmethod
    def matches(path: Path, modality: type[Modality]) -> bool:
        """Return whether `path` is a table of text, or a parquet file that holds paths and no samples."""
        if not modality.extensions or path.suffix.lower() not in ENDINGS or not path.is_file():
            return False
        return path.suffix.lower() != ".parquet" or names_files(path, modality)

    def split(self, name: str) -> FolderSplit:
        """Return the split of that name."""
        return FolderSplit(self._root, self._files[name], self._modality)


@dataclass
class _Rows:
    """The rows of a list, each file once.

    Attributes:
        where: what messages call the list.
        paths: of the files, as they are written.
        labels: of each, as written; None for none.
        splits: of each, `train`, `test` or `val`.
    """

    where: str
    paths: list[str] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def read(self, table: Table, names: list[str | None]) -> None:
        """Read a table, given the names of its columns of paths, labels and splits.

        Raises:
            UserError: it has no row, or a row that contradicts another.
        """
        place: dict[str, int] = {}
        again = spare = 0
        for path, label, split in _cells(table, names):
            if not isinstance(path, str):
                raise UserError(f"{self.where}: row {len(self.paths) + again + spare + 2} names no file.")
            role = _role(split, self.where) if names[2] is not None else "train"
            if role == "spare":
                spare += 1
                continue
            first = place.setdefault(os.path.normpath(path), len(self.paths))
            if first == len(self.paths):
                self.paths.append(path)
                self.labels.append(label)
                self.splits.append(role)
                continue
            again += 1
            for what, one, two in (("labels", self.labels[first], label), ("splits", self.splits[first], role)):
                if one != two:
                    raise UserError(
                        f"{self.where}: names {path} twice, with the {what} {one!r} and {two!r}; keep one of the rows."
                    )
        if not self.paths:
            raise UserError(f"{self.where}: names no file: there is no row below the first line.")
        if again:
            self.notes.append(f"{self.where}: {again} rows come again and are left out.")
        if spare:
            self.notes.append(f"{self.where}: {spare} rows are of splits that are not used.")

    def check(self, root: Path, modality: Modality, missing: Literal["error", "skip"]) -> None:
        """Make sure that the files are there and of the modality.

        Raises:
            UserError: they are not.
        """
        endings = Counter(
            ending for path in self.paths if (ending := os.path.splitext(path)[1].lower()) not in modality.extensions
        )
        if endings:
            example = next(path for path in self.paths if os.path.splitext(path)[1].lower() in endings)
            raise UserError(
                f"{self.where}: {files(endings.total())} of {len(self.paths)} are not read as "
                f"{modality.spec.modality}, by the ending: {some(endings)}; for example {shown_name(example)}; remove "
                "these rows, or give a list for each kind of data."
            )
        gone = [i for i, path in enumerate(self.paths) if not os.path.exists(os.path.join(root, path))]
        if not gone:
            return
        shown = ", ".join(shown_name(os.path.join(root, self.paths[i])) for i in gone[:3])
        what = f"{self.where}: {len(gone)} of the {len(self.paths)} files that it names do not exist"
        if missing == "error" or len(gone) == len(self.paths):
            raise UserError(
                f"{what}, the first are {shown}; correct the list, give the folder that paths are relative to by "
                "-s data.source.root=FOLDER, or leave them out by -s data.source.missing=skip."
            )
        self.notes.append(f"{what} and are left out, the first are {shown}.")
        lost = set(gone)
        for values in (self.paths, self.labels, self.splits):
            values[:] = [value for i, value in enumerate(values) if i not in lost]


def _cells(table: Table, names: list[str | None]) -> Iterator[tuple[Any, Any, Any]]:
    """Yield the path, the label and the split of each row; None for a column that there is not."""
    asked = [name for name in names if name is not None]
    for row in table.rows(asked):
        cells = iter(row)
        path, label, split = (None if name is None else next(cells) for name in names)
        yield path, label, split


def _role(split: Any, where: str) -> str:
    found = role_of(split) if isinstance(split, str) else None
    if found is None:
        raise UserError(
            f"{where}: the split {split!r} is none of train, test and val; correct it, name the column by "
            "-s data.source.split=COLUMN, or leave it out by -s data.source.split=null."
        )
    return found[0]


def _divided(rows: _Rows, labelled: bool, test: list[str]) -> tuple[dict[str, SplitFiles], list[str]]:
    """Return the splits of a list, `train` first, and sentences about them."""
    splits, notes = np.array(rows.splits), []
    if test:
        splits[held_out(rows.paths, test, sorted(set(rows.splits)), rows.where)] = "test"
    if "train" not in splits:
        raise UserError(f"{rows.where}: has no row of the split train.")
    if "test" not in splits and "val" in splits:
        splits[splits == "val"] = "test"
        notes.append(f"{rows.where}: there is no test split, so val is used for it.")
    elif "val" in splits:
        notes.append(f"{rows.where}: the val split is not used, since there is a test split.")
    index = {name: np.flatnonzero(splits == name) for name in ("train", "test") if name in splits}
    written = typed(rows.labels) if labelled else []
    labels: dict[str, Tensor | None] = dict.fromkeys(index)
    classes = None
    if labelled:
        values = {name: [written[i] for i in places] for name, places in index.items()}
        labels, classes, of_labels = number(values, None, rows.where)
        notes += of_labels
    found = {}
    for name, places in index.items():
        of = labels[name]
        paths = Strings(rows.paths[i] for i in places)
        found[name] = SplitFiles(paths, of, None if of is None else classes)
    return found, notes

"""Texts in one file, a line for each."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ssl_zoo.data.layout.classes import unify
from ssl_zoo.data.memory import free_bytes
from ssl_zoo.data.source import Modality, Sample, Split
from ssl_zoo.errors import UserError, shown_name
from ssl_zoo.modalities.text.decode import decode
from ssl_zoo.registry import register

ENDINGS = (".txt", ".tsv")

Column = Annotated[int, Field(ge=1)]


@register("source", "lines")
class Lines:
    """A file with a text per line, `*.txt` or `*.tsv`; its columns, between tabs, may be several texts, and a label.

    Blank lines are left out, with a note.

    Args:
        modality: of texts.
        path: the file.
        test: the file of the test split, where there is one.
        label: the column that is the label, counted from 1; None: the lines have none.
        texts: the columns that are texts of a sample; None: all but the label or, without one, the line as it is.

    Attributes:
        notes: sentences about what was left out, and how labels are spelt.

    Raises:
        UserError: a file that cannot be read, or a line without the column of labels.
    """

    modality = "text"

    def __init__(
        self,
        modality: Modality,
        *,
        path: str,
        test: str | None = None,
        label: Column | None = None,
        texts: Annotated[list[Column], Field(min_length=1)] | None = None,
    ) -> None:
        if label is not None and label in (texts or ()):
            raise UserError(f"data.source.texts: column {label} is the label, data.source.label.")
        self._origin = modality, {"path": path, "test": test, "label": label, "texts": texts}
        self._columns = label, texts
        self._files = {"train": _File(path)} | ({} if test is None else {"test": _File(test)})
        self._modality = modality
        self.splits = tuple(self._files)
        self._labels: dict[str, Tensor] = {}
        self._class_names: list[str] | None = None
        notes = [note for file in self._files.values() for note in file.notes]
        if label is not None:
            notes += self._read_labels(label, path)
        self.notes = tuple(map(shown_name, notes))

    @staticmethod
    def matches(path: Path, modality: type[Modality]) -> bool:
        """Return whether `path` is a file `*.txt` or `*.tsv`."""
        return path.is_file() and path.suffix.lower() in ENDINGS

    def _read_labels(self, column: int, path: str) -> list[str]:
        """Number the classes of all splits; return sentences about their spelling."""
        words = {name: [file.label(i, column) for i in range(len(file))] for name, file in self._files.items()}
        self._class_names, numbers, notes = unify({name: set(found) for name, found in words.items()}, path)
        for name, found in words.items():
            self._labels[name] = torch.tensor([numbers[name, word] for word in found])
        return notes

    def split(self, name: str) -> LinesSplit:
        """Return the split of that name, its file read into memory."""
        origin = (*self._origin, name)
        return LinesSplit(
            self._files[name], self._columns, self._modality, self._labels.get(name), self._class_names, origin
        )


class LinesSplit(Split):
    """Lines of a file. Forked workers share the bytes; a pickled copy holds the file's name, and reads it again."""

    def __init__(
        self,
        file: _File,
        columns: tuple[int | None, list[int] | None],
        modality: Modality,
        labels: Tensor | None,
        class_names: list[str] | None,
        origin: tuple[Modality, dict[str, Any], str],
    ) -> None:
        self._file, self._columns, self._modality, self._origin = file, columns, modality, origin
        self.labels, self.class_names = labels, class_names

    def __len__(self) -> int:
        return len(self._file)

    def read(self, i: int) -> Sample:
        """Return sample `i`, its texts."""
        name, line = self.name(i), self._file.line(i)
        label, texts = self._columns
        if label is None and texts is None:
            return self._modality.decode(line, name)
        cells = line.split(b"\t")
        chosen = [place for place in range(1, len(cells) + 1) if place != label] if texts is None else texts
        return self._modality.from_value(
            [decode(cells[place - 1], f"column {place} of {name}") for place in chosen if place <= len(cells)], name
        )

    def name(self, i: int) -> str:
        """Return the line, counted from 1: `line 17 of train.txt`."""
        return self._file.name(i)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, self._origin


def _reopened(modality: Modality, options: dict[str, Any], name: str) -> LinesSplit:
    return Lines(modality, **options).split(name)


class _File(Sequence[bytes]):
    """The lines of a file that are not blank.

    Attributes:
        notes: a sentence about those that are.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._content = _read(path)
        ends = np.flatnonzero(np.frombuffer(self._content, np.uint8) == ord("\n"))
        if not self._content.endswith(b"\n"):
            ends = np.append(ends, len(self._content))
        starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
        spans = zip(starts.tolist(), ends.tolist(), strict=True)
        filled = np.fromiter((bool(self._content[a:b].strip()) for a, b in spans), bool, len(ends))
        self._starts, self._ends = starts[filled], ends[filled]
        self._numbers = np.flatnonzero(filled) + 1
        blank = np.flatnonzero(~filled) + 1
        self.notes = [f"{path}: {len(blank)} blank lines are left out, such as line {blank[0]}."] if len(blank) else []
        if not len(self):
            raise UserError(f"{path} has no line that is not blank.")

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, i: Any) -> Any:
        return self.line(i)

    def line(self, i: int) -> bytes:
        """Return line `i` of those that are not blank, without its end and a mark of UTF-8 at the file's beginning."""
        line = self._content[self._starts[i] : self._ends[i]].removesuffix(b"\r")
        return line.removeprefix(b"\xef\xbb\xbf") if self._starts[i] == 0 else line

    def name(self, i: int) -> str:
        return f"line {self._numbers[i]} of {self._path}"

    def label(self, i: int, column: int) -> str:
        """Return the label of line `i`."""
        cells = self.line(i).split(b"\t")
        if column > len(cells) or not cells[column - 1].strip():
            raise UserError(
                f"data.source.label: {self.name(i)} has no label in column {column} (columns are cut by tabs)."
            )
        return decode(cells[column - 1], f"the label of {self.name(i)}").strip()


def _read(path: str) -> bytes:
    """Return the content of a file that fits in memory."""
    try:
        status = Path(path).expanduser().stat()
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"the data path {path} is no regular file; a folder of texts is read by the source folder.")
        if status.st_size > free_bytes():
            raise UserError(
                f"{path} has {status.st_size / 2**30:.1f} GiB, and {free_bytes() / 2**30:.1f} GiB of memory are free; "
                "cut it into several files in a folder."
            )
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}.") from error

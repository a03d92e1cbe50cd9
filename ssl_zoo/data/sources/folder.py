"""A folder of files, of any depth, with or without labels."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ssl_zoo.data.files import MOST_SIZED, read_regular, size_of
from ssl_zoo.data.layout.file_labels import relabelled
from ssl_zoo.data.layout.split_names import Splits
from ssl_zoo.data.layout.tree import Labels, SplitFiles, split_files
from ssl_zoo.data.layout.walk import Walk
from ssl_zoo.data.source import Modality, Sample, Split
from ssl_zoo.data.sources.huggingface import HuggingFace
from ssl_zoo.data.sources.parquet import Parquet
from ssl_zoo.data.sources.shards import Shards
from ssl_zoo.data.sources.webdataset import WebDataset
from ssl_zoo.errors import UserError, shown_name
from ssl_zoo.registry import register


@register("source", "folder")
class Folder:
    """Files of the modality in a folder, of any depth; sub-folders `train` and `test` (or `val`) are its splits.

    Labelled if each file lies in a first-level folder, its class, and there are at least two; else unlabelled.

    Args:
        modality: of the files.
        path: the folder.
        labels: `auto` as above; `folder` insists on labels, `none` leaves them out.
        label_file: a table (CSV, TSV or parquet) of file names or paths and labels, instead; its columns are called
            `path`, `file` or `name`, and `label` or `class`.
        label_pattern: a regular expression with a group `label` to find in file names, instead: `(?P<label>[a-z]+)_`.
        splits: `auto` as above, also under names like `Training` and `val2017`; `none` takes all folders for classes;
            or the folders of each split, `{train: [a, b], test: c}`, `*` for any one folder.
        test: where all files are one split, patterns of the paths of those that are its test: `["*_[0-4].wav"]`.


    Attributes:
        notes: sentences about what was left out, and how the folder was understood.

    Raises:
        UserError: no such folder, no file of the modality in it, or folders that look like splits and are not clear.
    """

    places = ("path", "label_file")

    def __init__(
        self,
        modality: Modality,
        *,
        path: str,
        labels: Labels = "auto",
        label_file: str | None = None,
        label_pattern: str | None = None,
        splits: Splits = "auto",
        test: list[str] = [],  # noqa: B006 - an option's default, never mutated
    ) -> None:
        self._modality = modality
        self._root = Path(path).expanduser()
        if not self._root.exists():
            raise UserError(f"the data path {path} does not exist.")
        if not self._root.is_dir():
            raise UserError(f"the data path {path} is a file, not a folder.")
        where = f"the folder {path}"
        walk = Walk(self._root, modality.extensions)
        other = label_file is not None or label_pattern is not None
        kind: Labels = "none" if other else labels
        found = split_files(walk, extensions=modality.extensions, labels=kind, where=where, splits=splits, test=test)
        found = relabelled(found, label_file, label_pattern, where)
        self._files = found.splits
        self.notes = tuple(map(shown_name, (*walk.notes(where), *found.notes)))
        self.splits = tuple(self._files)

    @staticmethod
    def matches(path: Path, modality: type[Modality]) -> bool:
        """Return whether `path` is a folder, and not one of parquet files, of archives or of Hugging Face's."""
        if not path.is_dir() or not modality.extensions:
            return False
        return not any(other.matches(path, modality) for other in (Parquet, Shards, WebDataset, HuggingFace))

    def split(self, name: str) -> FolderSplit:
        """Return the split of that name."""
        return FolderSplit(self._root, self._files[name], self._modality)


class FolderSplit(Split):
    """Files, read one by one."""

    def __init__(self, root: Path, files: SplitFiles, modality: Modality) -> None:
        self.labels, self.class_names, self.names = files.labels, files.class_names, files.paths
        self._root, self._paths, self._modality = root, files.paths, modality

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, i: int) -> Sample:
        """Return sample `i`, decoded."""
        name = self.name(i)
        return self._modality.decode(read_regular(name, self._modality), name)

    def remarks(self, i: int) -> tuple[str, ...]:
        """Return notes on how sample `i` is understood."""
        name = self.name(i)
        return self._modality.remarks(read_regular(name, self._modality), name)

    def sizes(self) -> Iterable[int] | None:
        """Return the sizes of the files, of so many that this takes no time; -1 for one that is not there."""
        if len(self) > MOST_SIZED:
            return None
        return (size_of(str(self._root / path)) for path in self._paths)

    def name(self, i: int) -> str:
        """Return the path of sample `i`."""
        return str(self._root / self._paths[i])

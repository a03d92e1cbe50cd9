"""Tar archives, such as the shards of a WebDataset, read without unpacking them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field
from torch import Tensor

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.blocks import HELD, STREAMS, Blocks
from ssl_zoo.data.files import check_size
from ssl_zoo.data.items import number
from ssl_zoo.data.layout.by_name import held_out
from ssl_zoo.data.layout.file_labels import relabelled
from ssl_zoo.data.layout.parquet_files import below, find
from ssl_zoo.data.layout.shards import Shard, expand, has_braces, notes_on
from ssl_zoo.data.layout.split_names import Splits
from ssl_zoo.data.layout.table import typed
from ssl_zoo.data.layout.tar_index import Keep, kept_index
from ssl_zoo.data.layout.tree import Labels, SplitFiles, TreeSplits, split_files
from ssl_zoo.data.progress import progress
from ssl_zoo.data.source import Modality, Sample, Split
from ssl_zoo.data.strings import Strings
from ssl_zoo.errors import UserError, shown_name
from ssl_zoo.registry import register

ENDING = ".tar"
_LOOKED_AT = 10_000


@register("source", "webdataset")
class WebDataset:
    """Samples in tar archives: one, a folder of them, or `shards/train-{000..009}.tar`; each is indexed once.

    Files of a sample have one name but for the ending: `0017.jpg`, and `0017.cls` with its label or `0017.json` with a
    `label`. Archives whose names say so are the test split, as in `parquet`. One archive without such labels may hold a
    folder of files, whose splits and labels are found as in `folder`. An archive that is cut short gives the samples
    before the cut, and one bad sample.

    Args:
        modality: of the samples.
        path: an archive, a folder of archives, or a path with braces.
        labels: `auto` as above, `none` leaves them out, `folder` insists on one folder per class in one archive.
        label_file: a table with the names of files and their labels, instead; see `folder`.
        label_pattern: a regular expression with a group `label` to find in file names, instead; see `folder`.
        splits: of a folder of archives, as in `parquet`; of one archive, as in `folder`.
        test: where all samples are one split, patterns of the names of its test samples.
        block: samples of an archive that are read one after the other, for disks and file systems on which single ones
            take long; blocks come in a random order, a few at a time, as row groups of `shards` do. None: samples come
            in a random order one by one.
        streams: with `block`, as in `shards`.
        held: with `block`, as in `shards`.
        index: where the index of an archive of many samples is kept: in the user's `cache`, `beside` the archive, or
            `none`, so that its headers are read each time.

    Attributes:
        notes: sentences about what was left out, and about archives that are cut short.

    Raises:
        UserError: no such archive, one that is compressed or no tar, or none with samples of the modality.
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
        block: Annotated[int, Field(ge=1)] | None = None,
        streams: Annotated[int, Field(ge=1, le=65536)] = STREAMS,
        held: Annotated[int, Field(ge=1, le=65536)] = HELD,
        index: Keep = "cache",
    ) -> None:
        self._modality, self._blocks = modality, (block, streams, held)
        paths, notes = _archives(path, splits)
        found_in = (kept_index(shard, modality.extensions, index) for of in paths.values() for shard in of)
        self._shards = list(progress(found_in, "indexing", "archives", sum(map(len, paths.values()))))
        if not any(shard.names for shard in self._shards):
            raise UserError(f"{path}: no archive holds a file of the modality {modality.spec.modality!r}.")
        own = labels != "none" and label_file is None and label_pattern is None
        stated = own and any(label is not None for shard in self._shards for label in shard.labels)
        kind: Labels = labels if own and not stated else "none"
        if len(self._shards) == 1 and not has_braces(path):
            found = split_files(
                self._names(), extensions=modality.extensions, labels=kind, where=path, splits=splits, test=test
            )
        elif kind == "folder":
            raise UserError("data.source.labels: folder is for one archive; give its path.")
        else:
            found = _by_shard(paths, self._shards, test, path)
        found = relabelled(found, label_file, label_pattern, path)
        if stated:
            found = _with_labels(found, dict(zip(self._names(), self._labels(), strict=True)), path)
        self._files = found.splits
        self._row = {name: i for i, name in enumerate(self._names())}
        self.splits = tuple(self._files)
        self.notes = tuple(map(shown_name, (*notes, *notes_on(self._shards), *found.notes)))

    def _names(self) -> list[str]:
        return _names(self._shards)

    def _labels(self) -> list[object]:
        return [label for shard in self._shards for label in shard.labels]

    @staticmethod
    def matches(path: Path, modality: type[Modality]) -> bool:
        """Return whether `path` is an archive, has braces, or is a folder that holds archives and no samples."""
        if not modality.extensions:
            return False
        if path.suffix.lower() == ENDING and (path.is_file() or has_braces(str(path))):
            return True
        found = list(islice(below(path, ENDING), _LOOKED_AT)) if path.is_dir() else []
        others = (Path(name).suffix.lower() in modality.extensions for name, is_archive in found if not is_archive)
        return any(is_archive for _, is_archive in found) and not any(others)

    @staticmethod
    def stands_for_several(text: str) -> bool:
        """Return whether a path that does not exist stands for several that may."""
        return has_braces(text) and text.lower().endswith(ENDING)

    def split(self, name: str) -> TarSplit:
        """Return the split of that name."""
        rows = [self._row[each] for each in self._files[name].paths]
        found = TarSplit(self._shards, self._files[name], rows, self._modality)
        block, streams, held = self._blocks
        found.blocks = None if block is None else Blocks(found.runs(block), streams, held)
        return found


def _archives(path: str, splits: Splits) -> tuple[dict[str, list[Path]], list[str]]:
    """Return the archives of each split, `train` first, and sentences about how they were understood.

    Raises:
        UserError: one does not exist.
    """
    root = Path(path).expanduser()
    if root.is_dir():
        found, notes = find(root, splits, ENDING)
        return {split: [root / name for name in names] for split, names in found.items()}, notes
    paths = [Path(each).expanduser() for each in expand(path)] if has_braces(path) and not root.exists() else [root]
    gone = [each for each in paths if not each.is_file()]
    if gone:
        shown = ", ".join(map(str, gone[:3]))
        what = f"{len(gone)} of the {len(paths)} archives {path}" if len(paths) > 1 else "the data path"
        raise UserError(f"{what} {'do' if len(gone) > 1 else 'does'} not exist: {shown}.")
    return {"train": paths}, []


def _names(shards: list[Shard]) -> list[str]:
    """Return the names of all samples; of several archives, with that of the archive before it."""
    if len(shards) == 1:
        return shards[0].names
    titles = [shard.path.name for shard in shards]
    if len(set(titles)) < len(titles):
        titles = [f"{shard.path.parent.name}/{shard.path.name}" for shard in shards]
    return [f"{title}/{name}" for title, shard in zip(titles, shards, strict=True) for name in shard.names]


def _by_shard(paths: dict[str, list[Path]], shards: list[Shard], test: list[str], where: str) -> TreeSplits:
    """Return the samples of the archives of each split, in their order there."""
    names, of_split = _names(shards), []
    for split, some in paths.items():
        of_split += [split] * sum(len(shard.names) for shard in shards if shard.path in some)
    if test:
        chosen = held_out(names, test, list(paths), where)
        of_split = ["test" if out else split for out, split in zip(chosen, of_split, strict=True)]
    return TreeSplits(
        {
            split: SplitFiles(Strings(n for n, s in zip(names, of_split, strict=True) if s == split), None, None)
            for split in ("train", "test")
            if split in of_split
        },
        (),
    )


def _with_labels(found: TreeSplits, written: dict[str, object], where: str) -> TreeSplits:
    """Return the splits with the labels that the archives state."""
    known = dict(zip(written, typed(list(written.values())), strict=True))
    labels, classes, notes = number(
        {name: [known[p] for p in of.paths] for name, of in found.splits.items()}, None, where
    )
    splits = {
        name: SplitFiles(of.paths, labels[name], None if labels[name] is None else classes)
        for name, of in found.splits.items()
    }
    return TreeSplits(splits, (*found.notes, *notes))


class TarSplit(Split):
    """Files in archives, read one by one.

    Args:
        shards: the archives.
        files: of the split.
        rows: which of the samples of all archives they are.
        modality: of the samples.
    """

    def __init__(self, shards: list[Shard], files: SplitFiles, rows: list[int], modality: Modality) -> None:
        ends = np.cumsum([len(shard.names) for shard in shards])
        self._shard = np.searchsorted(ends, rows, side="right")
        self._offset = np.array([offset for shard in shards for offset in shard.offsets], np.int64)[rows]
        self._size = np.array([size for shard in shards for size in shard.sizes], np.int64)[rows]
        self._paths, self._whole = [str(shard.path) for shard in shards], [shard.size for shard in shards]
        self.labels: Tensor | None = files.labels
        self.class_names, self.names = files.class_names, files.paths
        self._modality = modality

    def __len__(self) -> int:
        return len(self._shard)

    def runs(self, most: int) -> np.ndarray:
        """Return the numbers of samples `(G,)` of runs of one archive, each of at most `most`."""
        ends = np.flatnonzero(np.diff(self._shard, append=-1)) + 1
        sizes = [(stop - start, -(-(stop - start) // most)) for start, stop in zip([0, *ends[:-1]], ends, strict=True)]
        return np.concatenate([np.diff(np.arange(num + 1) * size // num) for size, num in sizes]).astype(np.int64)

    def read(self, i: int) -> Sample:
        """Return sample `i`, decoded."""
        return self._modality.decode(self._content(i), self.name(i))

    def remarks(self, i: int) -> tuple[str, ...]:
        """Return notes on how sample `i` is understood."""
        return self._modality.remarks(self._content(i), self.name(i))

    def _content(self, i: int) -> bytes:
        shard, offset, size, name = int(self._shard[i]), int(self._offset[i]), int(self._size[i]), self.name(i)
        if offset + size > self._whole[shard]:
            raise BadSample(name, f"the archive is cut short in it, at {self._whole[shard]} bytes")
        check_size(size, name, self._modality)
        try:
            with open(self._paths[shard], "rb") as file:
                file.seek(offset)
                content = file.read(size)
        except OSError as error:
            raise BadSample(name, error.strerror or str(error)) from error
        if len(content) < size:
            raise BadSample(name, "the archive is shorter than when it was opened")
        return content

    def sizes(self) -> Iterable[int]:
        """Return the sizes of the files in the archives."""
        return map(int, self._size)

    def name(self, i: int) -> str:
        """Return the archive and the file in it, such as `birds-000.tar/owl/1.png`."""
        path = self._paths[int(self._shard[i])]
        inner = self.names[i] if self.names is not None else str(i)
        return f"{path}/{inner}" if len(self._paths) == 1 else f"{path}/{inner.partition('.tar/')[2]}"

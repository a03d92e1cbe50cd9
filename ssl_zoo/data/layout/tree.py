"""The files of a folder or an archive as splits, with labels where the folders are classes.

The rules, for paths below the root:
- hidden files and folders, and the system's own (thumbnails, waste), are left out; a chain of single folders at the top
  is passed through;
- `train` together with `test` or `val`, or alone, are the splits, in any usual spelling (`Training`, `train2017`), at
  the top or within each class; `val` stands in for `test` where there is none; folders that look like splits and are
  not clear are refused;
- files are labelled by the first folder below their split if each lies in one and there are at least two.

Notes name whatever is left out, or read differently from its spelling.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ssl_zoo.data.layout.by_name import held_out
from ssl_zoo.data.layout.classes import many_classes, unify
from ssl_zoo.data.layout.left_out import Sieve, files
from ssl_zoo.data.layout.split_names import Part, Splits, normal, understand
from ssl_zoo.data.strings import Strings
from ssl_zoo.errors import UserError, shown_name

Labels = Literal["auto", "folder", "none"]


@dataclass(frozen=True)
class SplitFiles:
    """The files of one split.

    Attributes:
        paths: sorted, as they were given.
        labels: `(N,)` int64, -1 for a file without one; or None.
        class_names: the folder of each label, sorted, the same for all splits; None without labels.
    """

    paths: Strings
    labels: Tensor | None
    class_names: list[str] | None


@dataclass(frozen=True)
class TreeSplits:
    """The splits of a tree, `train` first, and sentences about what was left out and how it was understood."""

    splits: dict[str, SplitFiles]
    notes: tuple[str, ...]


@dataclass
class _Group:
    """A split in the making: its files, and for each the number of its (part, folder) among `folders`."""

    files: list[str] = field(default_factory=list)
    place: array[int] = field(default_factory=lambda: array("q"))
    folders: dict[tuple[Part, str], int] = field(default_factory=dict)

    def add(self, path: str, part: Part, folder: str) -> None:
        self.files.append(path)
        self.place.append(self.folders.setdefault((part, folder), len(self.folders)))

    def classes(self) -> dict[Part, set[str]]:
        """Return the folders that may be classes, for each part."""
        found: dict[Part, set[str]] = {}
        for part, folder in self.folders:
            found.setdefault(part, set()).add(folder)
        return found


def split_files(
    paths: Iterable[str],
    *,
    extensions: Collection[str],
    labels: Labels,
    where: str,
    splits: Splits = "auto",
    test: Sequence[str] = (),
) -> TreeSplits:
    """Return the splits of a tree of files.

    Args:
        paths: all files, each once, relative to the root, with `/` between folders; one that ends in `/` is a folder
            that was set aside unseen.
        extensions: how the files to take end, lower case, with the dot.
        labels: `auto` by the rules above; `folder` insists on labels, `none` refuses them.
        where: what the messages call the root.
        splits: `auto` by the rules above; `none` takes all folders for classes; or folders for each split.
        test: patterns of the names of the test split, where there is none by the rules above.

    Raises:
        UserError: no file, none to take, no `train`, splits that are not clear, or labels that were insisted on and are
            not there.
    """
    sieve = Sieve(extensions)
    for path in paths:
        sieve.add(path)
    sieve.require_some(where)
    taken = sieve.taken
    taken.sort()
    groups, notes = _groups(taken, splits, where)
    labelled = {name: set[Part]() if labels == "none" else _labelled(group) for name, group in groups.items()}
    _label_the_rest(groups, labelled, labels)
    if labels == "folder":
        _insist(groups, labelled, where)
    if labels == "auto":
        notes += [note for name, group in groups.items() for note in _nearly(name, group, labelled[name], where)]
    names = {name: {f for part, f in group.folders if part in labelled[name]} for name, group in groups.items()}
    classes, numbers, spellings = unify(names, where)
    split_of = {}
    for name, group in groups.items():
        table = [numbers[name, f] if part in labelled[name] else -1 for part, f in group.folders]
        known = torch.from_numpy(np.array(table)[np.frombuffer(group.place, np.int64)]) if labelled[name] else None
        split_of[name] = SplitFiles(Strings(group.files), known, classes if labelled[name] else None)
    found = {name: files_of.labels for name, files_of in split_of.items()}
    spellings += many_classes(found, where, "-s data.source.labels=none")
    if test:
        split_of = _by_name(split_of, test, where)
    return TreeSplits(split_of, (*sieve.notes(where), *notes, *spellings))


def _by_name(split_of: dict[str, SplitFiles], test: Sequence[str], where: str) -> dict[str, SplitFiles]:
    """Return train without the files that the patterns hold out, and those as test."""
    train = split_of["train"]
    chosen = held_out(train.paths, test, list(split_of), where)
    parts = {}
    for name, mask in (("train", ~chosen), ("test", chosen)):
        index = np.flatnonzero(mask)
        labels = None if train.labels is None else train.labels[torch.from_numpy(index)]
        parts[name] = SplitFiles(Strings(train.paths[int(i)] for i in index), labels, train.class_names)
    return parts


def _groups(paths: list[str], splits: Splits, where: str) -> tuple[dict[str, _Group], list[str]]:
    """Return for each split its files, each with its part and the folder there that may be its class."""
    folders = Counter(path.rpartition("/")[0] for path in paths)
    parts, notes = understand(folders, splits, where)
    place = {folder: _place(folder, parts) for folder in folders}
    used = {found[0].split for found in place.values() if found is not None}
    groups: dict[str, _Group] = {name: _Group() for name in ("train", "test", "val") if name in used}
    for path in paths:
        found = place[path.rpartition("/")[0]]
        if found is not None:
            groups[found[0].split].add(path, *found)
    if "train" not in groups:
        raise UserError(f"{where} has no files in train/.")
    outside = sum(num for folder, num in folders.items() if place[folder] is None)
    if outside and not any(" outside " in note for note in notes):
        example = next(path for path in paths if place[path.rpartition("/")[0]] is None)
        notes.append(f"{where}: {files(outside)} in no split, not used; for example {shown_name(example)}.")
    if "test" not in groups and "val" in groups:
        groups["test"] = groups.pop("val")
        notes.append(f"{where}: there is no test split, so val is used for it.")
    elif "val" in groups:
        notes.append(f"{where}: the val split is not used, since there is a test split.")
    return groups, notes


def _place(folder: str, parts: list[Part]) -> tuple[Part, str] | None:
    """Return the part that holds a folder, the most particular one, and the folder's class there, empty for none."""
    names = folder.split("/") if folder else []
    part = max((part for part in parts if part.holds(names)), key=lambda part: len(part.pattern), default=None)
    return None if part is None else (part, names[part.label_at] if len(names) > part.label_at else "")


def _labelled(group: _Group) -> set[Part]:
    """Return the parts in which each file lies in one of at least two folders."""
    return {part for part, folders in group.classes().items() if "" not in folders and len(folders) >= 2}


def _label_the_rest(groups: dict[str, _Group], labelled: dict[str, set[Part]], labels: Labels) -> None:
    """Add the parts with a single folder, where that is a class of another one."""
    known = {normal(f).casefold() for name, group in groups.items() for p, f in group.folders if p in labelled[name]}
    for name, group in groups.items():
        for part, folders in group.classes().items():
            if labels != "none" and {normal(folder).casefold() for folder in folders} <= known:
                labelled[name].add(part)


def _insist(groups: dict[str, _Group], labelled: dict[str, set[Part]], where: str) -> None:
    for name, group in groups.items():
        if labelled[name] < group.classes().keys():
            raise UserError(
                f"labels: folder asks for one folder per class, but not every file of the {name} split of {where} lies "
                "in one of at least two such folders; use labels: auto or none."
            )


def _nearly(name: str, group: _Group, labelled: set[Part], where: str) -> Iterator[str]:
    """Yield a sentence for a part that has no labels because some of its files lie in no folder of a class."""
    for part, folders in group.classes().items():
        if part in labelled or "" not in folders or len(folders) < 3:
            continue
        stray = np.flatnonzero(np.frombuffer(group.place, np.int64) == group.folders[part, ""])
        yield (
            f"{where}: {name} has no labels, since {len(stray)} of {files(len(group.files))} "
            f"{'lies' if len(stray) == 1 else 'lie'} in no folder of a class; for example "
            f"{shown_name(group.files[int(stray[0])])}."
        )

"""Samples that are mappings from one place: columns of parquet files, or files that belong together by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ssl_zoo.data.layout.split_names import Splits
from ssl_zoo.data.layout.tree import Labels
from ssl_zoo.data.open import build_source, split_of
from ssl_zoo.data.paired import PairedModality
from ssl_zoo.data.paired_split import MISSING, PairedSplit
from ssl_zoo.data.readers import reader
from ssl_zoo.data.source import Modality, Source, Split
from ssl_zoo.errors import UserError, suggest
from ssl_zoo.registry import register

Match = Literal["auto", "path", "stem"]


@register("source", "pairs")
class Pairs:
    """Images with captions, clips with sound, ...: columns of parquet files, or files that belong together by name.

    Each member of the views is read by the source that reads the path as its modality. Rows of parquet files belong
    together as they are; files do that have the same path but for the ending. A sample that lacks a member, or of which
    one cannot be read, is bad: `data.on_error` and `data.bad_budget` decide. Splits are those of the first member, and
    labels those of the first that has some.

    Args:
        modality: of the members.
        path: a parquet file, a folder of them, a folder of files, or a zip archive.
        columns: of parquet files, {member: column}; a member that is not named takes the column of its modality.
        folders: of a folder of files, {member: folder below it}, where the members lie in trees of their own.
        match: of files, `path`: the same path below the (member's) folder, or `stem`: the same file name in any folder,
            but for the ending; `auto` is `path` where some agree, else `stem`.
        label: of parquet files, as in `parquet`.
        labels: of files, as in `folder`.
        splits: as in `parquet` and `folder`.
        test: as in `parquet` and `folder`; patterns of the names of the first member that has some which fit.

    Attributes:
        notes: sentences about what was left out, and how the data were understood.

    Raises:
        UserError: a member that the path does not hold, or members of which nothing belongs together.
    """

    gives_members = True

    def __init__(
        self,
        modality: Modality,
        *,
        path: str,
        columns: dict[str, str] = {},  # noqa: B006 - options' defaults, never mutated
        folders: dict[str, str] = {},  # noqa: B006
        match: Match = "auto",
        label: str | None = "auto",
        labels: Labels = "auto",
        splits: Splits = "auto",
        test: list[str] = [],  # noqa: B006
    ) -> None:
        members = members_of(modality, "pairs")
        for option, given in (("columns", columns), ("folders", folders)):
            for name in given:
                if name not in members:
                    raise UserError(
                        f"data.source.{option}.{name}: the views have no such member{suggest(name, members)}"
                    )
        settings: dict[str, Any] = {"label": label, "labels": labels, "splits": splits}
        common = {name: value for name, value in settings.items() if value != "auto"}
        own = {
            member: {
                "path": str(Path(path, folders[member])) if member in folders else path,
                **({"column": columns[member]} if member in columns else {}),
                **common,
            }
            for member in members
        }
        first, sources = _opened(members, own, test)
        self.splits = tuple(sources[first].splits)
        found = {member: _Found.of(member, source) for member, source in sources.items()}
        self._pairs = _joined(found, first, match, path)
        self.notes = (
            *dict.fromkeys(f"{member}: {note}" for member, source in sources.items() for note in source.notes),
            *self._pairs.notes(),
        )

    @staticmethod
    def matches(path: Path, modalities: Mapping[str, type[Modality]]) -> bool:
        """Return whether a path is one that a source reads as each of the modalities, {member: its class}."""
        return all(_reader(path, kind) is not None for kind in modalities.values())

    def split(self, name: str) -> PairedSplit:
        """Return the split of that name."""
        return self._pairs.split(name)


def members_of(modality: Modality, source: str) -> dict[str, Modality]:
    """Return the modality of each member.

    Raises:
        UserError: the views are of one modality.
    """
    if isinstance(modality, PairedModality):
        return modality.members
    raise UserError(f"data.source: {source!r} gives samples of several members; write views per member.")


def _reader(path: Path, kind: Any) -> str | None:
    return reader(path, kind, "")  # sources of any modality; those of one make data rather than read paths


def _opened(
    members: Mapping[str, Modality], options: Mapping[str, Mapping[str, Any]], test: list[str]
) -> tuple[str, dict[str, Source]]:
    """Return the member whose names the patterns of the test split fit, or else the first, and all members' sources."""
    first, opened = next(iter(members)), {}
    refused: UserError | None = None
    if test:
        for member, modality in members.items():
            try:
                opened[member] = _open(member, modality, {**options[member], "test": test})
            except UserError as error:
                refused = refused or error
            else:
                first = member
                break
        else:
            assert refused is not None
            raise refused
    for member, modality in members.items():
        if member not in opened:
            opened[member] = _open(member, modality, options[member])
    return first, {member: opened[member] for member in members}


def _open(member: str, modality: Modality, options: Mapping[str, Any]) -> Source:
    path = Path(str(options["path"])).expanduser()
    if not path.exists():
        raise UserError(f"the data path {path} does not exist.")
    name = _reader(path, modality)  # not its class: one that decodes nothing has the endings of another
    if name is None:
        raise UserError(f"data.source: no source reads {path} as data of the modality {modality.spec.modality!r}.")
    try:
        return build_source(name, options, modality)
    except UserError as error:
        raise UserError(f"member {member}: {error}") from None


@dataclass
class _Found:
    """What a member's source holds.

    Attributes:
        splits: all of its splits.
        keys: the name of each of its samples, by which they belong together.
        of_split: the split that each is in.
        labels: of each sample, or None.
    """

    splits: list[Split]
    keys: list[str]
    of_split: list[str]
    labels: Tensor | None
    class_names: list[str] | None
    paths: bool

    @staticmethod
    def of(member: str, source: Source) -> _Found:
        """Open the splits of a source."""
        splits = [split_of(source, name) for name in source.splits]
        paths = all(split.names is not None for split in splits)
        keys, names = [], []
        for name, split in zip(source.splits, splits, strict=True):
            of = (
                [_without_ending(each) for each in split.names or ()]
                if paths
                else list(map(split.name, range(len(split))))
            )
            keys += of
            names += [name] * len(of)
        labelled = [split.labels for split in splits if split.labels is not None]
        labels = torch.cat(labelled) if len(labelled) == len(splits) else None
        return _Found(splits, keys, names, labels, splits[0].class_names, paths)

    def by_stem(self) -> None:
        """Take file names without their folders for keys."""
        self.keys = [key.rpartition("/")[2] for key in self.keys]


def _without_ending(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    return folder + slash + (name.rpartition(".")[0] or name)


@dataclass
class _Joined:
    """Rows of samples that belong together.

    Attributes:
        found: what each member's source holds.
        rows: {split: {member: its samples, or MISSING}}.
        keys: {split: their names}.
    """

    found: dict[str, _Found]
    rows: dict[str, dict[str, np.ndarray]]
    keys: dict[str, list[str]]
    matched: str = ""
    labels: dict[str, Tensor | None] = field(default_factory=dict)

    def split(self, name: str) -> PairedSplit:
        """Return a split; its labels are those of the first member that has some."""
        rows = self.rows[name]
        for member, found in self.found.items():
            if found.labels is not None:
                row = torch.from_numpy(rows[member])
                labels = torch.where(row == MISSING, -1, found.labels[row.clamp(min=0)])
                return PairedSplit(self._splits(), rows, labels, found.class_names)
        return PairedSplit(self._splits(), rows)

    def _splits(self) -> dict[str, list[Split]]:
        return {member: found.splits for member, found in self.found.items()}

    def notes(self) -> list[str]:
        """Return how many samples lack a member, with an example."""
        lacking = [
            (self.keys[split][i], member)
            for split, rows in self.rows.items()
            for member, row in rows.items()
            for i in np.flatnonzero(row == MISSING)
        ]
        total = sum(map(len, self.keys.values()))
        notes = [self.matched] if self.matched else []
        if lacking:
            name, member = lacking[0]
            num = len({key for key, _ in lacking})
            notes.append(f"{num} of {total} samples lack a member, for example {name} has no {member}.")
        return notes


def _joined(found: dict[str, _Found], first: str, match: Match, path: str) -> _Joined:
    """Put samples together whose keys are equal.

    Raises:
        UserError: none are, or two samples of a member have the same key.
    """
    matched = ""
    files = any(each.paths for each in found.values())
    if files and (match == "stem" or (match == "auto" and not _shared(found))):
        for each in found.values():
            each.by_stem()
        matched = f"{path}: files belong together by their names, whatever folder they lie in."
    if not _shared(found):
        examples = " and ".join(f"{each.keys[0]} ({member})" for member, each in found.items() if each.keys)
        raise UserError(f"{path}: no samples belong together by their names, such as {examples}.")
    where = {member: _index(member, each, path) for member, each in found.items()}
    order = dict(zip(found[first].keys, found[first].of_split, strict=True))
    for each in found.values():  # what the first member lacks
        for key, split in zip(each.keys, each.of_split, strict=True):
            order.setdefault(key, split if split in found[first].of_split else "train")
    keys: dict[str, list[str]] = {split: [] for split in dict.fromkeys(found[first].of_split)}
    for key, split in order.items():
        keys.setdefault(split, []).append(key)
    rows = {
        split: {member: np.array([index.get(key, MISSING) for key in of]) for member, index in where.items()}
        for split, of in keys.items()
    }
    return _Joined(found, rows, keys, matched)


def _shared(found: Mapping[str, _Found]) -> set[str]:
    return set.intersection(*(set(each.keys) for each in found.values()))


def _index(member: str, found: _Found, path: str) -> dict[str, int]:
    index = {key: i for i, key in enumerate(found.keys)}
    if len(index) < len(found.keys):
        twice = next(key for i, key in enumerate(found.keys) if index[key] != i)
        raise UserError(
            f"{path}: several files of the member {member} are called {twice}, so that it is not clear what belongs to "
            "them; name the folders by data.source.folders, and use data.source.match=path."
        )
    return index

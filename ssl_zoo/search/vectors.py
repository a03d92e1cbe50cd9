"""The vectors of all samples at unit length, on the disk, with what is known of the samples."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ssl_zoo.batch import View
from ssl_zoo.data.paired import PairedModality, PairedViews
from ssl_zoo.data.source import Modality, Sample, ViewPolicy
from ssl_zoo.errors import UserError, shown_name
from ssl_zoo.evaluation.encoding import Encoding, OpenRun, open_run, pieces
from ssl_zoo.evaluation.feature_parts import differing
from ssl_zoo.evaluation.stored_features import StoredFeatures, read_features

Log = Callable[[str], None]
Array = Any
"""A numpy array, or a memory map of one."""


class Searched:
    """A run's encoder with the samples that are searched.

    Args:
        opened: the run and the samples.
        column: of the vectors, as `OpenRun.dims` names it.

    Attributes:
        opened: the same.
        column: the same.
        member: whose vectors they are, of samples that are mappings; else empty.
    """

    def __init__(self, opened: OpenRun, column: str) -> None:
        self.opened, self.column = opened, column
        self.member = column.removeprefix("vector").removeprefix("_")

    @property
    def policy(self) -> ViewPolicy:
        """The view policy, that of the member where there is one."""
        policy = self.opened.policy
        return dict(policy.each())[self.member] if isinstance(policy, PairedViews) else policy

    @property
    def modality(self) -> Modality:
        """The modality, that of the member where there is one."""
        modality = self.opened.data.modality
        return modality.members[self.member] if isinstance(modality, PairedModality) else modality

    def looks(self, sample: Sample) -> list[View]:
        """Return what the encoder sees of a sample of the modality."""
        views = self.policy.looks([sample])
        return [replace(view, modality=self.member) for view in views] if self.member else views


class Vectors(Searched):
    """The vectors of samples, each at unit length, so that products are cosines.

    Args:
        searched: the encoder and the samples.
        x: float32 `(N, D)`, an array or a memory map.
        split: `(N,)` which of the splits a sample is in, by number.
        index: `(N,)` its position there.
        bad: `{name: reason}` of samples that could not be read.
    """

    def __init__(self, searched: Searched, x: Array, split: Array, index: Array, bad: dict[str, str]) -> None:
        super().__init__(searched.opened, searched.column)
        self.x, self.split, self.index, self.bad = x, split, index, bad
        self._splits = list(self.opened.splits.values())

    def __len__(self) -> int:
        return len(self.x)

    def path(self, i: int) -> str:
        """Return the name of sample `i` as its source knows it."""
        return self._splits[self.split[i]].name(int(self.index[i]))

    def name(self, i: int) -> str:
        """Return the name of sample `i` in printable characters."""
        return shown_name(self.path(i))

    def label(self, i: int) -> str | None:
        """Return the class of sample `i`, by its name where it has one; None without a label."""
        split = self._splits[self.split[i]]
        label = -1 if split.labels is None else int(split.labels[int(self.index[i])])
        if label < 0:
            return None
        return str(label) if split.class_names is None else shown_name(split.class_names[label])

    @property
    def labelled(self) -> bool:
        """Whether any sample may have a label."""
        return any(split.labels is not None for split in self._splits)

    def whole(self, i: int) -> Sample:
        """Return sample `i`, with all of its members.

        Raises:
            BadSample: it cannot be read.
        """
        return self._splits[self.split[i]].read(int(self.index[i]))

    def read(self, i: int) -> Sample:
        """Return sample `i`, or its member.

        Raises:
            BadSample: it cannot be read.
        """
        sample = self.whole(i)
        return sample[self.member] if self.member else sample


def open_searched(run: str | Path, data: Any, overrides: Sequence[str], member: str | None) -> Searched:
    """Open a run's encoder and the samples that are searched.

    Args:
        run: a finished run folder.
        data: other data than the run's: a place, several, or a data set of Python, see `ssl_zoo.data.given.take`.
        overrides: dotted keys on the run's recipe.
        member: of samples that are mappings, whose vectors are taken.

    Raises:
        UserError: no such run, data or member.
    """
    opened = open_run(run, data, overrides)
    return Searched(opened, _column(opened, member))


def vectors_of(searched: Searched, features: str | Path | None, place: Path, log: Log) -> Vectors:
    """Return the vectors of all samples: computed, or taken from a file.

    Samples whose vector is not finite are left out, and counted.

    Args:
        searched: the encoder and the samples.
        features: a file that `ssl_zoo.embed` has written, of the same encoder and samples.
        place: a folder; a file without a name holds the vectors there, and is gone when the process is.
        log: prints a line for the user.

    Raises:
        UserError: samples that cannot be read, vectors of another encoder or of other samples, or no sample with a
            finite vector.
    """
    opened, column = searched.opened, searched.column
    num, bad = sum(map(len, opened.splits.values())), dict(opened.data.bad)
    if features is None:
        found = _computed(opened, column, bad)
    else:
        found = _taken(read_features(features), Path(features), opened, column)
    file = tempfile.TemporaryFile(dir=place)
    x = np.memmap(file, dtype=np.float32, mode="w+", shape=(num, opened.dims[column]))
    file.close()  # the map keeps it, and it is gone with the map
    split, index = np.zeros(num, dtype=np.int8), np.zeros(num, dtype=np.int64)
    used = left = 0
    for number, positions, vectors in found:
        norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
        finite = np.isfinite(norms[:, 0])
        left += int((~finite).sum())
        kept = slice(used, used + int(finite.sum()))
        x[kept] = (vectors[finite] / np.maximum(norms[finite], 1e-12)).astype(np.float32)
        split[kept], index[kept] = number, np.asarray(positions, dtype=np.int64)[finite]
        used = kept.stop
    if left:
        log(f"{left} samples are left out: their vectors are not finite (nan or inf)")
    if bad:
        log(f"{len(bad)} samples cannot be read and are left out, for example {shown_name(next(iter(bad)))}")
    if not used:
        raise UserError(f"{opened.folder.path}: none of the {num} samples has a vector; name other data with --data.")
    return Vectors(searched, x[:used], split[:used], index[:used], bad)


def _column(opened: OpenRun, member: str | None) -> str:
    """Return the column of a member.

    Raises:
        UserError: there is none, or several and none is named.
    """
    names = {column.removeprefix("vector").removeprefix("_"): column for column in opened.dims}
    if member is None and len(names) == 1:
        return next(iter(names.values()))
    if member is None:
        raise UserError(f"samples have a vector for each member; name one of {', '.join(names)} with --member.")
    if member not in names or not member:
        known = f"name one of {', '.join(names)}" if "" not in names else "leave it out, samples have no members"
        raise UserError(f"--member {member}: there is no such member; {known}.")
    return names[member]


Block = tuple[int, Sequence[int], Array]
"""The number of a split, positions in it, and the vectors of the samples there."""


def _computed(opened: OpenRun, column: str, bad: dict[str, str]) -> Iterator[Block]:
    todo = pieces(opened)
    numbers = {name: number for number, name in enumerate(opened.splits)}
    with Encoding(opened) as encoding, progress(sum(each.stop - each.start for each in todo), "sample") as bar:
        for piece in todo:
            index, vectors, unread = encoding.encode(piece)
            bad |= unread
            bar.update(piece.stop - piece.start)
            yield numbers[piece.split], index, vectors[column]


def _taken(stored: StoredFeatures, path: Path, opened: OpenRun, column: str) -> Iterator[Block]:
    if difference := differing(stored.about, opened.about()):
        raise UserError(
            f"--features {path}: holds vectors of {difference}; leave it out, or write it anew by `ssl-zoo embed`."
        )
    if column not in stored.dims or stored.dims[column] != opened.dims[column]:
        raise UserError(f"--features {path}: has no {column} of {opened.dims[column]} numbers; write it anew.")
    where = _places(stored, opened)
    done = 0
    for block in stored.blocks(column):
        rows = where[done : done + len(block)]
        if len(rows) < len(block):
            raise UserError(f"--features {path}: has more vectors than names; write it anew.")
        for number in sorted({number for number, _ in rows}):
            at = [i for i, (each, _) in enumerate(rows) if each == number]
            yield number, [rows[i][1] for i in at], block[at]
        done += len(block)
    if done != len(where):
        raise UserError(f"--features {path}: has fewer vectors than names; write it anew.")


def _places(stored: StoredFeatures, opened: OpenRun) -> list[tuple[int, int]]:
    """Return the split and the position of each row: all samples, or those that could be read, in their order.

    Raises:
        UserError: the rows are not those of these samples.
    """
    places = [(number, i) for number, split in enumerate(opened.splits.values()) for i in range(len(split))]
    if len(stored.names) == len(places):
        return places
    splits, found = list(opened.splits.values()), []
    rest = iter(places)
    for name in stored.names:
        place = next(((s, i) for s, i in rest if shown_name(splits[s].name(i)) == name), None)
        if place is None:
            raise UserError(f"--features: its row {name} is no sample of these data, or not in their order.")
        found.append(place)
    return found


def progress(total: int, unit: str) -> tqdm[Any]:
    """Return a progress bar on standard error; none where that is no terminal."""
    return tqdm(total=total, unit=unit, disable=not sys.stderr.isatty(), leave=False)

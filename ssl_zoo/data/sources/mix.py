"""Several sources as one: put together, or drawn from by weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from ssl_zoo import registry
from ssl_zoo.data.blocks import Blocks
from ssl_zoo.data.draws import Draws, counts_of
from ssl_zoo.data.layout.classes import unify, without_labels
from ssl_zoo.data.open import build_source, split_of
from ssl_zoo.data.source import Modality, Sample, Source, Split
from ssl_zoo.errors import UserError
from ssl_zoo.registry import register


def _complete(part: str | dict[str, Any]) -> dict[str, Any]:
    """Return a source as `{name: ..., option: ...}`, all options stated."""
    given = {"name": part} if isinstance(part, str) else dict(part)
    name = given.pop("name", None)
    if not isinstance(name, str):
        raise ValueError("is written as NAME, PATH or {name: NAME, ...}")
    return {"name": name, **registry.check("source", name, given)}


OneSource = Annotated[str | dict[str, Any], AfterValidator(_complete)]


@register("source", "mix")
class Mix:
    """Several sources as one: `--data A --data B`. Their classes are matched by name, and their samples keep theirs.

    Without weights, an epoch has each sample once. With weights, an epoch of the training has so many samples of each
    source, exactly: drawn anew in each epoch where it has more, and again where it has fewer, each as often as the
    others. What is evaluated, and what `data check` counts, is each sample once. The splits `test` are put together.

    Args:
        modality: of the samples.
        sources: each NAME, PATH or `{name: NAME, option: value}`.
        weights: the share of each source in an epoch, of any sum; None: as many as it has.
        epoch: with weights, the samples of an epoch; None: as many as all sources have together.

    Attributes:
        notes: sentences of the sources, and about labels and splits that not all of them have.

    Raises:
        UserError: a source that cannot be opened, two that are the same, or weights that are not one for each source,
            or leave one without a sample in an epoch.
    """

    joins = True
    gives_members = None
    places = ()

    def __init__(
        self,
        modality: Modality,
        *,
        sources: Annotated[list[OneSource], Field(min_length=1)],
        weights: list[Annotated[float, Field(gt=0)]] | None = None,
        epoch: Annotated[int, Field(ge=1)] | None = None,
    ) -> None:
        parts = [part if isinstance(part, dict) else {"name": part} for part in sources]
        twice = [part for i, part in enumerate(parts) if part in parts[:i]]
        if twice:
            raise UserError(f"data.source.sources: {_called(twice[0])} is named twice; give it more weight instead.")
        if weights is not None and len(weights) != len(parts):
            raise UserError(f"data.source.weights: {len(weights)} for {len(parts)} sources; give one for each.")
        if weights is None and epoch is not None:
            raise UserError("data.source.epoch: goes with data.source.weights; give these too, or leave it out.")
        self._titles = _distinct([_called(part) for part in parts])
        self._sources = [_opened(i, part, modality) for i, part in enumerate(parts)]
        self._has_path = ["path" in part for part in parts]
        self._weights, self._epoch = weights, epoch
        self._of = {
            split: [i for i, source in enumerate(self._sources) if split in source.splits]
            for split in ("train", "test")
        }
        self._opened: dict[tuple[int, str], Split] = {}
        self.splits = tuple(split for split, of in self._of.items() if of)
        self.notes = (*self._notes_of_sources(), *self._notes_on_splits())

    def split(self, name: str) -> MixSplit:
        """Return the split of that name."""
        of = self._of[name]
        parts = [self._part(i, name) for i in of]
        labels, class_names = self._labelled(name, parts)
        draws = self._draws(parts) if name == "train" and self._weights is not None else None
        titles = [(self._titles[i], self._has_path[i]) for i in of]
        found = MixSplit(parts, titles, labels, class_names, draws)
        found.blocks = None if draws is not None else _joined([part.blocks for part in parts])
        return found

    def _part(self, i: int, name: str) -> Split:
        """Return a split of a source, opened once: it may be read into memory."""
        if (i, name) not in self._opened:
            self._opened[i, name] = split_of(self._sources[i], name)
        return self._opened[i, name]

    def _classes(self, i: int) -> list[str]:
        """Return the names of the classes of a source, the numbers where they have none."""
        found: list[str] = []
        for name in self._sources[i].splits:
            split = self._part(i, name)
            if split.labels is not None:
                found += split.class_names or list(map(str, range(int(split.labels.max()) + 1)))
        return list(dict.fromkeys(found))

    def _draws(self, parts: list[Split]) -> Draws:
        assert self._weights is not None
        sizes = [len(part) for part in parts]
        counts = counts_of(self._weights, self._epoch or sum(sizes))
        if 0 in counts:
            which = self._titles[counts.index(0)]
            raise UserError(
                f"data.source.weights: of {sum(counts)} samples in an epoch none is of {which}; raise its weight, or "
                "data.source.epoch."
            )
        return Draws(torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes)), tuple(counts))

    def _labelled(self, name: str, parts: list[Split]) -> tuple[Tensor | None, list[str] | None]:
        """Return labels that mean the same in all sources and splits, by the names of classes."""
        known = {i: self._classes(i) for i in range(len(self._sources))}
        classes, numbers, _ = unify({str(i): names for i, names in known.items() if names}, "the sources")
        if not classes:
            return None, None
        found = []
        for i, part in zip(self._of[name], parts, strict=True):
            if part.labels is None:
                found.append(torch.full((len(part),), -1))
                continue
            names = part.class_names or list(map(str, range(int(part.labels.max()) + 1)))
            table = torch.tensor([*(numbers[str(i), each] for each in names), -1])  # -1, no label, is the last
            found.append(table[part.labels])
        labels = without_labels(torch.cat(found))
        return labels, None if labels is None else classes

    def _notes_of_sources(self) -> Iterable[str]:
        for title, source in zip(self._titles, self._sources, strict=True):
            yield from (note if title in note else f"{title}: {note}" for note in source.notes)

    def _notes_on_splits(self) -> Iterable[str]:
        lacking = [self._titles[i] for i in range(len(self._sources)) if i not in self._of["test"]]
        if self._of["test"] and lacking:
            num = f"{len(self._of['test'])} of the {len(self._sources)} sources"
            yield f"the test split is of {num}; {lacking[0]} has none."
        read_together = [self._part(i, "train").blocks is not None for i in self._of["train"]]
        if any(read_together) and (self._weights is not None or not all(read_together)):
            why = "with weights" if self._weights is not None else "beside another source"
            yield f"{why}, shards are read sample by sample in a random order, slowly where memory does not hold all."
        unlabelled = [title for i, title in enumerate(self._titles) if self._part(i, "train").labels is None]
        if 0 < len(unlabelled) < len(self._sources):
            yield f"no labels in {', '.join(unlabelled)}; those of the other sources are used."


def _joined(blocks: Sequence[Blocks | None]) -> Blocks | None:
    """Return the blocks of several splits, one after the other; None where one of them has none."""
    known = [each for each in blocks if each is not None]
    if len(known) < len(blocks):
        return None
    sizes = np.concatenate([each.sizes for each in known])
    return Blocks(sizes, max(each.streams for each in known), max(each.held for each in known))


def _opened(i: int, part: Mapping[str, Any], modality: Modality) -> Source:
    options = {key: value for key, value in part.items() if key != "name"}
    try:
        return build_source(part["name"], options, modality)
    except UserError as error:
        raise UserError(f"data.source.sources.{i}: {error}") from None


def _called(part: Mapping[str, Any]) -> str:
    path = part.get("path")
    return Path(path).name or str(path) if isinstance(path, str) else str(part["name"])


def _distinct(names: list[str]) -> list[str]:
    """Return names, with a number where one comes again: `photos`, `photos-2`."""
    made: list[str] = []
    for name in names:
        number, made_name = 1, name
        while made_name in made:
            number += 1
            made_name = f"{name}-{number}"
        made.append(made_name)
    return made


class MixSplit(Split):
    """The samples of several splits, one after the other.

    Args:
        parts: the splits.
        titles: of each, a name, and whether its samples have names that tell it from the others: paths.
        labels: of all samples, or None.
        class_names: of the labels.
        draws: how many samples of each an epoch has; None: each sample once.
    """

    def __init__(
        self,
        parts: list[Split],
        titles: list[tuple[str, bool]],
        labels: Tensor | None,
        class_names: list[str] | None,
        draws: Draws | None = None,
    ) -> None:
        self._parts, self._titles = parts, titles
        self._ends = list(accumulate(map(len, parts)))
        self.labels, self.class_names, self.draws = labels, class_names, draws

    def __len__(self) -> int:
        return self._ends[-1]

    def _at(self, i: int) -> tuple[int, int]:
        """Return the part of sample `i`, and its position there."""
        part = int(np.searchsorted(self._ends, i, side="right"))
        return part, i - (self._ends[part - 1] if part else 0)

    def read(self, i: int) -> Sample:
        """Return sample `i`, as its source gives it."""
        part, place = self._at(i)
        return self._parts[part].read(place)

    def name(self, i: int) -> str:
        """Return the path of sample `i`, or its name in its source behind the name of that."""
        part, place = self._at(i)
        title, has_path = self._titles[part]
        name = self._parts[part].name(place)
        return name if has_path and title in name else f"{title}: {name}"

    def remarks(self, i: int) -> tuple[str, ...]:
        """Return notes on how sample `i` was understood."""
        part, place = self._at(i)
        return self._parts[part].remarks(place)

    def unreadable(self) -> Mapping[str, str]:
        """See `Split`."""
        return {name: reason for part in self._parts for name, reason in part.unreadable().items()}

    def sizes(self) -> Iterable[int] | None:
        """See `Split`."""
        each = [part.sizes() for part in self._parts]
        if all(sizes is None for sizes in each):
            return None
        return [
            size
            for part, sizes in zip(self._parts, each, strict=True)
            for size in ([-1] * len(part) if sizes is None else sizes)
        ]

"""Samples that are mappings, made of two labelled sources: samples of one class are put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field

from ssl_zoo import rng
from ssl_zoo.data.open import build_source, split_of
from ssl_zoo.data.paired_split import PairedSplit
from ssl_zoo.data.source import Modality, Source, Split
from ssl_zoo.data.sources.pairs import members_of
from ssl_zoo.errors import UserError, suggest
from ssl_zoo.registry import register


@register("source", "same_label")
class SameLabel:
    """Pairs made of labelled sources: each sample of one is put together with one of the same class of the others.

    The labels serve to make the data set, once: which samples belong together is fixed by the seed. No method sees
    them. Of each class there are as many pairs as the member with the most samples has; samples of the others come
    several times, as evenly as possible. Splits stay apart: `test` has the test samples of all members.

    Args:
        modality: of the members.
        sources: {member: its source, as `data.source` is written}.
        seed: of the choice.

    Attributes:
        notes: sentences of the members' sources, and about classes that not all of them have.

    Raises:
        UserError: a member without source or labels, or no class that all of them have.
    """

    gives_members = True

    def __init__(
        self,
        modality: Modality,
        *,
        sources: dict[str, str | dict[str, Any]],
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        members = members_of(modality, "same_label")
        for name in sources:
            if name not in members:
                raise UserError(f"data.source.sources.{name}: the views have no such member{suggest(name, members)}")
        for name in members:
            if name not in sources:
                raise UserError(
                    f"data.source.sources: has none for the member {name!r} of the views; add {name}: NAME."
                )
        self._seed = seed
        self._sources = {member: _opened(member, sources[member], of) for member, of in members.items()}
        shared = set.intersection(*(set(source.splits) for source in self._sources.values()))
        self.splits = tuple(name for name in next(iter(self._sources.values())).splits if name in shared)
        self._names = self._shared()
        self._pairs = {name: self._paired(name) for name in self.splits}
        self.notes = (
            "pairs are made of samples with the same label, which no method sees.",
            *(f"{member}: {note}" for member, source in self._sources.items() for note in source.notes),
            *self._notes(),
        )

    def split(self, name: str) -> PairedSplit:
        """Return the split of that name."""
        return self._pairs[name]

    def _shared(self) -> list[str]:
        """Return the classes that all members have samples of to train on."""
        classes = {member: _classes(member, split_of(source, "train")) for member, source in self._sources.items()}
        first = next(iter(classes.values()))
        shared = [name for name in first if all(name in mine for mine in classes.values())]
        if not shared:
            examples = " and ".join(f"{', '.join(list(mine)[:3])} ({member})" for member, mine in classes.items())
            raise UserError(f"data.source.sources: the members have no class in common, such as {examples}.")
        return shared

    def _paired(self, name: str) -> PairedSplit:
        splits = {member: split_of(source, name) for member, source in self._sources.items()}
        classes = {member: _classes(member, split) for member, split in splits.items()}
        rows: dict[str, list[np.ndarray]] = {member: [] for member in splits}
        labels: list[int] = []
        for number, each in enumerate(self._names):
            if not all(each in mine for mine in classes.values()):
                continue  # none in this split
            num = max(len(mine[each]) for mine in classes.values())
            labels += [number] * num
            for member, mine in classes.items():
                rows[member].append(self._repeated(mine[each], num, f"{name} {member} {each}"))
        joined = {member: np.concatenate(parts or [np.empty(0, np.int64)]) for member, parts in rows.items()}
        return PairedSplit({m: [split] for m, split in splits.items()}, joined, torch.tensor(labels), self._names)

    def _repeated(self, rows: np.ndarray, num: int, what: str) -> np.ndarray:
        """Return `num` of the rows in a random order; each comes again only after all have come."""
        generator = rng.generator(self._seed, f"same_label {what}")
        rounds = [torch.randperm(len(rows), generator=generator).numpy() for _ in range(-(-num // len(rows)))]
        return rows[np.concatenate(rounds)[:num]]

    def _notes(self) -> list[str]:
        notes = []
        for member, source in self._sources.items():
            if missing := [name for name in source.splits if name not in self.splits]:
                notes.append(f"{member}: its split {missing[0]} is left out, as not all members have it.")
            classes = _classes(member, split_of(source, "train"))
            alone = [name for name in classes if name not in self._names]
            if alone:
                notes.append(
                    f"{member}: {len(alone)} classes that not all members have are left out, such as {alone[0]}."
                )
        return notes


def _opened(member: str, part: str | Mapping[str, Any], modality: Modality) -> Source:
    options = {"name": part} if isinstance(part, str) else dict(part)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise UserError(f"data.source.sources.{member}: is written as NAME or {{name: NAME, ...}}.")
    try:
        return build_source(name, options, modality)
    except UserError as error:
        raise UserError(f"data.source.sources.{member}: {error}") from None


def _classes(member: str, split: Split) -> dict[str, np.ndarray]:
    """Return {class: positions of its samples}; samples without a label are left out."""
    if split.labels is None or not bool((split.labels >= 0).any()):
        raise UserError(f"data.source.sources.{member}: has no labels to put samples together by.")
    labels, names = split.labels.numpy(), split.class_names
    return {
        names[label] if names else str(label): np.flatnonzero(labels == label)
        for label in np.unique(labels[labels >= 0])
    }

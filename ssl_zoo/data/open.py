"""From the `data:` section of a recipe to opened splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ssl_zoo import registry
from ssl_zoo.data.memory import Cache, load
from ssl_zoo.data.source import Modality, Source, Split
from ssl_zoo.errors import UserError


@dataclass(frozen=True)
class OpenData:
    """The opened splits of a source.

    Attributes:
        train: the split to train on.
        test: the split to evaluate on, if the source has one.
        bad: samples that could not be read, name -> reason.
        modality: of the samples.
        notes: sentences of the source about what was left out, and how the data were understood.
    """

    train: Split
    test: Split | None
    bad: dict[str, str]
    modality: Modality
    notes: tuple[str, ...] = ()


class SourcePart(Protocol):
    """A registered source, as a recipe names it."""

    @property
    def name(self) -> str:
        """Its registered name."""

    @property
    def options(self) -> Mapping[str, Any]:
        """Values of its options."""


class DataSection(Protocol):
    """The `data:` section of a recipe, as far as opening the data needs it."""

    @property
    def source(self) -> SourcePart | None:
        """Where the data come from, if the recipe names a source."""

    @property
    def cache(self) -> Cache:
        """See `load`."""

    @property
    def on_error(self) -> Literal["raise", "skip"]:
        """See `load`."""

    @property
    def bad_budget(self) -> float:
        """See `load`."""


def open_data(section: DataSection, modality: Modality) -> OpenData:
    """Open the splits `train` and `test` of a source, decoded into memory where they fit.

    Args:
        section: the `data:` section of a recipe.
        modality: of the views.

    Raises:
        UserError: the section names no source, or its data cannot be read.
    """
    if section.source is None:
        raise UserError("the recipe names no data; give --data PATH (a folder, zip or parquet) or --data digits.")
    source: Source = registry.build("source", section.source.name, section.source.options, modality=modality)
    splits = {
        name: load(source.split(name), section.cache, section.on_error, section.bad_budget)
        for name in ("train", "test")
        if name in source.splits
    }
    bad = {name: reason for split in splits.values() for name, reason in split.bad.items()}
    return OpenData(splits["train"], splits.get("test"), bad, modality, tuple(source.notes))

"""From the `data:` section of a recipe to opened splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

from ssl_zoo import registry
from ssl_zoo.data.contents import Contents, contents_of
from ssl_zoo.data.given import Given
from ssl_zoo.data.memory import Cache, load
from ssl_zoo.data.shared import Sharing, load_shared
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
        contents: what the samples to train on are, so that others are noticed; None where it was not asked for.
    """

    train: Split
    test: Split | None
    bad: dict[str, str]
    modality: Modality
    notes: tuple[str, ...] = ()
    contents: Contents | None = None


class SourcePart(Protocol):
    """A registered source, as a recipe names it."""

    @property
    def name(self) -> str:
        """Its registered name."""

    @property
    def options(self) -> Mapping[str, Any]:
        """Values of its options."""


def build_source(name: str, options: Mapping[str, Any], modality: Modality, given: Given | None = None) -> Source:
    """Build a registered source.

    Args:
        name: of the source.
        options: of it.
        modality: of the samples.
        given: data sets as Python objects, for the source of these.

    Raises:
        PartFailed: it does not keep the contract of a `Source`.
    """
    source: Source = registry.build("source", name, options, modality=modality, given=given)
    for attribute, what in (("splits", "the names of its splits, train first"), ("notes", "sentences, or none")):
        if not isinstance(getattr(source, attribute, None), tuple):
            raise registry.PartFailed(f"source {name!r}: must have the attribute {attribute}, a tuple: {what}.")
    if "train" not in source.splits:
        raise registry.PartFailed(f"source {name!r}: its splits must include train.")
    return source


def split_of(source: Source, name: str) -> Split:
    """Return a split of a source.

    Raises:
        PartFailed: it is no `Split`.
    """
    split = source.split(name)
    if not isinstance(split, Split):
        raise registry.PartFailed(
            f"source {type(source).__name__}: its split {name!r} is a {type(split).__name__}, which must be derived "
            "from ssl_zoo.data.source.Split."
        )
    return split


def open_data(
    source: SourcePart | None,
    modality: Modality,
    cache: Cache = "auto",
    on_error: Literal["raise", "skip"] = "raise",
    bad_budget: float = 0.001,
    given: Given | None = None,
    compared: bool = False,
    sharing: Sharing | None = None,
) -> OpenData:
    """Open the splits `train` and `test` of a source, decoded into memory where they fit.

    Args:
        source: of a recipe, if it names one.
        modality: of the views.
        cache: see `load`.
        on_error: see `load`.
        bad_budget: see `load`.
        given: data sets as Python objects, for the source of these.
        compared: whether to look at the contents of some samples, so that a resumed run notices other data.
        sharing: the processes that open the same data; on each machine they have one copy in memory.

    Raises:
        UserError: there is no source, or its data cannot be read.
    """
    if source is None:
        raise UserError("the recipe names no data; give --data PATH (a folder, zip or parquet) or --data digits.")
    opened = build_source(source.name, source.options, modality, given)
    train = split_of(opened, "train")
    contents = contents_of(train) if compared else None
    read = load if sharing is None else partial(load_shared, sharing=sharing)
    how: Any = {"cache": cache, "on_error": on_error, "bad_budget": bad_budget, "modality": modality}
    splits = {"train": read(train, **how)}
    del train  # what it holds may be large, and is in memory decoded
    if "test" in opened.splits:
        splits["test"] = read(split_of(opened, "test"), **how)
    bad = {name: reason for split in splits.values() for name, reason in split.bad.items()}
    return OpenData(splits["train"], splits.get("test"), bad, modality, tuple(opened.notes), contents)

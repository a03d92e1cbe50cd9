"""Reports on a data source before training: `ssl-zoo data check` and `ssl-zoo data stats`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ssl_zoo.data.check import check_source, statistics
from ssl_zoo.data.open import build_source, split_of
from ssl_zoo.data.source import Modality, Source
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation import labels
from ssl_zoo.methods.build import build_modality, build_views
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.recipe.part import Part
from ssl_zoo.recipe.resolve import open_source


def check_data(
    source: str, overrides: Sequence[str] = (), *, channels: int | None = None, modality: str | None = None
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Read every sample of a source and report on each split.

    Args:
        source: a folder, zip or parquet, or the name of a registered source.
        overrides: KEY=VALUE on `data.source` and `data.decode`.
        channels: of the samples; None takes those of the first where they are not converted, and else 3 (RGB).
        modality: of the samples; None takes the one of the source, or the only one that reads files.

    Returns:
        `{split: report}`, see `check_source`, and notes, a sentence each: files that are left out, and labels that
        limit the evaluation.

    Raises:
        UserError: no such source or option, or a source that cannot be opened.
    """
    opened, kind = open_source(source, overrides, channels, modality)
    splits = {name: split_of(opened, name) for name in opened.splits}
    reports = {name: check_source(split, kind) for name, split in splits.items()}
    return reports, [*opened.notes, *labels.notes(labels.labels_of(splits["train"], splits.get("test")))]


def data_stats(
    source: str,
    overrides: Sequence[str] = (),
    *,
    channels: int | None = None,
    modality: str | None = None,
    recipe: str | None = None,
) -> dict[str, Any]:
    """Read every sample to train on for the statistics by which views are normalised.

    Args:
        source: a folder, zip or parquet, or the name of a registered source.
        overrides: KEY=VALUE on `data.source` and `data.decode`.
        channels: as in `check_data`.
        modality: as in `check_data`.
        recipe: whose views the statistics are for, where the values of samples depend on them, as those of spectrograms
            do; `overrides` are then on any of its keys.

    Returns:
        What `statistics` returns of the split `train`; `channels`, their number; and `views`, the options of views that
        follow: `channels`, `mean` and `std`. A channel that is the same everywhere gets 1 as its `std` there, since it
        may not be divided by 0.

    Raises:
        UserError: no such source or option, a source that cannot be opened, no sample that can be read, or samples
            without channels, such as texts.
    """
    if recipe is None:
        opened, kind = open_source(source, overrides, channels, modality)
        known: Mapping[str, Any] = {"channels": 0, "mean": [], "std": []}
    else:
        opened, kind, known = _of_recipe(load_recipe(recipe, overrides, data=source), recipe)
    report = statistics(split_of(opened, "train"), kind)
    if report["num_bad"] == report["num_samples"]:
        name, reason = next(iter(report["bad"].items()), ("", "there is none"))
        raise UserError(f"none of the {report['num_samples']} samples can be read, for example {name}: {reason}.")
    if not report["mean"]:
        raise UserError(
            f"{source}: there are no statistics of samples of the modality {kind.spec.modality!r}"
            + ("; where they depend on the views, as for spectrograms, give --recipe." if recipe is None else ".")
        )
    found = {"channels": len(report["mean"]), "mean": report["mean"], "std": [each or 1.0 for each in report["std"]]}
    views = {
        name: value if isinstance(known[name], (list, tuple)) or not isinstance(value, list) else value[0]
        for name, value in found.items()
        if name in known
    }
    return {"channels": len(report["mean"]), "views": views, **report}


def _of_recipe(recipe: Recipe, name: str) -> tuple[Source, Modality, Mapping[str, Any]]:
    """Return the source, the modality, and the options of the views of a recipe."""
    if recipe.members:
        raise UserError(f"--recipe {name}: has views of several members; give a recipe of one of them.")
    kind = build_modality(recipe, build_views(recipe).spec)
    assert recipe.data.source is not None  # it is what --data was given
    assert isinstance(recipe.views, Part)
    return build_source(recipe.data.source.name, recipe.data.source.options, kind), kind, recipe.views.options

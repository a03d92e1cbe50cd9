"""A report on a data source before training: `ssl-zoo data check`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ssl_zoo import registry
from ssl_zoo.data import check_source
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation import labels
from ssl_zoo.recipe.overrides import put, split
from ssl_zoo.recipe.resolve import resolve


def check_data(
    source: str, overrides: Sequence[str] = (), *, channels: int = 3
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Read every sample of a source and report on each split.

    Args:
        source: a folder, zip or parquet, or the name of a registered source.
        overrides: of the source's options, `data.source.OPTION=VALUE`.
        channels: of the samples.

    Returns:
        `{split: report}`, see `check_source`, and notes, a sentence each: files that are left out, and labels that
        limit the evaluation.

    Raises:
        UserError: no such source or option, or a source that cannot be opened.
    """
    part = _source(source, overrides)
    opened = registry.build("source", part.pop("name"), part, channels=channels)
    splits = {name: opened.split(name) for name in opened.splits}
    reports = {name: check_source(split) for name, split in splits.items()}
    notes = [*getattr(opened, "notes", ()), *labels.notes(labels.labels_of(splits["train"], splits.get("test")))]
    return reports, notes


def _source(text: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Return the source that a text stands for, in the form of a recipe, with the overrides applied."""
    raw: dict[str, Any] = {"data": {"source": resolve(text)}}
    for override in overrides:
        key, value = split(override)
        if not key.startswith("data.source."):
            raise UserError(f"-s {override}: data check takes options of the source only: -s data.source.OPTION=VALUE.")
        put(raw, key, value, "-s ")
    return dict(raw["data"]["source"])

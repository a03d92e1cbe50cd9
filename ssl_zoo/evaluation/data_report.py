"""A report on a data source before training: `ssl-zoo data check`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ssl_zoo.data import check_source
from ssl_zoo.data.open import split_of
from ssl_zoo.evaluation import labels
from ssl_zoo.recipe.resolve import open_source


def check_data(
    source: str, overrides: Sequence[str] = (), *, channels: int = 3, modality: str | None = None
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Read every sample of a source and report on each split.

    Args:
        source: a folder, zip or parquet, or the name of a registered source.
        overrides: KEY=VALUE on `data.source` and `data.decode`.
        channels: of the samples.
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

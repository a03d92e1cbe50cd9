"""Reports on a data source before training: `ssl-zoo data check` and `ssl-zoo data stats`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ssl_zoo.data.check import check_source, statistics
from ssl_zoo.data.open import split_of
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation import labels
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
    source: str, overrides: Sequence[str] = (), *, channels: int | None = None, modality: str | None = None
) -> dict[str, Any]:
    """Read every sample to train on for the statistics by which views are normalised.

    Args:
        source: a folder, zip or parquet, or the name of a registered source.
        overrides: KEY=VALUE on `data.source` and `data.decode`.
        channels: as in `check_data`.
        modality: as in `check_data`.

    Returns:
        What `statistics` returns of the split `train`, and `channels`, their number.

    Raises:
        UserError: no such source or option, a source that cannot be opened, no sample that can be read, or samples
            without channels, such as texts.
    """
    opened, kind = open_source(source, overrides, channels, modality)
    report = statistics(split_of(opened, "train"), kind)
    if report["num_bad"] == report["num_samples"]:
        name, reason = next(iter(report["bad"].items()), ("", "there is none"))
        raise UserError(f"none of the {report['num_samples']} samples can be read, for example {name}: {reason}.")
    if not report["mean"]:
        raise UserError(
            f"{source}: samples of the modality {kind.spec.modality!r} have no channels whose mean and deviation would "
            "be taken: their views take no mean and std."
        )
    return {"channels": len(report["mean"]), **report}

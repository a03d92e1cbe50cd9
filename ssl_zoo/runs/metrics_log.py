"""The lines of a run's `metrics.jsonl`, checked when they are read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ssl_zoo.errors import UserError


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a run's `metrics.jsonl`; a last line that a kill cut short is left out.

    Those of the training have `loss`, those of evaluations during it `evaluation`; all have `step`.

    Args:
        path: of the file; none is there before the first record.

    Raises:
        UserError: the file cannot be read, or a line is not a record of a run.
    """
    if not path.is_file():
        return
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not a text file in UTF-8.") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}.") from None
    for number, line in enumerate(text.split("\n")[:-1], start=1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not _is_record(record):
            raise UserError(f"{path}: line {number} is not a record of a run of ssl_zoo.")
        yield record


def _is_record(record: Any) -> bool:
    """Return whether a line of `metrics.jsonl` has the keys that its readers use."""
    if not isinstance(record, dict) or type(record.get("step")) is not int:
        return False
    if "evaluation" in record:
        found = record["evaluation"]
        return isinstance(found, dict) and all(
            isinstance(each, dict) and all(map(_is_number, each.values())) for each in found.values()
        )
    if "loss" not in record:
        return False
    embedding = record.get("embedding", {})
    return isinstance(embedding, dict) and all(map(_is_number, (record["loss"], *embedding.values())))


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))

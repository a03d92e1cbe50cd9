"""The records of the guard's runs: reading them, without the parts that training them needs."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RECORDS = HERE / "records.json.gz"
DIGITS = 4


def rounded(value: Any) -> Any:
    """Return plain data with floats of four digits; what is not finite becomes null."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value


def read(path: Path = RECORDS) -> dict[str, Any]:
    """Return {"about": versions, "runs": records}."""
    return json.loads(gzip.decompress(path.read_bytes())) if path.is_file() else {"about": {}, "runs": []}


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a file with one on each line."""
    if path.is_file():
        yield from map(json.loads, path.read_text(encoding="utf-8").splitlines())

"""The recipes of runs on the page, and in what they differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from ssl_zoo.recipe.display_name import called
from ssl_zoo.report.aggregate import Group
from ssl_zoo.report.table import Table
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.runs.report_data import shortened

_LONGEST = 80
"""Characters of a value in the table."""


def recipes(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return the recipe of each group's first run: `name`, `method`, `content` and `plain`."""
    found = []
    for group in groups:
        path = RunFolder(group.runs[0]).recipe if group.runs else None
        if path is not None and path.is_file():
            content = path.read_text(encoding="utf-8")
            plain = yaml.safe_load(content)
            found.append({"name": group.name, "method": called(plain), "content": content, "plain": plain})
    return found


def differences(found: Sequence[Mapping[str, Any]]) -> Table | None:
    """Return a table of the keys in which recipes differ, a column for each; None where they do not."""
    flat = [dict(_flat(each["plain"])) for each in found]
    keys = list(dict.fromkeys(key for each in flat for key in each if key != "seed"))
    rows = [[key, *(_shown(each, key) for each in flat)] for key in keys]
    rows = [row for row in rows if len(set(row[1:])) > 1]
    return Table(["key", *(each["name"] for each in found)], rows) if rows else None


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value); lists of parts by their number."""
    if isinstance(value, Mapping) and value:
        for key, each in value.items():
            yield from _flat(each, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
        for number, each in enumerate(value):
            yield from _flat(each, f"{path}.{number}")
    else:
        yield path, value


def _shown(flat: Mapping[str, Any], key: str) -> str:
    if key not in flat:
        return "-"
    value = flat[key]
    return shortened(value if isinstance(value, str) else json.dumps(value, default=str), _LONGEST)

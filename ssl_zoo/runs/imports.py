"""The user's modules of a recipe's parts, which `--import` has to name before a run is read again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ssl_zoo import registry
from ssl_zoo.errors import UserError
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.runs.folder import RunFolder

_LARGEST = 2**20
"""The most characters of a card or a summary that are read."""
_LONGEST = 200
"""Characters of a module's name; longer ones name none."""


def used_modules(recipe: Recipe) -> list[str]:
    """Return the modules outside this package that parts of a recipe come from, sorted; a notebook has none."""
    names = set(_names(recipe.dump()))
    found = {
        entry.factory.__module__
        for kind in registry.PACKAGES
        for entry in registry.entries(kind)
        if entry.name in names or (entry.name.endswith("/*") and any(n.startswith(entry.name[:-1]) for n in names))
    }
    return sorted(each for each in found if each.partition(".")[0] not in ("ssl_zoo", "__main__"))


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("name"), str):
            yield value["name"]
        for each in value.values():
            yield from _names(each)
    elif isinstance(value, list):
        for each in value:
            yield from _names(each)


def check_imported(run: str | Path) -> None:
    """Make sure that the modules which a run's card names are imported, or its summary while it has no card.

    Raises:
        UserError: one is not imported; a file never causes an import.
    """
    registry.names("encoder")  # imports the installed plug-ins
    folder = RunFolder(run)
    for module in _modules(folder.card if folder.card.is_file() else folder.summary):
        if module not in sys.modules:
            raise UserError(f"{run}: has parts of the module {module}; give --import {module} (import it, in Python).")


def _modules(card: Path) -> list[str]:
    """Return the modules that a card or summary names; empty where it cannot be read, which its reader reports."""
    if not card.is_file():
        return []
    try:
        with card.open(encoding="utf-8") as file:
            found = json.loads(file.read(_LARGEST))["imports"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return []
    named = [each for each in found if isinstance(each, str)] if isinstance(found, list) else []
    return [each for each in named if len(each) <= _LONGEST]

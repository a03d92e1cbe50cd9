"""Changes of a recipe within a run: what the guard's policy `rollback` may turn, and how.

A value replaces what is there; `0.5x` multiplies it. Only settings that leave weights, optimizer state and data as they
are can be turned.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatch
from typing import Any

from ssl_zoo.errors import UserError
from ssl_zoo.recipe.model import Recipe, parse
from ssl_zoo.recipe.overrides import put

TURNABLE = (
    "training.base_lr", "training.clip_grad", "training.optimizer.weight_decay", "objective.*.weight",
    "target.momentum",
)  # fmt: skip
"""Keys that may be turned in the middle of a run."""

_FACTOR = re.compile(r"(\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)x")


def changed(recipe: Recipe) -> tuple[Recipe, dict[str, list[Any]]]:
    """Return a recipe with its `guard.change` made, and {key: [old value, new value]}.

    Raises:
        UserError: a key that cannot be turned, a factor of what is no number, or a value that is not allowed.
    """
    raw, made = recipe.dump(), {}
    for key, value in recipe.guard.change.items():
        where = f"guard.change: {key}"
        if not any(fnmatch(key, pattern) for pattern in TURNABLE):
            raise UserError(f"{where}: cannot be turned in the middle of a run; these can: {', '.join(TURNABLE)}.")
        old = value_at(raw, key)
        new = _times(old, value, where)
        put(raw, key, new, "guard.change: ")
        made[key] = [old, new]
    after = parse(raw, "guard.change")
    if after.dump() == recipe.dump():
        raise UserError("guard.change: changes nothing, so that a rollback would end as before; name another value.")
    return after, made


def _times(old: Any, value: Any, where: str) -> Any:
    """Return a new value: the given one, or the old one times the factor that it is."""
    factor = _FACTOR.fullmatch(value) if isinstance(value, str) else None
    if factor is None:
        return value
    if not isinstance(old, int | float) or isinstance(old, bool):
        raise UserError(f"{where}: {value} of {old!r}, which is no number; give the new value itself.")
    return float(f"{old * float(factor[1]):.6g}")


def value_at(raw: Any, key: str) -> Any:
    """Return the value of a dotted key of a recipe's plain data, or None; a term is found by its name or number."""
    node = raw
    for step in key.split("."):
        if isinstance(node, list):
            named = [each for each in node if isinstance(each, Mapping) and each.get("name") == step]
            node = named[0] if named else node[int(step)] if step.isdigit() and int(step) < len(node) else None
        else:
            node = node.get(step) if isinstance(node, Mapping) else None
    return node

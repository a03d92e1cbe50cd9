"""What a recipe is called once its parts were changed: `simsiam + target=ema`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ssl_zoo.recipe.load import load_recipe, method_names
from ssl_zoo.recipe.model import DEFAULT_KIND


def called(recipe: Mapping[str, Any]) -> str:
    """Return the name of a recipe's method, and each part of it that is not the method's own.

    Settings of a part (`target.momentum`) and parts that belong to an experiment and not to a method (encoder, views,
    optimizer) are no change of method.

    Args:
        recipe: a resolved recipe as plain data, as a run folder holds it.
    """
    method = str(recipe["method"])
    if method not in method_names():
        return method
    own = load_recipe(method)
    if recipe.get("kind", DEFAULT_KIND) != own.kind:
        return f"{method} + kind={recipe.get('kind', DEFAULT_KIND)}"
    mine = own.dump()
    parts = [key for key in own.options if _names(mine[key])]
    changed = [f"{key}={_names(recipe[key])}" for key in parts if _names(recipe[key]) != _names(mine[key])]
    return " + ".join([method, *changed])


def _names(part: Any) -> str:
    if isinstance(part, list):
        names = list(map(_names, part))
        if not any(names):  # a list of settings, not of parts
            return ""
        return f"[{', '.join(names)}]" if len(names) != 1 else names[0]
    if isinstance(part, dict) and part and all(isinstance(each, dict) for each in part.values()):  # a part per member
        return f"{{{', '.join(f'{member}: {_names(each)}' for member, each in part.items())}}}"
    return str(part.get("name", "")) if isinstance(part, dict) else ""

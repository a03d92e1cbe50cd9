"""What a recipe is called once its parts were changed: `simsiam + target=ema`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ssl_zoo.recipe.load import load_recipe, method_names

_PARTS = ("projector", "predictor", "target", "pairing", "objective")


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
    own = load_recipe(method).dump()
    changed = [f"{key}={_names(recipe[key])}" for key in _PARTS if _names(recipe[key]) != _names(own[key])]
    return " + ".join([method, *changed])


def _names(part: Any) -> str:
    if isinstance(part, list):
        return f"[{', '.join(map(_names, part))}]" if len(part) != 1 else _names(part[0])
    return str(part["name"])

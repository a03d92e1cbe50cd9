"""Whether two recipes are of the same run: what has to be equal for one to be resumed as the other."""

from __future__ import annotations

from typing import Any

from ssl_zoo.data.readers import places_of
from ssl_zoo.recipe.model import Recipe

FREE = ("on_error", "bad_budget", "num_workers", "cache")
"""Keys of `data` about how samples are read, and not which ones."""

LENGTH = ("epochs", "max_steps", "keep_every")
"""Keys of `training` about how long a run is, and which checkpoints it keeps."""

PROCESSES = ("strategy",)
"""Keys of `training` about how processes share the work, whose state and results are the same."""

LAUNCH = ("cuda_graph",)
"""Keys of `training` about how kernels are launched, which are the same ones."""


def trained_alike(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a recipe that must equal another's for a run to be resumed: all that the training depends on.

    Left out are how samples are read, where they lie, the evaluation, the length of the run, the strategy, and how
    kernels are launched.
    """
    data = {key: value for key, value in recipe["data"].items() if key not in FREE}
    data["source"] = _without_places(data["source"])
    training = {key: value for key, value in recipe["training"].items() if key not in LENGTH + PROCESSES + LAUNCH}
    rest = {key: value for key, value in recipe.items() if key != "evaluation"}
    return {**rest, "data": data, "training": training}


def same_length(one: Recipe, two: Recipe) -> bool:
    """Return whether two recipes give the length of a run in the same words."""
    return all(getattr(one.training, key) == getattr(two.training, key) for key in ("epochs", "max_steps"))


def _without_places(source: Any) -> Any:
    """Return a source, or a list of sources, without the options that say where the data are."""
    if isinstance(source, list):
        return [_without_places(each) for each in source]
    if not isinstance(source, dict) or not isinstance(source.get("name"), str):
        return source
    places = places_of(source["name"])
    return {key: _without_places(value) for key, value in source.items() if key not in places}


def first_difference(old: Any, new: Any, path: str = "") -> tuple[str, Any, Any] | None:
    """Return (dotted key, old value, new value) of the first difference of two recipes, or None."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            found = first_difference(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
            if found is not None:
                return found
        return None
    return None if old == new else (path, old, new)

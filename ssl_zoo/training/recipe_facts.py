"""What the collapse guard knows of a recipe, to name causes and remedies."""

from __future__ import annotations

from typing import Any

from ssl_zoo.recipe.load import load_recipe, method_names
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.recipe.part import PerMember


def recipe_facts(recipe: Recipe) -> dict[str, Any]:
    """Return what the guard's causes and remedies depend on; `own` is the same of the method's own recipe, if any."""
    training, options = recipe.training, recipe.options
    target = options["target"].options if "target" in options else {}
    return {
        **_structure(recipe),
        **{key: value for key, value in target.items() if key == "momentum"},
        "method": recipe.method,
        "own": _structure(load_recipe(recipe.method)) if recipe.method in method_names() else {},
        "views": {} if isinstance(recipe.views, PerMember) else recipe.views.options,
        "schedule": training.schedule.options,
        "weight_decay": training.optimizer.options.get("weight_decay"),
        **training.model_dump(include={"base_lr", "batch_size", "clip_grad", "precision"}),
    }


def _structure(recipe: Recipe) -> dict[str, Any]:
    """Return the names of target and predictor, and the terms, of a recipe."""
    options = recipe.options
    names = {key: options[key].name if key in options else "" for key in ("target", "predictor")}
    return {**names, "terms": [term.plain() for term in options.get("objective", ())]}

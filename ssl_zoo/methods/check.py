"""Validating a recipe without data and, where its parts allow that, without allocating weights."""

from __future__ import annotations

from typing import Any

from ssl_zoo.methods.build import build
from ssl_zoo.methods.contract import without_memory
from ssl_zoo.optim.param_groups import parameter_groups
from ssl_zoo.parts import Term
from ssl_zoo.recipe.change import changed
from ssl_zoo.recipe.model import Recipe


def check_recipe(recipe: Recipe) -> dict[str, Any]:
    """Join a recipe's parts and try them, on the meta device where they can run there.

    Args:
        recipe: a validated recipe.

    Returns:
        `{"method", "parameters": {component: number of weights}, "lr", "batch_size", "notes": [sentence]}`; the notes
        are what terms say of themselves.

    Raises:
        UserError: parts that do not join or do not keep their contract, or a parameter group that names nothing.
    """
    if recipe.guard.policy == "rollback":
        changed(recipe)
    method = without_memory(lambda: build(recipe))
    parameter_groups(method, recipe.training.groups)
    parts = {name: sum(p.numel() for p in module.parameters()) for name, module in method.named_children()}
    return {
        "method": recipe.method,
        "parameters": {name: count for name, count in parts.items() if count},
        "lr": recipe.training.lr,
        "batch_size": recipe.training.batch_size,
        "notes": [note for module in method.modules() if isinstance(module, Term) for note in module.notes],
    }

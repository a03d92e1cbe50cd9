"""Validating a recipe without data and without allocating weights."""

from __future__ import annotations

from typing import Any

import torch

from ssl_zoo.construct import build, build_views
from ssl_zoo.optim.groups import parameter_groups
from ssl_zoo.recipe import Recipe


def check_recipe(recipe: Recipe) -> dict[str, Any]:
    """Join a recipe's parts on the meta device.

    Args:
        recipe: a validated recipe.

    Returns:
        `{"method", "parameters": {component: number of weights}, "lr", "batch_size"}`.

    Raises:
        UserError: parts that do not join, or a parameter group that names nothing.
    """
    with torch.device("meta"):
        method = build(recipe)
    build_views(recipe, method.encoder)
    parameter_groups(method, recipe.training.groups)
    parts = {name: sum(p.numel() for p in module.parameters()) for name, module in method.named_children()}
    return {
        "method": recipe.method,
        "parameters": {name: count for name, count in parts.items() if count},
        "lr": recipe.training.lr,
        "batch_size": recipe.training.batch_size,
    }

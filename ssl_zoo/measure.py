"""Measuring a frozen encoder by a recipe's protocols: at the end of a run, and what `ssl-zoo eval` calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from ssl_zoo import registry
from ssl_zoo.artefact import load_encoder
from ssl_zoo.assemble import OpenData, open_data
from ssl_zoo.build import build_encoder, build_views
from ssl_zoo.evaluation.evaluate import compare_representations
from ssl_zoo.hardware import choose
from ssl_zoo.recipe import Part, Recipe
from ssl_zoo.recipes import load_recipe


def measure(
    recipe: Recipe, encoder: nn.Module, policy: nn.Module, data: OpenData, device: torch.device
) -> dict[str, Any]:
    """Return `{"encoder" | "untrained" | "pixels": {protocol: {metric: value}}}` of an encoder, by a recipe."""
    return compare_representations(
        encoder,
        build_encoder(recipe).to(device) if recipe.evaluation.baselines else None,
        policy,
        data.train,
        data.test,
        [(part.name, part.knobs) for part in recipe.evaluation.protocols],
        device=device,
        limit=recipe.evaluation.limit,
    )


def evaluate(
    run: str | Path, protocols: Sequence[str] = (), *, data: str | None = None, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Measure a run's encoder by named protocols, beside raw pixels and the untrained encoder.

    Args:
        run: a finished run folder.
        protocols: names; empty takes the recipe's.
        data: other data than the run's.
        overrides: dotted keys on the run's recipe, such as `evaluation.knn.k=20`.

    Returns:
        `{"encoder" | "untrained" | "pixels": {protocol: {metric: value}}}`.

    Raises:
        UserError: no such run, protocol or data, or a protocol that needs labels where there are none.
    """
    recipe = load_recipe(str(run), overrides, data=data)
    if protocols:
        parts = {part.name: part for part in recipe.evaluation.protocols}
        chosen = [parts.get(name) or Part(name=name, knobs=registry.check("protocol", name, {})) for name in protocols]
        recipe = recipe.model_copy(
            update={"evaluation": recipe.evaluation.model_copy(update={"protocols": tuple(chosen)})}
        )
    encoder = load_encoder(run)
    policy = build_views(recipe, encoder)
    device = choose(recipe.training).fabric().device
    return measure(recipe, encoder.to(device), policy, open_data(recipe, cast(int, policy.channels)), device)

"""Measuring a frozen encoder by a recipe's protocols: at the end of a run, and what `ssl-zoo eval` calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from ssl_zoo import registry
from ssl_zoo.artefact import load_encoder, read_card
from ssl_zoo.assemble import OpenData, open_data
from ssl_zoo.construct import build_encoder, build_views
from ssl_zoo.contract import try_encoder, views_of
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.evaluate import compare_representations, usable
from ssl_zoo.hardware import choose
from ssl_zoo.recipe import Part, Recipe
from ssl_zoo.recipes import load_recipe
from ssl_zoo.run_folder import RunFolder


def measure(
    recipe: Recipe, encoder: nn.Module, policy: nn.Module, data: OpenData, device: torch.device, insist: bool = False
) -> dict[str, Any]:
    """Return `{"encoder" | "untrained" | "pixels": {protocol: {metric: value}}}` of an encoder, by a recipe.

    Encoders compute in bfloat16 where training does. Protocols that need labels are left out where the data have none,
    or with `insist` are an error there.
    """
    protocols = _protocols(recipe)
    return compare_representations(
        encoder,
        build_encoder(recipe).to(device) if recipe.evaluation.baselines else None,
        policy,
        data.train,
        data.test,
        protocols if insist else usable(protocols, _labelled(data)),
        device=device,
        limit=recipe.evaluation.limit,
        half=choose(recipe.training, for_training=False).precision == "bf16",
    )


def _protocols(recipe: Recipe) -> list[tuple[str, dict[str, Any]]]:
    return [(part.name, part.knobs) for part in recipe.evaluation.protocols]


def _labelled(data: OpenData) -> bool:
    return all(split.labels is not None for split in (data.train, data.test) if split is not None)


def left_out(recipe: Recipe, data: OpenData) -> list[str]:
    """Return the names of the recipe's protocols that `measure` leaves out because the data have no labels."""
    protocols = _protocols(recipe)
    kept = usable(protocols, _labelled(data))
    return [name for name, knobs in protocols if (name, knobs) not in kept]


def evaluate(
    run: str | Path, protocols: Sequence[str] = (), *, data: str | None = None, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Measure a run's encoder by named protocols, beside raw pixels and the untrained encoder.

    Args:
        run: a finished run folder.
        protocols: names; empty takes the recipe's.
        data: other data than the run's.
        overrides: dotted keys on the run's recipe, such as `evaluation.protocols.knn.k=20`.

    Returns:
        `{"encoder" | "untrained" | "pixels": {protocol: {metric: value}}}`.

    Raises:
        UserError: no such run, protocol or data, or a protocol that needs labels where there are none.
    """
    folder = RunFolder(run)
    if not folder.recipe.is_file():
        raise UserError(f"{run}: holds no run (no recipe.yaml in it).")
    recipe = load_recipe(str(folder.recipe), overrides, data=data)
    if protocols:
        parts = {part.name: part for part in recipe.evaluation.protocols}
        chosen = [parts.get(name) or Part(name=name, knobs=registry.check("protocol", name, {})) for name in protocols]
        recipe = recipe.model_copy(
            update={"evaluation": recipe.evaluation.model_copy(update={"protocols": tuple(chosen)})}
        )
    encoder = load_encoder(run)
    policy = build_views(recipe, encoder)
    size = read_card(folder.card).input.size
    hint = f"; it was built for views.size={size}" if size != recipe.views.knobs.get("size") else ""
    try_encoder(encoder, recipe.encoder.name, views_of(policy)[:1], hint)
    device = choose(recipe.training, for_training=False).fabric().device
    opened = open_data(recipe, cast(int, policy.channels))
    return measure(recipe, encoder.to(device), policy, opened, device, insist=bool(protocols))

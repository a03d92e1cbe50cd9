"""From a recipe to modules: each part at its knobs, joined, with widths that are checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ssl_zoo import registry
from ssl_zoo.across import num_processes
from ssl_zoo.errors import UserError
from ssl_zoo.initial import put_weights
from ssl_zoo.local_method import LocalMethod
from ssl_zoo.method import Branch, Method
from ssl_zoo.norms import to_global
from ssl_zoo.objectives.objective import Objective
from ssl_zoo.recipe import Local, Part, Recipe
from ssl_zoo.rng import derive


def _part(kind: str, part: Part, **context: Any) -> Any:
    return registry.build(kind, part.name, part.knobs, **context)


def build_encoder(recipe: Recipe) -> nn.Module:
    """Return the encoder, initialised from the recipe's seed: what a run of the recipe starts from."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(recipe.seed, "init", 0))
        sizes = {key: recipe.views.knobs.get(key) for key in ("size", "local_size")}
        encoder = _part("encoder", recipe.encoder, **sizes)
    for attribute in ("out_dim", "in_channels"):
        if not isinstance(getattr(encoder, attribute, None), int):
            raise UserError(f"encoder {recipe.encoder.name!r}: its module must have an integer attribute {attribute}.")
    return encoder


def build_views(recipe: Recipe, encoder: nn.Module) -> nn.Module:
    """Return the view policy for the channels that the encoder takes."""
    return _part("views", recipe.views, channels=encoder.in_channels)


def _with_places(recipe: Recipe, local: Local, method: Method) -> LocalMethod:
    if recipe.stack_views:
        raise UserError("stack_views: views whose places are matched are encoded one by one; set stack_views=false.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(recipe.seed, "init", 4))
        projector = _part("head", local.projector, in_dim=method.encoder.out_dim)
        terms = [(term.name, term.weight, _part("term", term, dim=projector.out_dim)) for term in local.objective]
    return LocalMethod(method, projector, Objective(terms), local.location_matches, local.feature_matches)


def build(
    recipe: Recipe,
    encoder: nn.Module | None = None,
    *,
    weights: Mapping[str, Mapping[str, Tensor]] | None = None,
) -> Method:
    """Build the method of a recipe.

    Each component is initialised from its own stream of the seed, so that swapping one leaves the others as they are.

    Args:
        recipe: a validated recipe.
        encoder: a module to use instead of the recipe's encoder; it needs the integer attributes `out_dim` and
            `in_channels`.
        weights: {component: {name: tensor}} to start from; what does not match keeps its first values.

    Raises:
        UserError: parts that do not join, or a knob that a part refuses.
    """
    encoder = build_encoder(recipe) if encoder is None else encoder
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(recipe.seed, "init", 1))
        projector = _part("head", recipe.projector, in_dim=encoder.out_dim)
        torch.manual_seed(derive(recipe.seed, "init", 2))
        predictor = _part("head", recipe.predictor, in_dim=projector.out_dim)
        for name, module in (("encoder", encoder), ("projector", projector), ("predictor", predictor)):
            if weights and name in weights:
                put_weights(module, weights[name], name)
        torch.manual_seed(derive(recipe.seed, "init", 3))
        target = _part("target", recipe.target, branch=Branch(encoder, projector, recipe.stack_views))
        terms = [(term.name, term.weight, _part("term", term, dim=predictor.out_dim)) for term in recipe.objective]
    if predictor.out_dim != projector.out_dim:
        raise UserError(
            f"predictor: ends in {predictor.out_dim} dimensions but must predict the projector's {projector.out_dim}; "
            f"make the predictor's last width {projector.out_dim}."
        )
    pairing = _part("pairing", recipe.pairing, dim=projector.out_dim)
    method = Method(encoder, projector, predictor, target, pairing, Objective(terms), recipe.stack_views)
    if recipe.local is not None:
        method = _with_places(recipe, recipe.local, method)
    if recipe.norm == "global" and num_processes() > 1:
        to_global(method)
    return method

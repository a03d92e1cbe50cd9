"""From a recipe to modules: each part at its options, joined, with widths that are checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ssl_zoo import registry
from ssl_zoo.distributed.batch_norm import to_global
from ssl_zoo.distributed.collectives import num_processes
from ssl_zoo.errors import UserError, short
from ssl_zoo.methods.contract import PARTS, try_method, views_of
from ssl_zoo.methods.joint_embedding import Branch, Method
from ssl_zoo.methods.local import LocalMethod
from ssl_zoo.objectives.objective import Objective
from ssl_zoo.recipe.model import Local, Part, Recipe
from ssl_zoo.rng import derive
from ssl_zoo.runs.weights import put_weights


def _part(kind: str, part: Part, **context: Any) -> Any:
    return registry.build(kind, part.name, part.options, **context)


def part_names(recipe: Recipe) -> dict[str, str]:
    """Return {part: what messages call it} of the parts that are tried."""
    return {part: getattr(recipe, part).name for part in PARTS}


def build_encoder(recipe: Recipe) -> nn.Module:
    """Return the encoder, initialised from the recipe's seed: what a run of the recipe starts from."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(recipe.seed, "init", 0))
        sizes = {key: recipe.views.options.get(key) for key in ("size", "local_size")}
        encoder = _part("encoder", recipe.encoder, **sizes)
    check_widths(encoder, "encoder", recipe.encoder.name, ("out_dim", "in_channels"))
    return encoder


_MEANING = {"out_dim": "the width of what it returns", "in_channels": "the channels of the views that it takes"}


def check_widths(module: Any, kind: str, name: str, attributes: Sequence[str] = ("out_dim",)) -> None:
    """Make sure that a part is a module that states its widths.

    Raises:
        PartFailed: it is none, or states none.
    """
    if not isinstance(module, nn.Module):
        raise registry.PartFailed(f"{kind} {name!r}: is a {type(module).__name__}, and must be a torch.nn.Module.")
    for attribute in attributes:
        value = getattr(module, attribute, None)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            says = "" if value is None else f", not {short(value)}"
            raise registry.PartFailed(
                f"{kind} {name!r}: its module must have an integer attribute {attribute}, {_MEANING[attribute]}{says}; "
                f"set it in __init__: self.{attribute} = ..."
            )


def build_views(recipe: Recipe, encoder: nn.Module) -> nn.Module:
    """Return the view policy for the channels that the encoder takes.

    Raises:
        PartFailed: it lacks what training and evaluation call.
    """
    policy = _part("views", recipe.views, channels=encoder.in_channels)
    for method in ("draw", "collate", "__call__", "plain", "picture"):
        if not callable(getattr(policy, method, None)):
            raise registry.PartFailed(f"views {recipe.views.name!r}: a policy must have the method {method}.")
    if getattr(policy, "channels", None) != encoder.in_channels or not isinstance(policy.modality, str):
        raise registry.PartFailed(
            f"views {recipe.views.name!r}: a policy must have the attributes channels, those that it is built with, "
            "and modality, a word."
        )
    return policy


def _head(part: Part, before: Any) -> Any:
    head = _part("head", part, in_dim=before.out_dim)
    check_widths(head, "head", part.name)
    return head


def _with_places(recipe: Recipe, local: Local, method: Method) -> LocalMethod:
    if recipe.stack_views:
        raise UserError("stack_views: views whose places are matched are encoded one by one; set stack_views=false.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(recipe.seed, "init", 4))
        projector = _head(local.projector, method.encoder)
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
        UserError: parts that do not join, that return another width than they state, or an option that a part refuses.
    """
    given = encoder is not None
    if encoder is None:
        encoder = build_encoder(recipe)
    names = part_names(recipe)
    if given:
        names["encoder"] = type(encoder).__name__
        check_widths(encoder, "encoder", names["encoder"], ("out_dim", "in_channels"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(recipe.seed, "init", 1))
        projector = _head(recipe.projector, encoder)
        torch.manual_seed(derive(recipe.seed, "init", 2))
        predictor = _head(recipe.predictor, projector)
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
    views = views_of(build_views(recipe, encoder))
    if views and num_processes() == 1:  # several were preceded by a check, and a trial must not wait for the others
        try_method(method, names, views, lenient=given)
    if recipe.norm == "global" and num_processes() > 1:
        to_global(method)
    return method

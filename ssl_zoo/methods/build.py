"""From a recipe to modules: each part at its options, joined, with widths that are checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ssl_zoo import registry
from ssl_zoo.batch import InputSpec
from ssl_zoo.data.source import Modality, ViewPolicy
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


def build_encoder(recipe: Recipe, spec: InputSpec | None = None) -> nn.Module:
    """Return the encoder, initialised from the recipe's seed: what a run of the recipe starts from.

    Args:
        recipe: a validated recipe.
        spec: of its views; None builds them to know.
    """
    spec = build_views(recipe).spec if spec is None else spec
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(recipe.seed, "init", 0))
        encoder = _part("encoder", recipe.encoder, spec=spec)
    check_width(encoder, "encoder", recipe.encoder.name)
    return encoder


def check_width(module: Any, kind: str, name: str) -> None:
    """Make sure that a part is a module that states the width of what it returns.

    Raises:
        PartFailed: it is none, or states none.
    """
    if not isinstance(module, nn.Module):
        raise registry.PartFailed(f"{kind} {name!r}: is a {type(module).__name__}, and must be a torch.nn.Module.")
    value = getattr(module, "out_dim", None)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        states = "" if value is None else f", not {short(value)}"
        raise registry.PartFailed(
            f"{kind} {name!r}: its module must have an integer attribute out_dim, the width of its output{states}; "
            "set it in __init__: self.out_dim = ..."
        )


def build_views(recipe: Recipe) -> ViewPolicy:
    """Return the view policy of a recipe.

    Raises:
        PartFailed: it lacks what training and evaluation call.
    """
    policy = _part("views", recipe.views)
    name = recipe.views.name
    if not isinstance(policy, ViewPolicy):
        raise registry.PartFailed(f"views {name!r}: a policy must be a subclass of ssl_zoo.data.source.ViewPolicy.")
    for method in ("draw", "collate", "forward", "plain", "picture"):
        if getattr(type(policy), method) is getattr(ViewPolicy, method):
            raise registry.PartFailed(f"views {name!r}: a policy must have the method {method}.")
    if not isinstance(getattr(policy, "spec", None), InputSpec):
        raise registry.PartFailed(f"views {name!r}: a policy must have the attribute spec, an ssl_zoo.batch.InputSpec.")
    return policy


def build_modality(recipe: Recipe, spec: InputSpec) -> Modality:
    """Return the modality of a recipe's views, with the options of `data.decode`."""
    if spec.modality not in registry.names("modality"):
        return Modality(spec)
    return registry.build("modality", spec.modality, recipe.data.decode, spec=spec)


def _head(part: Part, before: Any) -> Any:
    head = _part("head", part, in_dim=before.out_dim)
    check_width(head, "head", part.name)
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
        encoder: a module to use instead of the recipe's encoder; it needs the integer attribute `out_dim`.
        weights: {component: {name: tensor}} to start from; what does not match keeps its first values.

    Raises:
        UserError: parts that do not join, that return another width than they state, or an option that a part refuses.
    """
    given = encoder is not None
    spec = build_views(recipe).spec
    if encoder is None:
        encoder = build_encoder(recipe, spec)
    names = part_names(recipe)
    if given:
        names["encoder"] = type(encoder).__name__
        check_width(encoder, "encoder", names["encoder"])
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
    if num_processes() == 1:  # several were preceded by a check, and a trial must not wait for the others
        try_method(method, names, views_of(spec), lenient=given)
    if recipe.norm == "global" and num_processes() > 1:
        to_global(method)
    return method

"""From a recipe to modules: each part at its options, joined, with widths that are checked."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ssl_zoo import registry
from ssl_zoo.batch import InputSpec
from ssl_zoo.data.open import OpenData, open_data
from ssl_zoo.data.source import Modality, ViewPolicy
from ssl_zoo.distributed.batch_norm import to_global
from ssl_zoo.distributed.collectives import num_processes
from ssl_zoo.errors import UserError
from ssl_zoo.methods.builder import Builder, check_width
from ssl_zoo.methods.contract import try_parts, views_of
from ssl_zoo.methods.first_weights import put_weights
from ssl_zoo.methods.method import Method
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.rng import derive


def build_encoder(recipe: Recipe, spec: InputSpec | None = None) -> nn.Module:
    """Return the encoder, initialised from the recipe's seed: what a run of the recipe starts from.

    Args:
        recipe: a validated recipe.
        spec: of its views; None builds them to know.
    """
    spec = build_views(recipe).spec if spec is None else spec
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(recipe.seed, "init", 0))
        encoder = registry.build("encoder", recipe.encoder.name, recipe.encoder.options, spec=spec)
    check_width(encoder, "encoder", recipe.encoder.name)
    return encoder


def build_views(recipe: Recipe) -> ViewPolicy:
    """Return the view policy of a recipe.

    Raises:
        PartFailed: it lacks what training and evaluation call.
    """
    policy = registry.build("views", recipe.views.name, recipe.views.options)
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


def open_recipe_data(recipe: Recipe, spec: InputSpec) -> OpenData:
    """Open the data of a recipe, decoded into memory where they fit.

    Args:
        recipe: a validated recipe.
        spec: of its views.

    Raises:
        UserError: the recipe names no data, or they cannot be read.
    """
    settings = recipe.data
    modality = build_modality(recipe, spec)
    return open_data(settings.source, modality, settings.cache, settings.on_error, settings.bad_budget)


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
        encoder, name = build_encoder(recipe, spec), recipe.encoder.name
    else:
        name = type(encoder).__name__
        check_width(encoder, "encoder", name)
    weights = weights or {}
    if "encoder" in weights:
        put_weights(encoder, weights["encoder"], "encoder")
    views = views_of(spec)
    builder = Builder(recipe.seed, encoder, views, weights, {"encoder": name})
    method: Method = registry.build("method", recipe.kind, recipe.options, builder=builder)
    if unused := sorted(weights.keys() - {"encoder"} - builder.names.keys()):
        known = ", ".join(name for name, _ in method.named_children())
        raise UserError(f"--init-part {unused[0]}: this recipe has no such component; it has {known}.")
    if num_processes() == 1:  # several were preceded by a check, and a trial must not wait for the others
        try_parts(dict(method.named_children()), builder.names, views, method.try_parts, lenient=given)
    if recipe.norm == "global" and num_processes() > 1:
        to_global(method)
    return method

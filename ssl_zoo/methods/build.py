"""From a recipe to modules: each part at its options, joined, with widths that are checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ssl_zoo import registry
from ssl_zoo.batch import InputSpec
from ssl_zoo.data.given import Given
from ssl_zoo.data.open import OpenData, open_data
from ssl_zoo.data.paired import PairedModality, PairedViews
from ssl_zoo.data.shared import Sharing
from ssl_zoo.data.source import Modality, ViewPolicy
from ssl_zoo.distributed.batch_norm import to_global
from ssl_zoo.distributed.collectives import num_processes
from ssl_zoo.errors import UserError
from ssl_zoo.methods.branch import joint_heads
from ssl_zoo.methods.builder import Builder, check_width
from ssl_zoo.methods.contract import try_parts, views_of
from ssl_zoo.methods.first_weights import put_weights
from ssl_zoo.methods.members import MemberEncoders, PairedEncoder
from ssl_zoo.methods.method import Method
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.recipe.part import AnyPart, Part, PerMember
from ssl_zoo.rng import derive


def build_encoder(recipe: Recipe, spec: InputSpec | None = None) -> nn.Module:
    """Return what a run of the recipe starts from, initialised from the recipe's seed: its untrained product.

    That is the encoder; where samples are mappings, a `PairedEncoder` with the heads.

    Args:
        recipe: a validated recipe.
        spec: of its views; None builds them to know.
    """
    if recipe.members:
        return build(recipe).product
    return _encoder(recipe, build_views(recipe).spec if spec is None else spec)


def _encoder(recipe: Recipe, spec: InputSpec) -> nn.Module:
    """Return the encoder, or those of the members, initialised from the recipe's seed."""
    return make_encoder(recipe.encoder, spec, recipe.seed)


def make_encoder(part: AnyPart, spec: InputSpec, seed: int = 0) -> nn.Module:
    """Return an encoder: of one modality, shared by all members, or `MemberEncoders`.

    Args:
        part: of a recipe.
        spec: of the views.
        seed: of the first weights; each member's encoder has its own stream.

    Raises:
        UserError: members whose views one encoder cannot take.
    """
    if not isinstance(part, PerMember):
        check_alike(part.name, spec)
        return _one_encoder(part, spec.each[next(iter(spec.each))], derive(seed, "init", 0))
    made = {}
    for member, each in spec.each.items():
        try:
            made[member] = _one_encoder(part.of(member), each, derive(seed, f"init encoder.{member}"))
        except registry.PartFailed as error:
            raise registry.PartFailed(_of_member(member, str(error))) from error
        except UserError as error:
            raise UserError(_of_member(member, str(error))) from error
    return MemberEncoders(made)


def _of_member(member: str, message: str) -> str:
    """Return what an encoder says of `views.size` as of `views.image.size`, and other messages with the member."""
    if message.startswith("views."):
        return f"views.{member}.{message.removeprefix('views.')}"
    return message if message.startswith("encoder") else f"encoder.{member}: {message}"


def _one_encoder(part: Part, spec: InputSpec, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = registry.build("encoder", part.name, part.options, spec=spec)
    check_width(encoder, "encoder", part.name)
    return encoder


def make_product(
    encoder: AnyPart, projector: AnyPart, predictor: AnyPart, spec: InputSpec, seed: int = 0
) -> PairedEncoder:
    """Return the product of training on samples that are mappings, with first weights.

    Args:
        encoder: of a recipe.
        projector: of a recipe.
        predictor: of a recipe.
        spec: of its views.
        seed: of the first weights.

    Raises:
        UserError: parts that do not join.
    """
    members = tuple(spec.each)
    made = make_encoder(encoder, spec, seed)
    builder = Builder(seed, made, views_of(spec), {}, members=members)
    return PairedEncoder(members, made, *joint_heads(builder, projector, predictor))


def check_alike(name: str, spec: InputSpec) -> None:
    """Make sure that one encoder can take the views of all members, as far as their specs tell.

    Raises:
        UserError: views of different channels, axes or types.
    """
    kinds = {member: (each.channels, len(each.sides), each.views[0].dtype) for member, each in spec.each.items()}
    if len(set(kinds.values())) > 1:
        shapes = ", ".join(f"{member} {each.views[0].shape}" for member, each in spec.each.items())
        raise UserError(
            f"encoder: {name} is one for all members, but their views differ ({shapes}); give each its own: encoder: "
            f"{{{', '.join(f'{member}: NAME' for member in spec.each)}}}."
        )


def build_views(recipe: Recipe) -> ViewPolicy:
    """Return the view policy of a recipe.

    Raises:
        PartFailed: it lacks what training and evaluation call.
    """
    if isinstance(recipe.views, PerMember):
        return PairedViews({member: build_policy(part) for member, part in recipe.views.parts.items()})
    return build_policy(recipe.views)


def build_policy(part: Part) -> ViewPolicy:
    """Return a view policy.

    Raises:
        PartFailed: it lacks what training and evaluation call.
    """
    policy = registry.build("views", part.name, part.options)
    name = part.name
    if not isinstance(policy, ViewPolicy):
        raise registry.PartFailed(f"views {name!r}: a policy must be a subclass of ssl_zoo.data.source.ViewPolicy.")
    for method in ("draw", "collate", "forward", "plain", "picture"):
        if getattr(type(policy), method) is getattr(ViewPolicy, method):
            raise registry.PartFailed(f"views {name!r}: a policy must have the method {method}.")
    if not isinstance(getattr(policy, "spec", None), InputSpec):
        raise registry.PartFailed(f"views {name!r}: a policy must have the attribute spec, an ssl_zoo.batch.InputSpec.")
    return policy


def build_modality(recipe: Recipe, spec: InputSpec) -> Modality:
    """Return the modality of a recipe's views, with the options of `data.decode`; that of mappings is of members."""
    if spec.members:
        each = {member: make_modality(of, recipe.data.decode.get(member, {})) for member, of in spec.members}
        return PairedModality(spec, each)
    return make_modality(spec, recipe.data.decode)


def make_modality(spec: InputSpec, options: Mapping[str, Any]) -> Modality:
    """Return the modality of some views, with options of the decoding; one that is not registered is of tensors."""
    if spec.modality not in registry.names("modality"):
        return Modality(spec)
    return registry.build("modality", spec.modality, options, spec=spec)


def open_recipe_data(
    recipe: Recipe,
    spec: InputSpec,
    given: Given | None = None,
    compared: bool = False,
    sharing: Sharing | None = None,
) -> OpenData:
    """Open the data of a recipe, decoded into memory where they fit.

    Args:
        recipe: a validated recipe.
        spec: of its views.
        given: its data as Python objects, where they are such.
        compared: see `open_data`.
        sharing: see `open_data`.

    Raises:
        UserError: the recipe names no data, or they cannot be read.
    """
    settings = recipe.data
    modality = build_modality(recipe, spec)
    return open_data(
        settings.source, modality, settings.cache, settings.on_error, settings.bad_budget, given, compared, sharing
    )


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
        encoder, name = _encoder(recipe, spec), recipe.encoder.name
    else:
        name = type(encoder).__name__
        check_width(encoder, "encoder", name)
    weights = weights or {}
    if "encoder" in weights:
        put_weights(encoder, weights["encoder"], "encoder")
    views = views_of(spec)
    names = {"encoder": name, **_names_of_members(recipe, encoder)}
    builder = Builder(recipe.seed, encoder, views, weights, names, recipe.members, recipe.training.batch_size)
    method: Method = registry.build("method", recipe.kind, recipe.options, builder=builder)
    if unused := sorted(weights.keys() - {"encoder"} - builder.names.keys()):
        known = ", ".join(name for name, _ in method.named_children())
        raise UserError(f"--init-part {unused[0]}: this recipe has no such component; it has {known}.")
    if num_processes() == 1:  # several were preceded by a check, and a trial must not wait for the others
        try_parts(dict(method.named_children()), builder.names, views, method.try_parts, lenient=given)
    if recipe.norm == "global" and num_processes() > 1:
        to_global(method)
    return method


def _names_of_members(recipe: Recipe, encoder: nn.Module) -> dict[str, str]:
    """Return {`encoder.image`: name} of the encoders of members, for messages."""
    part = recipe.encoder
    if not isinstance(part, PerMember) or not isinstance(encoder, MemberEncoders):
        return {}
    return {f"encoder.{member}": part.of(member).name for member in encoder}

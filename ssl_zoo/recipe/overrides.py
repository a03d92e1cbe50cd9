"""Dotted overrides: `target=ema`, `target.momentum=0.99`, `objective.variance.weight=3` on a recipe's plain data.

What a key is follows from the model of a recipe: a part, a list of parts, a section, or a plain value. Where a part is
given per member, the member is a key: `encoder.image.widths=[16, 32]`, `projector.each.dims=[64]`.
"""

from __future__ import annotations

import copy
import typing
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal

import yaml
from pydantic import BaseModel

from ssl_zoo import registry
from ssl_zoo.errors import UserError, suggest
from ssl_zoo.recipe import plain_yaml
from ssl_zoo.recipe.model import Recipe, kind_of, recipe_model
from ssl_zoo.recipe.part import PER_MEMBER, OfKind, Part

Kind = Literal["part", "list", "section"]


@cache
def paths(model: type[Recipe], kind: Kind) -> frozenset[str]:
    """Return the dotted keys of a recipe whose value is one part, a list of parts, or a section."""
    return frozenset(path for path, found in _walk(model, "") if found == kind)


@cache
def part_kinds(model: type[Recipe]) -> dict[str, str]:
    """Return {dotted key: kind} of those values of a recipe that are one part."""
    found = {}
    for path in paths(model, "part"):
        field: Any = None
        owner: Any = model
        for step in path.split("."):
            field = owner.model_fields[step]
            owner = _model_of(field.annotation)[0]
        found[path] = next(mark.kind for mark in _marks(field) if isinstance(mark, OfKind))
    return found


def _marks(field: Any) -> Iterator[Any]:
    """Yield the marks on a field's type, and on the types in a union."""
    yield from field.metadata
    for inner in typing.get_args(field.annotation):
        yield from getattr(inner, "__metadata__", ())


def _walk(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, Kind]]:
    for name, field in model.model_fields.items():
        inner, listed = _model_of(field.annotation)
        if inner is None:
            continue
        if issubclass(inner, Part):
            yield prefix + name, "list" if listed else "part"
        elif not listed:
            yield prefix + name, "section"
            yield from _walk(inner, f"{prefix}{name}.")


def _model_of(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """Return the model in a field's annotation, and whether it is the item of a tuple."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    for inner in typing.get_args(annotation):
        model, listed = _model_of(inner)
        if model is not None:
            return model, listed or typing.get_origin(annotation) is tuple
    return None, False


def split(override: str) -> tuple[str, Any]:
    """Return the key and the value of `KEY=VALUE`; the value is YAML.

    Raises:
        UserError: it is not written so.
    """
    key, equals, value = override.partition("=")
    if not equals or not all(key.split(".")):
        raise UserError(f"-s {override}: an override is written KEY=VALUE, for example -s training.batch_size=256.")
    try:
        return key, plain_yaml.load(value)
    except yaml.YAMLError as error:
        shown = override if len(override) <= 200 else f"{override[:197]}..."
        raise UserError(
            f"-s {shown}: the value is not valid YAML (quote lists and mappings for the shell): "
            f"{plain_yaml.reason(error)}."
        ) from None


def put(raw: dict[str, Any], key: str, value: Any, where: str = "") -> None:
    """Set a dotted key in place: a part's name puts that part in at its defaults, an option is turned where it is.

    Args:
        raw: a recipe as plain data.
        key: such as `target.momentum` or `objective.variance.weight`.
        value: plain data; a mapping without a `name` changes the keys of a part or of a section that it names, unless
            it gives a part per member in place of what is there.
        where: what messages begin with.

    Raises:
        UserError: the path leads through something that has no keys.
    """
    steps, model = key.split("."), recipe_model(kind_of(raw))
    if key == "data" and isinstance(value, str):
        steps = ["data", "source"]
    elif isinstance(value, dict) and (
        key in paths(model, "section")
        or (key in paths(model, "part") and "name" not in value and not _is_per_member(raw, key, value, model))
        or (_is_of_member(raw, steps, model) and "name" not in value)
    ):
        for each, setting in value.items():
            put(raw, f"{key}.{each}", setting, where)
        return
    node: Any = raw
    for depth, step in enumerate(steps[:-1]):
        node = _enter(node, step, ".".join(steps[: depth + 1]), where, model)
    node[_index(node, steps[-1], key, where) if isinstance(node, list) else steps[-1]] = copy.deepcopy(value)


def _enter(node: Any, step: str, here: str, where: str, model: type[Recipe]) -> Any:
    """Return the mapping or the list below a step, made from its short form or its default where there is none."""
    place: Any = _index(node, step, here, where) if isinstance(node, list) else step
    child = node[place] if isinstance(node, list) else node.get(step)
    if child is None:
        child = _default(here, model)
    if here in paths(model, "list") and not isinstance(child, list):
        child = [child]
    elif isinstance(child, str) and here == "data":
        child = {"source": child}
    elif isinstance(child, str) and (
        here in paths(model, "part") or isinstance(node, list) or _holds_members(node, here, model)
    ):
        child = {"name": child}
    if not isinstance(child, (dict, list)):
        raise UserError(f"{where}{here}: is {child!r} and has no keys.")
    node[place] = child
    return child


def _at(raw: Any, path: str) -> Any:
    """Return what lies at a path of keys, or None."""
    for step in path.split("."):
        raw = raw.get(step) if isinstance(raw, dict) else None
    return raw


def _is_per_member(raw: dict[str, Any], key: str, value: dict[str, Any], model: type[Recipe]) -> bool:
    """Return whether a mapping gives a part per member, rather than options of the part, or of the parts, at a key."""
    kind = part_kinds(model)[key]
    now = _at(raw, key)
    if kind not in PER_MEMBER or not value:
        return False
    if isinstance(now, dict) and "name" not in now:
        return not value.keys() <= now.keys()
    names = [part.get("name") if isinstance(part, dict) else part for part in value.values()]
    return all(isinstance(name, str) and _is_registered(kind, name) for name in names)


def _is_registered(kind: str, name: str) -> bool:
    try:
        registry.find(kind, name)
    except UserError:
        return False
    return True


def _is_of_member(raw: dict[str, Any], steps: list[str], model: type[Recipe]) -> bool:
    """Return whether steps lead to a member's part, that is there."""
    above = ".".join(steps[:-1])
    return _holds_members(_at(raw, above), ".".join(steps), model) and steps[-1] in _at(raw, above)


def _holds_members(node: Any, here: str, model: type[Recipe]) -> bool:
    """Return whether a mapping, of which a path leads to an item, holds the parts of members."""
    above = here.rpartition(".")[0]
    return above in paths(model, "part") and isinstance(node, dict) and "name" not in node


def _default(path: str, model: type[Recipe]) -> Any:
    """Return the plain form of what a recipe has at a path if it says nothing; a mapping to fill where that is open."""
    kind: Any = model
    value: Any = None
    for step in path.split("."):
        field = getattr(kind, "model_fields", {}).get(step)
        value = None if field is None else field.get_default(call_default_factory=True)
        kind = type(value)
    if isinstance(value, Part):
        return value.plain()
    if isinstance(value, tuple) and path in paths(model, "list"):
        return [part.plain() for part in value]
    return {}


def _index(items: list[Any], step: str, here: str, where: str) -> int:
    """Return the position of a list item, given its number or its part's name."""
    labels = [item.get("name", "") if isinstance(item, dict) else str(item) for item in items]
    if step.isdigit() and int(step) < len(items):
        return int(step)
    if labels.count(step) > 1:
        raise UserError(f"{where}{here}: {step!r} comes {labels.count(step)} times; give its position, from 0.")
    if step in labels:
        return labels.index(step)
    raise UserError(f"{where}{here}: the list has no item {step!r}{suggest(step, labels)}")

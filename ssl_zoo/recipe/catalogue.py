"""The catalogue: every method, experiment and part with a line of description, and the details of one of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from pydantic.fields import FieldInfo

from ssl_zoo import registry
from ssl_zoo.errors import UserError, suggest
from ssl_zoo.recipe.load import experiment_names, load_recipe, method_names, recipe_path
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.recipe.part import Part
from ssl_zoo.registry import Entry

_RECIPES = {"methods": method_names, "experiments": experiment_names}
"""The sections of recipes; every kind of part is a section too."""


def catalogue(section: str | None = None, pattern: str = "*") -> dict[str, dict[str, str]]:
    """Return the names and one-line descriptions of recipes and parts.

    Args:
        section: `methods`, `experiments` or a kind of part; None takes all.
        pattern: the names to return, with the wildcards `*`, `?` and `[...]`, such as `resnet*`.

    Returns:
        `{section: {name: description}}`.

    Raises:
        UserError: there is no such section, or no name in it that matches.
    """
    known = (*_RECIPES, *registry.PACKAGES)
    if section is not None and section not in known:
        raise UserError(f"there is nothing to list of the kind {section!r}{suggest(section, known)}")
    found = {each: _described(each, pattern) for each in (known if section is None else (section,))}
    if pattern != "*":
        found = {each: names for each, names in found.items() if names}
        if not found:
            names = _described(section) if section else {name for each in known for name in _described(each)}
            raise UserError(f"no name in {section or 'the catalogue'} matches {pattern!r}{suggest(pattern, names)}")
    return found


def _described(section: str, pattern: str = "*") -> dict[str, str]:
    if section in _RECIPES:
        return {name: _headline(name) for name in _RECIPES[section]() if fnmatchcase(name, pattern)}
    lines = {entry.name: _line(entry) for entry in registry.entries(section)}
    if pattern == "*":  # a family is one line
        return lines
    listed = registry.members(section)
    return {name: lines.get(name, listed[name]) for name in listed if fnmatchcase(name, pattern)}


def _line(entry: Entry) -> str:
    return entry.summary if entry.version is None else f"v{entry.version}: {entry.summary}"


def _headline(reference: str) -> str:
    """Return the comment in the first line of a recipe."""
    first = recipe_path(reference).read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("# ") if first.startswith("#") else ""


def show(
    name: str,
    overrides: Sequence[str] = (),
    *,
    data: str | None = None,
    seed: int | None = None,
    variant: str | None = None,
) -> Recipe | list[dict[str, Any]]:
    """Return the recipe of a name, or else the parts of that name.

    Args:
        name: a recipe as for `load_recipe`; or a part, NAME or KIND/NAME.
        overrides: as for `load_recipe`, and so are the next.
        data: in place of the recipe's.
        seed: in place of the recipe's.
        variant: of an experiment.

    Returns:
        A recipe; or for each part `{"kind", "name", "version", "doc", "options": {option: default as text}, "values":
        {option: what it may be, in words}}`, where the version is None of kinds that have none.

    Raises:
        UserError: there is neither, or as `load_recipe`.
    """
    every = [entry for kind in registry.PACKAGES for entry in registry.entries(kind)]
    parts = [found for entry in every if (found := _called(name, entry)) is not None] or _of_families(name, every)
    recipes = [*method_names(), *experiment_names()]
    if name in recipes or not parts:
        if name not in recipes and not os.path.exists(name):  # a name of any length
            known = {entry.name for entry in every} | set(recipes)
            raise UserError(f"there is no recipe or part called {name!r}{suggest(name, known, 'ssl-zoo list')}")
        return load_recipe(name, overrides, data=data, seed=seed, variant=variant)
    return [
        {
            "kind": e.kind,
            "name": e.name,
            "version": e.version,
            "doc": registry.options(e).__doc__,
            "options": _options(e),
            "values": values_of(e),
        }
        for e in parts
    ]


def _called(name: str, entry: Entry) -> Entry | None:
    """Return the part of a name, NAME or KIND/NAME, if an entry is that part or the family that it is of."""
    name = name.removeprefix(f"{entry.kind}/")
    if name == entry.name:
        return entry
    if not _in_family(name, entry):
        return None
    family = registry.family_of(entry)
    if family is None:
        return entry
    return registry.find(entry.kind, name)[0] if name[len(entry.name) - 1 :] in family.members else None


def _in_family(name: str, entry: Entry) -> bool:
    return entry.name.endswith("/*") and name.startswith(entry.name[:-1])


def _of_families(name: str, every: Sequence[Entry]) -> list[Entry]:
    """Return nothing for a name that does not begin as a family's.

    Raises:
        UserError: it does, and no family has such a member: why, or the nearest one.
    """
    members: list[str] = []
    for entry in every:
        family, rest = registry.family_of(entry), name.removeprefix(f"{entry.kind}/")
        if family is not None and _in_family(rest, entry):
            if rest[len(entry.name) - 1 :] in family.refused:
                registry.find(entry.kind, rest)
            members += [entry.name[:-1] + member for member in family.members]
    if not members:
        return []
    prefix = members[0].partition("/")[0]
    hint = suggest(name, members).partition(" Known: ")[0]
    raise UserError(f"there is no part called {name!r}{hint} `ssl-zoo list KIND '{prefix}/*'` names those of a kind.")


def values_of(entry: Entry) -> dict[str, str]:
    """Return what the options of a part may be, in words: types, ranges and choices."""
    schemas = registry.options(entry).model_json_schema().get("properties", {})
    return {name: in_words(schema) for name, schema in schemas.items()}


def _options(entry: Entry) -> dict[str, str]:
    fields = registry.options(entry).model_fields
    return {name: "(must be given)" if field.is_required() else _shown(field) for name, field in fields.items()}


def _shown(field: FieldInfo) -> str:
    """Return the default of an option, a part by its name."""
    value = field.get_default(call_default_factory=True, validated_data={})
    return value.name if isinstance(value, Part) else str(value)


def in_words(schema: dict[str, Any]) -> str:
    """Return in words what a JSON schema admits."""
    if "anyOf" in schema:
        return " or ".join(in_words(each) for each in schema["anyOf"])
    if "part" in schema:
        return f"a {schema['part']}"
    if "per_member" in schema:
        return f"a {schema['per_member']}, or one per member"
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{each}`" for each in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type", "any")
    if kind == "array":
        items = schema.get("prefixItems")
        return f"{len(items)} of: {in_words(items[0])}" if items else f"list of: {in_words(schema.get('items', {}))}"
    words = {"number": "number", "integer": "whole number", "boolean": "`true`, `false`"}
    words |= {"string": "a text", "null": "`null`"}
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema]
    return words.get(kind, kind) + (" " + " and ".join(limits) if limits else "")

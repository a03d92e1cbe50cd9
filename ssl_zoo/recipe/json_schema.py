"""The JSON schema of recipes, for editors: every part with its options."""

from __future__ import annotations

import re
from typing import Any

from ssl_zoo import registry
from ssl_zoo.recipe.model import Recipe


def recipe_schema() -> dict[str, Any]:
    """Return the JSON schema of a recipe, with one definition a kind of part that lists all registered parts."""
    schema = _with_references(Recipe.model_json_schema())
    definitions: dict[str, Any] = schema.setdefault("$defs", {})
    for kind in registry.PACKAGES:
        definitions[f"part_{kind}"] = _part_schema(kind)
    short = {"type": "string", "description": "a registered source, or the path of a folder, zip or parquet"}
    definitions["Data"]["properties"]["source"]["anyOf"].append(short)
    schema["properties"]["data"] = {"anyOf": [{"$ref": "#/$defs/Data"}, short]}
    return schema


def _with_references(schema: Any) -> Any:
    """Put a reference to the kind's definition where a field left its mark, `{"part": kind}`."""
    if isinstance(schema, list):
        return [_with_references(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("part"), str):
        return {"$ref": f"#/$defs/part_{schema['part']}"}
    return {key: _with_references(value) for key, value in schema.items()}


def _part_schema(kind: str) -> dict[str, Any]:
    entries = registry.entries(kind)
    names = {"type": "string", "anyOf": [_name_schema(entry) for entry in entries]}
    return {"anyOf": [names, *(_entry_schema(entry) for entry in entries)]}


def _name_schema(entry: registry.Entry) -> dict[str, Any]:
    if not entry.name.endswith("/*"):
        return {"const": entry.name}
    return {"type": "string", "pattern": f"^{re.escape(entry.name[:-1])}[^*]+"}


def _entry_schema(entry: registry.Entry) -> dict[str, Any]:
    schema = registry.options(entry).model_json_schema()
    name = _name_schema(entry)
    extra = {"weight": {"type": "number", "default": 1.0}} if entry.kind == "term" else {}
    schema["properties"] = {"name": name, **extra, **schema.get("properties", {})}
    schema["required"] = ["name", *schema.get("required", [])]
    return schema

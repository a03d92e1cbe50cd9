"""The JSON schema of recipes, for editors: every part with its options."""

from __future__ import annotations

import re
from typing import Any

from ssl_zoo import registry
from ssl_zoo.recipe.model import DEFAULT_KIND, recipe_model
from ssl_zoo.recipe.part import PER_MEMBER


def recipe_schema() -> dict[str, Any]:
    """Return the JSON schema of a recipe: one alternative per kind of method, one definition per kind of part."""
    definitions: dict[str, Any] = {}
    alternatives = [_schema_of_kind(kind, definitions) for kind in registry.names("method")]
    for kind in registry.PACKAGES:
        if kind != "method":
            definitions[f"part_{kind}"] = _part_schema(kind)
    definitions |= {f"per_member_{kind}": _per_member_schema(kind) for kind in PER_MEMBER}
    definitions["Data"]["properties"]["source"]["anyOf"].append(_SOURCE)
    sets = definitions["Evaluation"]["properties"]["data"]
    sets["additionalProperties"] = {"anyOf": [sets["additionalProperties"], _SOURCE]}
    return {"title": "Recipe", "type": "object", "anyOf": alternatives, "$defs": definitions}


_PLACE = {"type": "string", "description": "a registered source, or the path of a folder, an archive or a table"}
_SOURCE = {"anyOf": [_PLACE, {"type": "array", "items": _PLACE, "minItems": 1}]}


def _schema_of_kind(kind: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of recipes of a kind of method; its definitions are added to those that are known."""
    schema: dict[str, Any] = _with_references(recipe_model(kind).model_json_schema())
    definitions.update(schema.pop("$defs", {}))
    schema["properties"]["data"] = {"anyOf": [{"$ref": "#/$defs/Data"}, _SOURCE]}
    schema["properties"]["kind"] = {"const": kind, "description": registry.find("method", kind)[0].summary}
    if kind != DEFAULT_KIND:
        schema["required"] = [*schema.get("required", []), "kind"]
    return schema


def _with_references(schema: Any) -> Any:
    """Put a reference to a definition where a field left its mark, `{"part": kind}` or `{"per_member": kind}`."""
    if isinstance(schema, list):
        return [_with_references(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    for mark in ("part", "per_member"):
        if isinstance(schema.get(mark), str):
            default = {"default": schema["default"]} if "default" in schema else {}
            return {"$ref": f"#/$defs/{mark}_{schema[mark]}", **default}
    return {key: _with_references(value) for key, value in schema.items()}


def _part_schema(kind: str) -> dict[str, Any]:
    entries = registry.entries(kind)
    names = {"type": "string", "anyOf": [_name_schema(entry) for entry in entries]}
    return {"anyOf": [names, *(_entry_schema(entry) for entry in entries)]}


def _per_member_schema(kind: str) -> dict[str, Any]:
    """Return the schema of a part, or of a mapping of members to parts."""
    part = {"$ref": f"#/$defs/part_{kind}"}
    mapping = {"type": "object", "additionalProperties": part, "minProperties": 1, "not": {"required": ["name"]}}
    return {"anyOf": [part, mapping]}


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

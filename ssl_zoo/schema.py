"""The JSON schema of recipes, for editors: every part with its knobs."""

from __future__ import annotations

from typing import Any

from ssl_zoo import registry
from ssl_zoo.recipe import Recipe


def recipe_schema() -> dict[str, Any]:
    """Return the JSON schema of a recipe, with one definition a kind of part that lists all registered parts."""
    schema = Recipe.model_json_schema()
    definitions: dict[str, Any] = schema.setdefault("$defs", {})
    for kind in registry.PACKAGES:
        definitions[f"part_{kind}"] = _part_schema(kind)
    return schema


def _part_schema(kind: str) -> dict[str, Any]:
    entries = registry.entries(kind)
    exact = [entry.name for entry in entries if not entry.name.endswith("/*")]
    families = [entry.name[:-1] for entry in entries if entry.name.endswith("/*")]
    names: list[dict[str, Any]] = [{"enum": exact}, *({"pattern": f"^{prefix}.+"} for prefix in families)]
    return {"anyOf": [{"type": "string", "anyOf": names}, *(_entry_schema(entry) for entry in entries)]}


def _entry_schema(entry: registry.Entry) -> dict[str, Any]:
    schema = registry.knobs(entry).model_json_schema()
    family = entry.name.endswith("/*")
    name = {"type": "string", "pattern": f"^{entry.name[:-1]}.+"} if family else {"const": entry.name}
    extra = {"weight": {"type": "number", "default": 1.0}} if entry.kind == "term" else {}
    schema["properties"] = {"name": name, **extra, **schema.get("properties", {})}
    schema["required"] = ["name", *schema.get("required", [])]
    return schema

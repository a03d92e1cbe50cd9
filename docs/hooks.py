"""Fills the generated parts of the documentation from the code, when it is built.

A line `<!-- generated: NAME ARGUMENTS -->` in a page is replaced by what the function of that name returns, so that a
list of parts, a recipe or the help of a command cannot differ from the code.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
import textwrap
from collections.abc import Callable
from typing import Any

import click
import griffe
from diagram import diagram
from measured import measured

import ssl_zoo
from ssl_zoo import registry
from ssl_zoo.cli import main
from ssl_zoo.recipe.catalogue import in_words
from ssl_zoo.recipe.load import load_recipe, method_names, recipe_path

QUOTATION = re.compile(r'^(```\w+ )source="([^"]+)"', re.MULTILINE)
"""The opening of a block that quotes a file."""

MARKER = re.compile(r"^<!-- generated: (\w+) ?(.*?) -->$", re.MULTILINE)

KINDS = {
    "method": "A kind of method: the training step, and the parts that it takes as options of a recipe.",
    "modality": "A kind of data: which files it reads, how they are decoded, and what a sample is as plain features.",
    "encoder": "View -> h `(B, D)`. Any `nn.Module` with the integer attribute `out_dim`.",
    "views": "Samples -> views: what the model sees of a sample.",
    "source": "Where the samples come from.",
    "head": "`(B, in_dim)` -> `(B, out_dim)`: projectors and predictors.",
    "target": "`(views, z)` -> t, one per view, or None where a view is no target.",
    "pairing": "`(p, t)` -> the pairs to compare.",
    "term": "A scalar: of each pair `(p, t)`, of the z of all views (`set`), or of the global views (`globals`).",
    "optimizer": "Parameter groups -> a torch optimizer.",
    "schedule": "Optimizer step -> factor on the learning rate.",
    "protocol": "`(train features, test features)` -> `{metric: value}`.",
    "strategy": "Trains a method on the devices of a run: wrapping, gradients, state.",
}


CONTRACTS = {
    "ssl_zoo.batch": ["Encoder", "InputSpec", "Pairs", "StepOutput", "ViewSpec"],
    "ssl_zoo.parts": ["Head", "Pairing", "Target", "Term"],
    "ssl_zoo.data.source": ["Media", "Modality", "Source", "Split", "ViewPolicy"],
    "ssl_zoo.distributed.strategy": ["Strategy"],
    "ssl_zoo.evaluation.contract": ["EvaluationProtocol"],
    "ssl_zoo.methods.builder": ["Builder"],
}
"""What parts of one's own derive from, or have to look like, by module."""


def parts() -> str:
    """Return a section per kind of part and, for each of its parts, its documentation and a table of its options."""
    lines: list[str] = []
    for kind in registry.PACKAGES:
        lines += [f"## {kind}", "", KINDS.get(kind, ""), ""]
        for entry in registry.entries(kind):
            prose, described = _docstring(entry)
            lines += [f"### `{entry.name}` {{: #{kind}-{_slug(entry.name)} }}", "", prose, ""]
            options = registry.options(entry).model_json_schema().get("properties", {})
            if options:
                lines += ["| option | values | default | |", "| --- | --- | --- | --- |"]
                lines += [_row(name, schema, described.get(name, "")) for name, schema in options.items()] + [""]
    return "\n".join(lines)


def _docstring(entry: registry.Entry) -> tuple[str, dict[str, str]]:
    """Return the prose of a part's docstring, and what it says of each parameter."""
    sections = griffe.Docstring(inspect.getdoc(entry.factory) or "").parse("google", warnings=False)
    prose, described = [], {}
    for section in sections:
        if section.kind is griffe.DocstringSectionKind.text:
            prose.append(section.value)
        elif section.kind is griffe.DocstringSectionKind.parameters:
            described = {each.name: " ".join(each.description.split()) for each in section.value}
        elif section.kind is griffe.DocstringSectionKind.raises:
            prose += [f"Raises `{each.annotation}`: {each.description}" for each in section.value]
    return "\n\n".join(prose), described


def _row(name: str, schema: dict[str, Any], description: str) -> str:
    default = f"`{json.dumps(schema['default'])}`" if "default" in schema else "must be given"
    cells = (f"`{name}`", in_words(schema), default, description)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def list_of_parts() -> str:
    """Return a table of the kinds of parts and the names of each."""
    rows = ["| kind | parts |", "| --- | --- |"]
    for kind in registry.PACKAGES:
        links = [f"[`{name}`](../reference/parts.md#{kind}-{_slug(name)})" for name in registry.names(kind)]
        rows.append(f"| {kind} | {', '.join(links)} |")
    return "\n".join(rows)


def _slug(name: str) -> str:
    return re.sub(r"\W+", "-", name).strip("-")


def table_of_methods() -> str:
    """Return a table of the shipped methods and the parts of each."""
    rows = [
        "| method | projector | predictor | target | pairing | objective |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in method_names():
        made = load_recipe(name)
        given = (made.options.get(key) for key in ("projector", "predictor", "target", "pairing"))
        parts = ["" if part is None else f"`{part.name}`" for part in given]
        objective = ", ".join(f"`{term.name}`" for term in made.objective)
        rows.append("| " + " | ".join([f"[{name}]({name}.md)", *parts, objective]) + " |")
    return "\n".join(rows)


def parts_of(name: str) -> str:
    """Return a picture of the parts of a shipped method."""
    return diagram(load_recipe(name))


def recipe(name: str) -> str:
    """Return the recipe of a method."""
    return "\n".join(_fence("yaml", recipe_path(name).read_text(encoding="utf-8")))


def source(path: str) -> str:
    """Return the source of a function or class, `module:Qualified.name`."""
    module, _, name = path.partition(":")
    thing: Any = importlib.import_module(module)
    for step in name.split("."):
        thing = getattr(thing, step)
    return "\n".join(_fence("python", textwrap.dedent(inspect.getsource(thing))))


def _fence(language: str, text: str) -> list[str]:
    return [f"```{language}", text.rstrip("\n"), "```"]


def commands() -> str:
    """Return the help of every command."""
    lines: list[str] = []
    for name, command in sorted(main.commands.items()):
        context = click.Context(command, info_name=f"ssl-zoo {name}", max_content_width=100, terminal_width=100)
        lines += [f"## {name}", "", *_fence("text", command.get_help(context)), ""]
    return "\n".join(lines)


def public_names() -> str:
    """Return the documentation of each public name of the package."""
    return "\n".join(f"::: {ssl_zoo._HOMES[name]}.{name}" for name in sorted(ssl_zoo.__all__, key=str.lower)) + "\n"


def contracts() -> str:
    """Return the documentation of each contract that a part of one's own keeps."""
    return "\n".join(f"::: {module}.{name}" for module, names in CONTRACTS.items() for name in names) + "\n"


def modules() -> str:
    """Return the documentation of every module, in the order of their names, without what the Python API lists."""
    lines: list[str] = []
    for info in pkgutil.walk_packages(ssl_zoo.__path__, "ssl_zoo."):
        if info.ispkg or info.name == "ssl_zoo.__main__" or info.name.startswith("ssl_zoo.cli."):
            continue
        listed = [f"!^{name}$" for name, home in ssl_zoo._HOMES.items() if home == info.name]
        listed += [f"!^{name}$" for name in CONTRACTS.get(info.name, ())]
        lines += [f"::: {info.name}", "    options:", "      heading_level: 2", "      show_root_full_path: true"]
        lines += [f"      filters: {json.dumps(['!^_', *listed])}", ""]
    return "\n".join(lines)


GENERATED: dict[str, Callable[..., str]] = {
    each.__name__: each
    for each in [parts, list_of_parts, table_of_methods, parts_of, measured]
    + [recipe, source, commands, public_names, contracts, modules]
}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the markers of a page; mkdocs calls this for each."""

    def fill(match: re.Match[str]) -> str:
        return GENERATED[match[1]](*match[2].split())

    titled = QUOTATION.sub(r'\1title="\2"', markdown)  # the site knows no attribute `source`
    return MARKER.sub(fill, titled)

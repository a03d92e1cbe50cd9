"""Fills the generated parts of the documentation from the code, when it is built.

A line `<!-- generated: NAME ARGUMENTS -->` in a page is replaced by what the function of that name returns, so that a
list of parts, a recipe or the help of a command cannot differ from the code.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable
from typing import Any

import click

import ssl_zoo
from ssl_zoo import registry
from ssl_zoo.cli import main
from ssl_zoo.recipes import method_names, recipe_path

MARKER = re.compile(r"^<!-- generated: (\w+) ?(.*?) -->$", re.MULTILINE)

KINDS = {
    "encoder": "View -> h `(B, D)`. Any `nn.Module` with the integer attributes `out_dim` and `in_channels`.",
    "views": "What the model sees of a sample.",
    "source": "Where the samples come from.",
    "head": "`(B, in_dim)` -> `(B, out_dim)`: projectors and predictors.",
    "target": "`(views, z)` -> t, one a view, or None where a view is no target.",
    "pairing": "`(p, t)` -> the pairs to compare.",
    "term": "A scalar: of each pair `(p, t)`, of the z of all views (`set`), or of the global views (`globals`).",
    "optimizer": "Parameter groups -> a torch optimizer.",
    "schedule": "Optimizer step -> factor on the learning rate.",
    "protocol": "`(train features, test features)` -> `{metric: value}`.",
}


def _qualified(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def parts() -> str:
    """Return a section a kind of part and the documentation of every part of it."""
    lines: list[str] = []
    for kind in registry.PACKAGES:
        lines += [f"## {kind}", "", KINDS.get(kind, ""), ""]
        for entry in registry.entries(kind):
            lines += [f"### `{entry.name}` {{: #{kind}-{_slug(entry.name)} }}", "", f"::: {_qualified(entry.factory)}"]
            lines += ["    options:", "      show_root_heading: false", "      show_root_toc_entry: false"]
            lines += ["      show_bases: false", "      members: false", ""]
    return "\n".join(lines)


def list_of_parts() -> str:
    """Return a table of the kinds of parts and the names of each."""
    rows = ["| kind | parts |", "| --- | --- |"]
    for kind in registry.PACKAGES:
        links = [f"[`{name}`](../reference/parts.md#{kind}-{_slug(name)})" for name in registry.names(kind)]
        rows.append(f"| {kind} | {', '.join(links)} |")
    return "\n".join(rows)


def _slug(name: str) -> str:
    return re.sub(r"\W+", "-", name).strip("-")


def methods() -> str:
    """Return every shipped method: its headline, and the whole recipe."""
    lines: list[str] = []
    for name in method_names():
        lines += [f"## {name}", "", *_fence("yaml", recipe_path(name).read_text(encoding="utf-8")), ""]
    return "\n".join(lines)


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


def modules(skip: str = "") -> str:
    """Return the documentation of every module, in the order of their names."""
    lines: list[str] = []
    for info in pkgutil.walk_packages(ssl_zoo.__path__, "ssl_zoo."):
        if info.ispkg or info.name.rpartition(".")[2] == "__main__" or info.name.startswith("ssl_zoo.cli"):
            continue
        lines += [f"::: {info.name}", "    options:", "      heading_level: 2", "      show_root_full_path: true"]
        lines += ["      show_root_members_full_path: false", ""]
    return "\n".join(lines)


GENERATED: dict[str, Callable[..., str]] = {
    each.__name__: each for each in (parts, list_of_parts, methods, recipe, source, commands, public_names, modules)
}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the markers of a page; mkdocs calls this for each."""

    def fill(match: re.Match[str]) -> str:
        return GENERATED[match[1]](*match[2].split())

    return MARKER.sub(fill, markdown)

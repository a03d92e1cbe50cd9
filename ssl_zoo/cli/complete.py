"""The names that a shell completes arguments with."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem


def recipes(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the methods and experiments that begin with what was typed; files where there are none."""
    from ssl_zoo.recipe.load import experiment_names, method_names

    found = [name for name in [*method_names(), *experiment_names()] if name.startswith(incomplete)]
    return [CompletionItem(name) for name in found] or [CompletionItem(incomplete, type="file")]


def methods(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the methods that begin with what was typed."""
    from ssl_zoo.recipe.load import method_names

    return [name for name in method_names() if name.startswith(incomplete)]


def names(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the recipes and parts that begin with what was typed."""
    from ssl_zoo import registry
    from ssl_zoo.recipe.load import experiment_names, method_names

    parts = [name for kind in registry.PACKAGES for entry in registry.entries(kind)
             for name in (entry.name, f"{kind}/{entry.name}")]  # fmt: skip
    return sorted({name for name in [*method_names(), *experiment_names(), *parts] if name.startswith(incomplete)})


def kinds(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the kinds that `list` lists."""
    from ssl_zoo import registry

    return [name for name in ("methods", "experiments", *registry.PACKAGES) if name.startswith(incomplete)]

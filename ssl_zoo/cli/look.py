"""Commands that look and do not train: `list`, `show`, `check`, `schema`, `views`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ssl_zoo.cli import options

if TYPE_CHECKING:
    from ssl_zoo.registry import Entry


@click.command("list")
@click.argument("kind", required=False)
@options.imports
@options.as_json
def list_(kind: str | None, as_json: bool) -> None:
    """List the methods and experiments, or the parts of a KIND (encoder, head, target, term, ...)."""
    from ssl_zoo import registry
    from ssl_zoo.errors import UserError, suggest
    from ssl_zoo.recipe.load import experiment_names, method_names

    found: dict[str, dict[str, str]] = {}
    if kind in (None, "methods"):
        found["methods"] = {name: _headline(name) for name in method_names()}
    if kind in (None, "experiments"):
        found["experiments"] = {name: _headline(name) for name in experiment_names()}
    known = ("methods", "experiments", *registry.PACKAGES)
    if kind is not None and kind not in known:
        raise UserError(f"there is nothing to list of the kind {kind!r}{suggest(kind, known)}")
    if kind not in ("methods", "experiments"):
        for each in registry.PACKAGES if kind is None else (kind,):
            found[each] = {entry.name: entry.summary for entry in registry.entries(each)}
    if as_json:
        options.print_json({section: list(names) for section, names in found.items()})
        return
    for section, names in found.items():
        click.echo(f"{section}:")
        width = max(map(len, names), default=0)
        for name, summary in names.items():
            click.echo(f"  {name:{width}}  {summary}")


def _headline(reference: str) -> str:
    from ssl_zoo.recipe.load import recipe_path

    first = recipe_path(reference).read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("# ") if first.startswith("#") else ""


@click.command()
@click.argument("name")
@options.recipe_options
@options.as_json
def show(
    name: str, overrides: tuple[str, ...], data: str | None, seed: int | None, variant: str | None, as_json: bool
) -> None:
    """Show a recipe with all its settings, or a part with its options: NAME, or KIND/NAME such as head/mlp."""
    from ssl_zoo import registry
    from ssl_zoo.errors import UserError, suggest
    from ssl_zoo.recipe.load import experiment_names, load_recipe, method_names

    every = [entry for kind in registry.PACKAGES for entry in registry.entries(kind)]
    parts = [entry for entry in every if name in (entry.name, f"{entry.kind}/{entry.name}") or _in_family(name, entry)]
    recipes = [*method_names(), *experiment_names()]
    if name in recipes or not parts:
        if name not in recipes and not os.path.exists(name):  # a name of any length
            known = {entry.name for entry in every} | set(recipes)
            raise UserError(f"there is no recipe or part called {name!r}{suggest(name, known)}")
        recipe = load_recipe(name, overrides, data=data, seed=seed, variant=variant)
        options.print_json(recipe.dump()) if as_json else click.echo(recipe.to_yaml(), nl=False)
        return
    shown: list[dict[str, Any]] = [
        {"kind": e.kind, "name": e.name, "doc": registry.options(e).__doc__, "options": _options(e)} for e in parts
    ]
    if as_json:
        options.print_json(shown)
        return
    for part in shown:
        click.echo(f"{part['kind']} {part['name']}\n\n{part['doc']}\n")
        for option, default in part["options"].items():
            click.echo(f"  {option} = {default}")


def _in_family(name: str, entry: Entry) -> bool:
    return entry.name.endswith("/*") and name.startswith(entry.name[:-1])


def _options(entry: Entry) -> dict[str, str]:
    from ssl_zoo import registry

    fields = registry.options(entry).model_fields
    return {name: "(must be given)" if field.is_required() else str(field.default) for name, field in fields.items()}


@click.command()
@click.argument("recipe")
@options.recipe_options
@options.as_json
def check(
    recipe: str, overrides: tuple[str, ...], data: str | None, seed: int | None, variant: str | None, as_json: bool
) -> None:
    """Validate a recipe and join its parts, without data and without allocating weights."""
    from ssl_zoo.methods.check import check_recipe
    from ssl_zoo.recipe.load import load_recipe

    result = check_recipe(load_recipe(recipe, overrides, data=data, seed=seed, variant=variant))
    if as_json:
        options.print_json(result)
        return
    click.echo(f"{recipe}: ok")
    for name, count in result["parameters"].items():
        click.echo(f"  {name}: {count / 1e6:.2f} M weights")
    click.echo(f"  learning rate {result['lr']:.4g} at a total batch of {result['batch_size']}")


@click.command()
def schema() -> None:
    """Print the JSON schema of recipes, for editors."""
    from ssl_zoo.recipe.json_schema import recipe_schema

    options.print_json(recipe_schema())


@click.command()
@click.argument("recipe")
@options.recipe_options
@click.option(
    "--out", default="views.png", show_default=True, type=click.Path(dir_okay=False), help="The PNG to write."
)
@click.option("--samples", default=8, show_default=True, type=click.IntRange(1, 64), help="Rows of the picture.")
def views(
    recipe: str,
    overrides: tuple[str, ...],
    data: str | None,
    seed: int | None,
    variant: str | None,
    out: str,
    samples: int,
) -> None:
    """Write a PNG of what the model really sees: a row a sample, first as it is, then its views."""
    from PIL import Image

    from ssl_zoo.data.open import open_data
    from ssl_zoo.data.preview import picture_of_views
    from ssl_zoo.errors import UserError
    from ssl_zoo.methods.build import build_modality, build_views
    from ssl_zoo.recipe.load import load_recipe
    from ssl_zoo.runs.atomic import check_place, replacing

    if not Path(out).parent.is_dir():
        raise UserError(f"--out {out}: the folder {Path(out).parent} does not exist.")
    check_place(out, "--out")
    loaded = load_recipe(recipe, overrides, data=data, seed=seed, variant=variant)
    policy = build_views(loaded)
    train = open_data(loaded.data, build_modality(loaded, policy.spec)).train
    picture = picture_of_views(train, policy, loaded.seed, samples)
    with replacing(Path(out)) as file:
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(file, format="PNG")
    click.echo(out)

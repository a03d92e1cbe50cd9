"""Commands that inspect and do not train: `list`, `show`, `check`, `schema`, `views`."""

from __future__ import annotations

import click

from ssl_zoo.cli import complete, options


@click.command("list")
@click.argument("kind", required=False, shell_complete=complete.kinds)
@click.argument("pattern", default="*")
@options.imports
@options.as_json
def list_(kind: str | None, pattern: str, as_json: bool) -> None:
    """List methods, experiments, or the parts of a KIND (encoder, head, target, term, ...); all without a KIND.

    PATTERN selects names by wildcards. Examples: ssl-zoo list methods 'byol*', ssl-zoo list encoder 'resnet*'
    """
    from ssl_zoo.recipe.catalogue import catalogue

    found = catalogue(kind, pattern)
    if as_json:
        options.print_json({section: list(names) for section, names in found.items()})
        return
    for section, names in found.items():
        click.echo(f"{section}:")
        width = max(map(len, names), default=0)
        for name, summary in names.items():
            click.echo(f"  {name:{width}}  {summary}")


@click.command()
@click.argument("name", shell_complete=complete.names)
@options.recipe_options
@options.as_json
def show(
    name: str, overrides: tuple[str, ...], data: str | None, seed: int | None, variant: str | None, as_json: bool
) -> None:
    """Show a recipe with all its settings, or a part with its options: NAME, or KIND/NAME such as head/mlp."""
    from ssl_zoo.recipe import catalogue

    found = catalogue.show(name, overrides, data=data, seed=seed, variant=variant)
    if not isinstance(found, list):
        options.print_json(found.dump()) if as_json else click.echo(found.to_yaml(), nl=False)
    elif as_json:
        options.print_json(found)
    else:
        for part in found:
            version = "" if part["version"] is None else f" v{part['version']}"
            click.echo(f"{part['kind']} {part['name']}{version}\n\n{part['doc']}\n")
            for option, default in part["options"].items():
                click.echo(f"  {option} = {default}    {part['values'][option].replace('`', '')}")


@click.command()
@click.argument("recipe", shell_complete=complete.recipes)
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
    for note in result["notes"]:
        click.echo(f"  {note}")


@click.command()
def schema() -> None:
    """Print the JSON schema of recipes, for editors."""
    from ssl_zoo.recipe.json_schema import recipe_schema

    options.print_json(recipe_schema())


@click.command()
@click.argument("recipe", shell_complete=complete.recipes)
@options.recipe_options
@click.option(
    "--out", default="views.png", show_default=True, type=click.Path(dir_okay=False), help="The PNG to write."
)
@click.option("--samples", default=8, show_default=True, type=click.IntRange(1, 64), help="Rows of the picture.")
@options.as_json
def views(
    recipe: str,
    overrides: tuple[str, ...],
    data: str | None,
    seed: int | None,
    variant: str | None,
    out: str,
    samples: int,
    as_json: bool,
) -> None:
    """Write a PNG of the model's input: one row per sample, first without augmentation, then its views."""
    from ssl_zoo.recipe.load import load_recipe
    from ssl_zoo.studies.preview import write_views

    write_views(load_recipe(recipe, overrides, data=data, seed=seed, variant=variant), out, samples)
    options.print_json({"out": out}) if as_json else click.echo(out)

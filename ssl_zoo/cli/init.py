"""The command `init`."""

from __future__ import annotations

import click

from ssl_zoo.cli import complete, options
from ssl_zoo.errors import shown_name


@click.command("init")
@click.argument("method", shell_complete=complete.methods)
@click.option("--data", metavar="SRC", required=True, help="A folder, zip or parquet, or a registered source.")
@click.option("--out", default="recipe.yaml", show_default=True, type=click.Path(dir_okay=False),
              help="The recipe to write.")  # fmt: skip
@click.option("--modality", help="Kind of data: `ssl-zoo list modality`. Found out where only one reads SRC.")
@click.option("--channels", type=click.IntRange(min=1), help="Channels that samples are read with.")
@click.option("--no-estimate", "estimated", is_flag=True, default=True, flag_value=False,
              help="Take no steps to measure time and memory.")  # fmt: skip
@options.overrides
@options.imports
@options.as_json
def init(
    method: str,
    data: str,
    out: str,
    modality: str | None,
    channels: int | None,
    estimated: bool,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write a commented recipe of METHOD that fits the data and this machine, and say how long it will take.

    Example: ssl-zoo init simsiam --data PHOTOS --out recipe.yaml
    """
    from ssl_zoo.runs import commands
    from ssl_zoo.studies.init_recipe import init_recipe

    options.log("reading samples" + (" and taking a few steps" if estimated else ""))
    found = init_recipe(method, data, out=out, overrides=overrides, modality=modality, channels=channels,
                        estimated=estimated)  # fmt: skip
    if as_json:
        options.print_json(found.plain())
        return
    lines = [f"{name}: {text}" for name, text in found.facts.items()]
    lines += ["", *(f"{each.key}: {_value(each.value)}  ({each.why})" for each in found.settings)]
    if found.estimate is not None:
        lines += ["", *found.estimate.sentences()]
    lines += ["", f"written to {out}; train it with: {commands.command('train', out)}"]
    click.echo("\n".join(map(shown_name, lines)))


def _value(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

"""The command `bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ssl_zoo.cli import options


@click.command()
@click.argument("parts", nargs=-1, metavar="[PART]...")
@click.option("--recipe", default="cifar10/simsiam", show_default=True, help="The recipe of `step` and `pipeline`.")
@click.option("--data", metavar="SRC", help="The data of `step` and `pipeline`; by default images are made.")
@options.overrides
@options.imports
@click.option(
    "--against", multiple=True, metavar="LIBRARY", help="lightly, kornia or torchvision: the same work, in turn."
)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="The number of timed rounds.")
@click.option("--quick", is_flag=True, help="Tiny amounts of work, to test that it runs; the numbers mean nothing.")
@click.option("--profile", "profiled", is_flag=True, help="Print the top costs of a training step instead.")
@click.option("--write", metavar="FILE", help="Also put the result between the bench markers of a Markdown file.")
@options.as_json
def bench(
    parts: tuple[Any, ...],
    recipe: str,
    data: str | None,
    overrides: tuple[str, ...],
    against: tuple[str, ...],
    rounds: int,
    quick: bool,
    profiled: bool,
    write: str | None,
    as_json: bool,
) -> None:
    """Measure the speed of PARTs: views, step, pipeline, folder, data, eval; by default all of them.

    All sides run in turn, so that other load on the machine affects all of them. Prints medians over the rounds, and
    the part that limits the training.
    """
    from ssl_zoo.bench import suite, training
    from ssl_zoo.recipe.load import load_recipe
    from ssl_zoo.report import markers

    if write is not None:
        markers.check_page(Path(write), suite.BLOCK, "--write")
    if profiled:
        with suite.recipe_for(recipe, data, overrides, quick) as loaded:
            costs = training.profile(loaded)
        if as_json:
            options.print_json(costs)
        else:
            click.echo("\n".join(f"{share:6.1%}  {name}" for name, share in costs.items()))
        return
    results = suite.bench(parts or suite.PARTS, recipe=recipe, data=data, overrides=overrides, against=against,
                          rounds=rounds, quick=quick)  # fmt: skip
    machine = suite.machine(load_recipe(recipe, overrides))
    text = suite.table(results) + "\n\n" + ", ".join(f"{key} {value}" for key, value in machine.items())
    if write is not None:
        markers.write_block(Path(write), suite.BLOCK, text)
    if as_json:
        options.print_json({"machine": machine, "results": [result.plain() for result in results]})
    else:
        click.echo(text)

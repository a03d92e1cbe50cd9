"""The command `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ssl_zoo.cli import complete, options
from ssl_zoo.cli.work import RESUME, _leave
from ssl_zoo.errors import UserError, shown_name


def seeds_of(seeds: tuple[int, ...], num: int | None) -> tuple[int, ...]:
    """Return the seeds that `--seed` and `--seeds` ask for.

    Raises:
        UserError: both are given.
    """
    if num is not None and seeds:
        raise UserError("--seeds, --seed: give a number of seeds, or each of them.")
    return tuple(range(num)) if num is not None else seeds or (0,)


@click.command()
@click.argument("recipes", nargs=-1, required=True, shell_complete=complete.recipes)
@click.option("--seeds", "num_seeds", type=click.IntRange(min=1), metavar="N", help="Seeds 0 to N - 1 for each recipe.")
@click.option("--seed", "seeds", multiple=True, type=click.IntRange(min=0), metavar="S",
              help="A seed of each recipe's runs, default 0; give several for a spread.")  # fmt: skip
@click.option(
    "--epochs", type=click.FloatRange(min=0, min_open=True), metavar="E", help="Budget of each run in epochs."
)
@click.option("--samples", type=click.IntRange(min=1), metavar="N", help="Budget of each run in samples seen.")
@click.option("--max-steps", type=click.IntRange(min=1), metavar="N", help="Budget of each run in optimizer steps.")
@click.option("--max-time", metavar="TIME", help="Budget of each run in time of training, such as 90s, 30m or 1.5h; "
              "its steps are set from a measured speed, so that the schedule ends in time.")  # fmt: skip
@click.option("--sweep", "sweeps", multiple=True, metavar="KEY=V1,V2,...",
              help="Train each recipe with each value (several: each combination) and take its best setting, chosen "
              "on a held-out part of train; NAME:KEY=... for one recipe.")  # fmt: skip
@click.option("--variant", "variants", multiple=True, metavar="[NAME:]VARIANT",
              help="A variant, of all recipes that are experiments or of one.")  # fmt: skip
@click.option("-s", "--set", "overrides", multiple=True, metavar="[NAME:]KEY=VALUE",
              help="Override a key of all recipes, or of one: -s simsiam:predictor.dims=[64,256].")  # fmt: skip
@options.data
@options.imports
@options.parallel
@click.option("--out", default="runs/compare", show_default=True, type=click.Path(file_okay=False))
@options.dry_run
@options.as_json
@options.interruptible(RESUME)
def compare(
    recipes: tuple[str, ...],
    num_seeds: int | None,
    seeds: tuple[int, ...],
    max_time: str | None,
    sweeps: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Train several RECIPES on the same data with the same seeds and budget; tables, RESULTS.md and report.html.

    A recipe may be named, NAME=RECIPE, so that it can come twice with other options:

    Example: ssl-zoo compare simsiam ema=simsiam -s ema:target=ema --data DIR --seeds 3 --epochs 50
    """
    from ssl_zoo.studies.compare import dry_comparison, run_comparison
    from ssl_zoo.studies.execute import any_failed, interrupted
    from ssl_zoo.training.stop import seconds

    given |= {"seeds": seeds_of(seeds, num_seeds), "sweep": sweeps}
    given["max_seconds"] = None if max_time is None else seconds(max_time)
    if dry_run:
        found = dry_comparison(recipes, log=options.log, **given)
        options.print_json(found.plain()) if as_json else click.echo(found.text())
        return
    comparison = run_comparison(recipes, log=options.log, **given)
    if as_json:
        options.print_json(comparison.plain())
    if interrupted(comparison.groups):
        _leave("interrupted")
    if not as_json:
        where = shown_name(str(Path(given["out"]) / "report.html"))
        click.echo(f"{comparison.terminal()}\n\nreport: {where}")
    if any_failed(comparison.groups):
        _leave("failed")

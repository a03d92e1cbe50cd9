"""The command that writes a SLURM job: `slurm`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ssl_zoo.cli import options
from ssl_zoo.cli.work import default_out, train
from ssl_zoo.errors import UserError, shown_name

_OWN = {"resume": "--resume", "as_json": "--json"}
"""Options of `train` that make no sense in a job: it resumes itself, and its output is a log."""


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="RECIPE [OPTIONS OF TRAIN]")
@click.option("--nodes", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Machines.")
@click.option("--gpus-per-node", type=click.IntRange(min=0), default=1, show_default=True, metavar="N",
              help="GPUs of each machine, one process each; 0 trains on CPUs.")  # fmt: skip
@click.option("--cpus-per-node", type=click.IntRange(min=1), metavar="N",
              help="CPUs of each machine; default: what the cluster gives, often a single one.")  # fmt: skip
@click.option("--time", metavar="TIME", help="Time limit of the job: minutes, HH:MM:SS or D-HH:MM:SS.")
@click.option("--grace", type=click.IntRange(min=1), default=300, show_default=True, metavar="S",
              help="Seconds before the limit at which SLURM tells the run to save.")  # fmt: skip
@click.option("--partition", metavar="NAME", help="Partition for the job.")
@click.option("--sbatch", "more", multiple=True, metavar="KEY=VALUE",
              help="Another option of sbatch, such as account=NAME or mem=64G.")  # fmt: skip
@click.option("--setup", multiple=True, metavar="LINE", help="Line of shell to run first, such as 'module load cuda'.")
@click.option("--script", type=click.Path(dir_okay=False), metavar="FILE", help="File to write; default RUN.sbatch.")
@click.option("--submit", is_flag=True, help="Also hand the file to sbatch.")
@options.as_json
def slurm(
    words: tuple[str, ...], nodes: int, gpus_per_node: int, cpus_per_node: int | None, time: str | None, grace: int,
    partition: str | None, more: tuple[str, ...], setup: tuple[str, ...], script: str | None, submit: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Write a job for SLURM that trains RECIPE, saves before its time is over, is requeued and resumes.

    It takes the options of `train` too. Example: ssl-zoo slurm simsiam --data PHOTOS --gpus-per-node 8 --time 12:00:00
    """
    from ssl_zoo.studies.slurm import slurm as write_job

    given = _checked(words)
    run = given.pop("out")
    found = write_job(
        _without(words, "--out", "--devices"),
        run,
        script or f"{Path(run).name}.sbatch",
        nodes=nodes,
        gpus_per_node=gpus_per_node,
        cpus_per_node=cpus_per_node,
        devices=given["devices"],
        time=time,
        grace=grace,
        options=(*([f"partition={partition}"] if partition else []), *more),
        setup=setup,
        submit=submit,
    )
    if as_json:
        options.print_json(found)
    else:
        click.echo(shown_name(found["job"] or f"{found['out']}: submit it by `sbatch {found['out']}`"))


def _checked(words: tuple[str, ...]) -> dict[str, Any]:
    """Return the parameters that `train` makes of some words, after its recipe was loaded, so that no job is in vain.

    Raises:
        UserError: an option that has no place in a job, or a mistake in the recipe.
    """
    from ssl_zoo.cli import short
    from ssl_zoo.recipe.load import load_recipe

    params = train.make_context("train", list(words)).params
    for name, option in _OWN.items():
        if params[name]:
            raise UserError(f"{option}: leave it out; the job resumes itself, and its output goes into a file.")
    overrides = short.overrides(params["overrides"], params)
    loaded = load_recipe(
        params["recipe"], overrides, data=params["data"], seed=params["seed"], variant=params["variant"]
    )
    out = params["out"] or default_out(params["recipe"], params["variant"], loaded.seed)
    return {**params, "out": out}


def _without(words: tuple[str, ...], *names: str) -> list[str]:
    """Return words without some options that take a value, which the job gives itself."""
    kept, rest = list[str](), iter(words)
    for word in rest:
        if word in names:
            next(rest, None)
        elif not any(word.startswith(f"{name}=") for name in names):
            kept.append(word)
    return kept

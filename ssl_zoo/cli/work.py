"""Commands that train, evaluate and report: `demo`, `train`, `eval`, `run`, `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import click

from ssl_zoo.cli import complete, options, short
from ssl_zoo.errors import UserError, shown_name
from ssl_zoo.runs.atomic import check_place

EXIT_CODES = {"done": 0, "failed": 1, "collapsed": 3, "interrupted": 75}

RESUME = "interrupted; run the same command again to resume"


def _leave(status: str) -> NoReturn:
    raise SystemExit(EXIT_CODES[status])


def default_out(recipe: str, variant: str | None, seed: int) -> str:
    """Return the run folder of `digits/simsiam` as runs/digits-simsiam-seed0; of a path, by the file's name."""
    path = Path(recipe)
    if path.suffix in (".yaml", ".yml"):
        name = path.stem
    else:
        name = path.name if path.is_dir() else recipe.replace("/", "-")
    return f"runs/{name}{'-' + variant if variant else ''}-seed{seed}"


@click.command()
@click.argument("recipe", shell_complete=complete.recipes)
@options.recipe_options
@click.option("--out", type=click.Path(file_okay=False), help="Run folder; default runs/METHOD-seedN.")
@click.option("--resume", is_flag=True, help="Resume the run in --out, exactly as if it had not been stopped.")
@click.option("--allow-changed-data", is_flag=True,
              help="With --resume: go on although the data are not those that the run was started with.")  # fmt: skip
@click.option("--init-from", metavar="RUN",
              help="Start from a run's weights, or a file of torchvision, timm, lightly or the authors.")  # fmt: skip
@click.option("--init-part", "init_parts", multiple=True, default=("encoder",), show_default=True, metavar="PART",
              help="Component that --init-from loads: encoder, projector, predictor.")  # fmt: skip
@click.option("--devices", type=click.IntRange(min=1), metavar="N",
              help="Train with N processes, one per device; leave it out under torchrun.")  # fmt: skip
@click.option("--max-restarts", type=click.IntRange(min=0), default=0, metavar="N",
              help="Start again from the last checkpoint, N times at most, when a process is lost.")  # fmt: skip
@short.options
@click.option("--max-time", metavar="TIME", help="Stop and save after 90s, 30m, 1.5h; then exit code 75.")
@click.option("--baselines", type=click.Path(file_okay=False), metavar="DIR",
              help="Keep the numbers of raw input and untrained encoder there, for other runs.")  # fmt: skip
@options.as_json
@options.interruptible("stopped before the run began; the same command starts it")
def train(
    recipe: str,
    overrides: tuple[str, ...],
    data: str | None,
    seed: int | None,
    variant: str | None,
    out: str | None,
    resume: bool,
    allow_changed_data: bool,
    init_from: str | None,
    init_parts: tuple[str, ...],
    devices: int | None,
    max_restarts: int,
    max_time: str | None,
    baselines: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Train RECIPE: a method name, STUDY/NAME, a YAML file, or a run folder with --resume.

    Example: ssl-zoo train digits/simsiam -s target=ema --out runs/mine
    """
    from ssl_zoo.distributed.launch import exit_code, is_main_process
    from ssl_zoo.recipe.load import load_recipe
    from ssl_zoo.runs.imports import check_imported
    from ssl_zoo.training.stop import seconds
    from ssl_zoo.training.train import train as run_training

    overrides = short.overrides(overrides, given)
    is_run = _is_run(recipe, resume, out)
    if is_run:
        check_imported(recipe)
    reference = str(Path(recipe) / "recipe.yaml") if is_run else recipe  # a run may have the name of a method
    loaded = load_recipe(reference, overrides, data=data, seed=seed, variant=variant, moved=is_run)
    if out is None:
        out = recipe if is_run else default_out(recipe, variant, loaded.seed)
    summary = run_training(
        loaded,
        out=out,
        resume=resume,
        allow_changed_data=allow_changed_data,
        init_from=init_from,
        init_parts=init_parts,
        devices=devices,
        max_restarts=max_restarts,
        max_seconds=None if max_time is None else seconds(max_time),
        baselines=baselines,
        log=options.log,
    )
    if is_main_process():
        _print_summary(summary, out, as_json)
    raise SystemExit(exit_code(EXIT_CODES[summary["status"]]))


def _is_run(recipe: str, resume: bool, out: str | None) -> bool:
    """Return whether `train RECIPE` names a run to resume.

    Raises:
        UserError: it names a run, and --resume is missing.
    """
    from ssl_zoo.recipe.load import is_run_folder
    from ssl_zoo.runs import commands

    if not resume and out is None and is_run_folder(recipe):
        raise UserError(
            f"{recipe}: is a run; resume it by `{commands.resume(recipe)}`, or name a folder for a new run of its "
            "recipe with --out."
        )
    return resume and out is None and (Path(recipe) / "recipe.yaml").is_file()


def _print_summary(summary: dict[str, Any], out: str, as_json: bool) -> None:
    from ssl_zoo.report.table import summary_table
    from ssl_zoo.report.verdict import verdict_text
    from ssl_zoo.runs import commands

    if as_json:
        options.print_json(summary)
    elif summary["status"] == "interrupted":
        click.echo(shown_name(f"stopped at step {summary['steps']}; resume with: {commands.resume(out)}"))
    else:
        click.echo(summary_table(summary))
        if "verdict" in summary:
            click.echo(verdict_text(summary["verdict"]))
        click.echo(shown_name(f"{summary['status']}: {out}"))
        if summary["status"] == "done":
            words = commands.command("export", out, "--to", "onnx", "--out", "encoder.onnx")
            click.echo(shown_name(f"its encoder for torchvision, timm or ONNX: {words}"))


@click.command("eval")
@click.argument("run", required=False)
@click.option("--protocol", "protocols", multiple=True, metavar="NAME",
              help="Such as knn or linear, see ssl-zoo list protocol; default those of the recipe.")  # fmt: skip
@click.option("--encoder", metavar="NAME", help="In place of a run, with --weights: resnet50, timm/NAME.")
@click.option("--weights", metavar="FILE", help="Its weights, a file of torchvision, timm, lightly or the authors.")
@options.data
@options.overrides
@options.imports
@options.as_json
def evaluate(
    run: str | None,
    protocols: tuple[str, ...],
    encoder: str | None,
    weights: str | None,
    data: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Measure the encoder of RUN, next to the raw input and the untrained encoder.

    Of a run that has not finished it is the encoder of its last checkpoint; RUN@step500 and RUN@best name one.

    Without a run: ssl-zoo eval --encoder resnet50 --weights resnet50.pth --data PHOTOS
    """
    from ssl_zoo.evaluation.evaluate import evaluate_and_judge
    from ssl_zoo.evaluation.weights_file import evaluate_weights
    from ssl_zoo.report.table import results_table
    from ssl_zoo.report.verdict import verdict_text

    more: dict[str, Any] = {"overrides": overrides, "log": options.log}
    if run is not None and encoder is None and weights is None:
        results, verdict = evaluate_and_judge(run, protocols, data=data, **more)
    elif run is None and encoder is not None and weights is not None and data is not None:
        results, verdict = evaluate_weights(encoder, weights, protocols, data=data, **more)
    else:
        raise UserError("name a RUN; or, without one, --encoder, --weights and --data.")
    if as_json:
        options.print_json({**results, "verdict": verdict})
    else:
        click.echo(f"{results_table(results)}\n{verdict_text(verdict)}".lstrip("\n"))


@click.command()
@click.argument("experiment", shell_complete=complete.recipes)
@click.option("--variant", "variants", multiple=True, metavar="NAME", help="Only these variants, or one scale's.")
@click.option("--only", multiple=True, metavar="NAME", help="Only these experiments of the study; default all.")
@click.option("--seed", "seeds", multiple=True, type=click.IntRange(min=0), help="Only these seeds.")
@options.data
@options.overrides
@options.imports
@click.option("--out", default="runs", show_default=True, type=click.Path(file_okay=False), help="Where the runs go.")
@click.option("--results", type=click.Path(dir_okay=False), help="File of the tables; default OUT/STUDY/RESULTS.md.")
@options.parallel
@options.dry_run
@options.as_json
@options.interruptible(RESUME)
def run(
    experiment: str,
    variants: tuple[str, ...],
    only: tuple[str, ...],
    seeds: tuple[int, ...],
    data: str | None,
    overrides: tuple[str, ...],
    out: str,
    results: str | None,
    parallel: int | None,
    threads: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run a study: every experiment, variant and seed of EXPERIMENT, skipping finished runs; print a table.

    RESULTS.md and report.html have all of it, and lie with the runs unless --results names another place.

    A run that fails leaves the others alone; the exit code is then 1.
    """
    from ssl_zoo.report.aggregate import comparison_table
    from ssl_zoo.studies.execute import interrupted
    from ssl_zoo.studies.run import dry_study, run_groups

    given: dict[str, Any] = {
        "variants": variants or None, "seeds": seeds or None, "data": data, "overrides": overrides,
        "only": only or None, "out": out, "parallel": parallel, "threads": threads, "log": options.log,
    }  # fmt: skip
    if dry_run:
        found = dry_study(experiment, **given)
        options.print_json(found.plain()) if as_json else click.echo(found.text())
        return
    groups = run_groups(experiment, results=results, **given)
    summaries = [summary for group in groups for summary in group.summaries]
    if as_json:
        options.print_json(summaries)
    elif not interrupted(groups):
        click.echo(comparison_table(groups))
    for status in ("interrupted", "failed"):
        if any(summary["status"] == status for summary in summaries):
            _leave(status)


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(file_okay=False))
@click.option("--out", default="report.html", show_default=True, type=click.Path(dir_okay=False), help="HTML file.")
@click.option("--title", default="ssl_zoo report", show_default=True)
@click.option(
    "--tsne/--no-tsne", default=True, show_default=True, help="Also map the embedding by t-SNE, which takes time."
)
@options.as_json
def report(runs: tuple[str, ...], out: str, title: str, tsne: bool, as_json: bool) -> None:
    """Write one self-contained HTML page about RUNS."""
    from ssl_zoo.report.html import groups_of, write_report

    check_place(out, "--out")
    written = str(write_report(groups_of([Path(each) for each in runs]), Path(out), title, tsne))
    options.print_json({"out": written, "runs": list(runs)}) if as_json else click.echo(shown_name(written))


@click.command()
@click.option("--out", default="runs/demo", show_default=True, type=click.Path(file_okay=False))
@click.option("--seed", "seeds", multiple=True, type=click.IntRange(min=0), default=(0,), show_default=True)
@options.overrides
@options.as_json
@options.interruptible(RESUME)
def demo(out: str, seeds: tuple[int, ...], overrides: tuple[str, ...], as_json: bool) -> None:
    """Train SimSiam on handwritten digits, with and without stop-gradient; minutes, offline, two CPU cores."""
    from ssl_zoo.studies.demo import run_demo

    result: dict[str, Any] = run_demo(Path(out), seeds=seeds, overrides=overrides, log=options.log)
    if as_json:
        options.print_json(result)
    elif result["status"] == "done":
        where = shown_name(result["report"])
        lines = [result["table"], "", *result["verdicts"], "", *result["expectations"], "", f"report: {where}"]
        click.echo("\n".join(lines))
    _leave(result["status"])

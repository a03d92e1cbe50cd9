"""Studies: every experiment, variant and seed, skipping finished runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ssl_zoo.errors import UserError, suggest
from ssl_zoo.recipe.experiment import BASE as BASE
from ssl_zoo.recipe.load import Experiment, experiment_names, load_recipe, read_experiment
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.report import expectations, relations
from ssl_zoo.report.aggregate import Group
from ssl_zoo.runs.atomic import check_place
from ssl_zoo.studies.dry_run import DryRun, dry_run
from ssl_zoo.studies.execute import Log, Setting, interrupted, run_settings
from ssl_zoo.studies.parallel import places, threads_of_each


def experiments_of(reference: str, only: Sequence[str] | None = None) -> dict[str, Experiment]:
    """Return the experiments of a study, or the one that is named, each read once.

    Args:
        reference: STUDY (all its experiments), STUDY/NAME, or the path of an experiment.
        only: the names of the study's experiments to take; None takes all.

    Raises:
        UserError: no such experiment, or a file with a mistake.
    """
    found = [] if "/" in reference or Path(reference).is_file() else experiment_names(reference)
    short = {name.rpartition("/")[2]: name for name in found or [reference]}
    for name in only or ():
        if name not in short:
            raise UserError(f"--only {name}: {reference} has no such experiment{suggest(name, short)}")
    return {name: read_experiment(name) for stem, name in short.items() if only is None or stem in only}


def settings_of(
    experiments: Mapping[str, Experiment],
    variants: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    data: str | None = None,
    overrides: Sequence[str] = (),
) -> list[Setting]:
    """Return the settings of a study.

    Args:
        experiments: of the study, see `experiments_of`.
        variants: only these, `base` being the experiment without one, and a scale the base and all variants at this
            scale; None takes all that are at no scale (of a grid: its cells without the base). Experiments that lack a
            variant of another one skip it.
        seeds: in place of the experiments' own.
        data: in place of the experiments' own.
        overrides: dotted keys on all recipes.

    Raises:
        UserError: no experiment has this variant, or an expectation is malformed.
    """
    known = {name: [BASE, *experiment.all_variants()] for name, experiment in experiments.items()}
    for variant in variants or ():
        if not any(variant in names for names in known.values()):
            name, names = next(iter(known.items()))
            raise UserError(f"{name}: has no variant {variant!r}{suggest(variant, names)}")
    return [
        _setting(experiment, name, variant, len(experiments) == 1, _loader(name, variant, data, overrides), seeds)
        for name, experiment in experiments.items()
        for variant in dict.fromkeys(each for asked in variants or (None,) for each in experiment.chosen(asked))
    ]


def _setting(
    experiment: Experiment,
    name: str,
    variant: str,
    alone: bool,
    load: Callable[[int], Recipe],
    seeds: Sequence[int] | None,
) -> Setting:
    title, folder = _names(name, variant, alone)
    expected, peers = experiment.expected(variant), experiment.peers(variant)
    for line in expected:  # report a mistake before the first run is trained
        relations.check_relation(line, list(peers)) if relations.is_relation(line) else expectations.parsed(line)
    titles = {short: _names(name, peer, alone)[0] for short, peer in peers.items()}
    runs = tuple(seeds or experiment.seeds)
    return Setting(title, folder, load, runs, expected, titles, name, experiment.reported(variant))


def _sharing_runs(settings: Sequence[Setting]) -> list[Setting]:
    """Let settings whose recipes are equal share their runs, such as the bases of a paper's ablations.

    Every recipe is loaded, so that a mistake in the last one is told before the first is trained.
    """
    folders: dict[str, str] = {}
    shared = []
    for setting in settings:
        recipe = setting.load(setting.seeds[0])
        shared.append(replace(setting, folder=folders.setdefault(recipe.to_yaml(), setting.folder)))
    return shared


def _loader(name: str, variant: str, data: str | None, overrides: Sequence[str]) -> Callable[[int], Recipe]:
    def load(seed: int) -> Recipe:
        return load_recipe(name, overrides, data=data, seed=seed, variant=None if variant == BASE else variant)

    return load


def _names(experiment: str, variant: str, alone: bool) -> tuple[str, str]:
    """Return the names of a setting in tables and of its run folders; `alone` where the study has one experiment."""
    stem = experiment.removesuffix(".yaml").rpartition("/")[2]
    if variant == BASE:
        return stem, re.sub(r"[^\w.-]+", "-", stem)
    title = variant if alone else f"{stem} ({variant})"
    return title, re.sub(r"[^\w.-]+", "-", f"{stem}-{variant}")


def grids_of(experiments: Mapping[str, Experiment]) -> Iterator[dict[str, list[str]]]:
    """Yield the axes of each grid of three axes, the ones that `write_heatmap` draws."""
    for experiment in experiments.values():
        if len(experiment.grid) == 3:
            yield {axis: list(values) for axis, values in experiment.grid.items()}


def study_folder(reference: str, out: str | Path) -> Path:
    """Return the folder of a study's runs, OUT/STUDY."""
    parts = reference.removesuffix(".yaml").split("/")
    return Path(out) / (parts[-2] if len(parts) > 1 else parts[0])


def run_study(reference: str, *, log: Log = print, **options: Any) -> list[dict[str, Any]]:
    """Run a study and write its results; the arguments are those of `run_groups`.

    Returns:
        The summaries of all runs, of those that failed too: they leave the others alone.

    Raises:
        UserError: as `run_groups`.
    """
    groups = run_groups(reference, log=log, **options)
    return [dict(summary) for group in groups for summary in group.summaries]


def run_groups(
    reference: str,
    *,
    variants: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    data: str | None = None,
    overrides: Sequence[str] = (),
    only: Sequence[str] | None = None,
    out: str | Path = "runs",
    results: str | Path | None = None,
    parallel: int | None = None,
    threads: int | None = None,
    log: Log = print,
) -> list[Group]:
    """Run a study and write its RESULTS.md, report.html beside it, and heatmap.png for a grid of three axes.

    Args:
        reference: STUDY, STUDY/NAME, or the path of an experiment.
        variants: only these, `base` being the experiment without one.
        seeds: in place of the experiments' own.
        data: in place of the experiments' own.
        overrides: dotted keys on all recipes.
        only: the names of the study's experiments to take; None takes all.
        out: the runs are written into OUT/STUDY.
        results: the file to write; default OUT/STUDY/RESULTS.md.
        parallel: runs at the same time; None is one per CUDA device, and one on a CPU.
        threads: of the CPU, for each run; None divides torch's number among the runs that go on at the same time.
        log: prints a line for the user.

    Returns:
        The runs by setting, those that failed too: they leave the others alone. No results are written where one of
        them was interrupted.

    Raises:
        UserError: a mistake in a recipe, a folder that holds a run of another one, or nothing can be run.
    """
    from ssl_zoo.report.results import options

    experiments = experiments_of(reference, only)
    settings = settings_of(experiments, variants, seeds, data, overrides)
    settings = _sharing_runs(settings)
    folder = study_folder(reference, out)
    path = Path(results) if results is not None else folder / "RESULTS.md"
    check_place(folder, "--out", folder=True)
    check_place(path, "--results" if results is not None else "--out")
    num = places(parallel)
    groups = run_settings(settings, folder, log, parallel=num, threads=threads_of_each(threads, num), keep_going=True)
    if not interrupted(groups):
        _write(path, reference, settings, groups, _notes(experiments), options(overrides, data), log)
        for axes in grids_of(experiments):
            _draw_grid(path.with_name("heatmap.png"), folder.name, axes, groups, log)
        _write_page(path.with_name("report.html"), reference, groups, log)
    return list(groups)


def dry_study(
    reference: str,
    *,
    variants: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    data: str | None = None,
    overrides: Sequence[str] = (),
    only: Sequence[str] | None = None,
    out: str | Path = "runs",
    parallel: int | None = None,
    threads: int | None = None,
    log: Log = print,
) -> DryRun:
    """Return what `run_study` would run, what is done, and how long it would take; the arguments are the same.

    Raises:
        UserError: as `run_study`.
    """
    settings = settings_of(experiments_of(reference, only), variants, seeds, data, overrides)
    num = places(parallel)
    return dry_run(settings, study_folder(reference, out), num, threads_of_each(threads, num), log)


def _notes(experiments: Mapping[str, Experiment]) -> dict[str, str]:
    return {name: experiment.notes for name, experiment in experiments.items()}


def _write(
    path: Path,
    title: str,
    settings: Sequence[Setting],
    groups: Sequence[Group],
    notes: Mapping[str, str],
    changed: Sequence[str],
    log: Log,
) -> None:
    from ssl_zoo.report.findings import Claim, findings_text
    from ssl_zoo.report.results import write_results

    expected = {setting.name: setting.expect for setting in settings if not setting.paper}
    peers = {setting.name: setting.peers for setting in settings}
    claims = {s.name: Claim(s.experiment, s.expect, s.peers, s.paper) for s in settings}
    write_results(path, title, groups, expected, changed, peers, findings_text(groups, claims, notes))
    log(f"results: {path}")


def _write_page(path: Path, title: str, groups: Sequence[Group], log: Log) -> None:
    from ssl_zoo.report.html import write_report

    if any(group.summaries for group in groups):
        write_report(groups, path, title, False)  # without t-SNE, which takes a study of many settings long
        log(f"report: {path}")


def _draw_grid(path: Path, study: str, axes: dict[str, list[str]], groups: Sequence[Group], log: Log) -> None:
    from ssl_zoo.report.heatmap import write_heatmap

    write_heatmap(path, axes, groups, f"{study}: quality and collapse of every combination")
    log(f"picture: {path}")

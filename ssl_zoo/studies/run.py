"""Studies: every experiment, variant and seed, skipping finished runs; and comparisons of recipes on one data set."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_zoo.errors import UserError, suggest
from ssl_zoo.recipe.load import Experiment, experiment_names, load_recipe, read_experiment
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.report import expectations
from ssl_zoo.report.aggregate import Group
from ssl_zoo.runs.atomic import check_place
from ssl_zoo.runs.folder import RunFolder

BASE = "base"
"""The name of the experiment without a variant."""

RESUME = "interrupted; run the same command again to resume"

Log = Callable[[str], None]


@dataclass(frozen=True)
class Setting:
    """One row of a study: a recipe without its seed.

    Attributes:
        name: of the row in tables.
        folder: the start of its run folders' names.
        load: seed -> recipe.
        seeds: of its runs.
        expect: conditions on each of its runs, see `ssl_zoo.report.expectations`.
    """

    name: str
    folder: str
    load: Callable[[int], Recipe]
    seeds: tuple[int, ...]
    expect: tuple[str, ...] = ()


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
        variants: only these, `base` being the experiment without one; None takes all (of a grid: its cells without the
            base). Experiments that lack a variant of another one skip it.
        seeds: in place of the experiments' own.
        data: in place of the experiments' own.
        overrides: dotted keys on all recipes.

    Raises:
        UserError: no experiment has this variant, or an expectation is malformed.
    """
    known = {name: [BASE, *experiment.all_variants()] for name, experiment in experiments.items()}
    settings = []
    for name, experiment in experiments.items():
        default = known[name][1:] if experiment.grid else known[name]
        for variant in variants or default:
            if variant in known[name]:
                title, folder = _names(name, variant, alone=len(experiments) == 1)
                load = _loader(name, variant, data, overrides)
                settings.append(_setting(experiment, variant, title, folder, load, seeds))
            elif not any(variant in others for others in known.values()):
                raise UserError(f"{name}: has no variant {variant!r}{suggest(variant, known[name])}")
    return settings


def _setting(
    experiment: Experiment,
    variant: str,
    title: str,
    folder: str,
    load: Callable[[int], Recipe],
    seeds: Sequence[int] | None,
) -> Setting:
    expected = tuple(experiment.expect.get(variant, ()))
    for line in expected:
        expectations.parsed(line)  # report a mistake before the first run is trained
    return Setting(title, folder, load, tuple(seeds or experiment.seeds), expected)


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


def run_setting(setting: Setting, out: Path, log: Log) -> Group:
    """Train the missing runs of a setting and return all of them.

    A run that is done or collapsed is taken as it is, and so is one that failed because its numbers were not finite: it
    would fail again. One that was interrupted, or failed for another reason, is resumed.

    Raises:
        UserError: a folder holds a run of another recipe.
        TrainingFailed: a run broke off.
    """
    from ssl_zoo.training.train import train

    folders, summaries = [], []
    for seed in setting.seeds:
        recipe, folder = setting.load(seed), RunFolder(out / f"{setting.folder}-seed{seed}")
        resume = folder.recipe.is_file()
        if resume:
            folder.check_same(recipe)
        summary = folder.read_summary() if folder.summary.is_file() else {"status": "interrupted"}
        if summary["status"] == "interrupted" or (summary["status"] == "failed" and summary.get("resumable")):
            log(f"--- {setting.name}, seed {seed}")
            summary = train(recipe, out=folder.path, resume=resume and folder.checkpoint.is_file(), log=log)
        folders.append(folder.path)
        summaries.append(summary)
        if summary["status"] == "interrupted":
            break
    return Group(setting.name, tuple(folders), tuple(summaries))


def run_settings(settings: Sequence[Setting], out: Path, log: Log) -> list[Group]:
    """Run settings one after the other, until one is interrupted.

    Raises:
        UserError, TrainingFailed: as `run_setting`.
    """
    groups: list[Group] = []
    for setting in settings:
        groups.append(run_setting(setting, out, log))
        if interrupted(groups):
            log(RESUME)
            break
    return groups


def interrupted(groups: Sequence[Group]) -> bool:
    """Return whether one of the runs was stopped before its end."""
    return any(summary["status"] == "interrupted" for group in groups for summary in group.summaries)


def run_study(
    reference: str,
    *,
    variants: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    data: str | None = None,
    overrides: Sequence[str] = (),
    only: Sequence[str] | None = None,
    out: str | Path = "runs",
    results: str | Path | None = None,
    log: Log = print,
) -> list[dict[str, Any]]:
    """Run a study and write its RESULTS.md, and heatmap.png for a grid of three axes.

    Args:
        reference: STUDY, STUDY/NAME, or the path of an experiment.
        variants: only these, `base` being the experiment without one.
        seeds: in place of the experiments' own.
        data: in place of the experiments' own.
        overrides: dotted keys on all recipes.
        only: the names of the study's experiments to take; None takes all.
        out: the runs are written into OUT/STUDY.
        results: the file to write; default OUT/STUDY/RESULTS.md.
        log: prints a line for the user.

    Returns:
        The summaries of all runs; no results are written where one of them was interrupted.

    Raises:
        UserError, TrainingFailed: as `run_setting`.
    """
    experiments = experiments_of(reference, only)
    settings = settings_of(experiments, variants, seeds, data, overrides)
    for setting in settings:
        setting.load(setting.seeds[0])  # report a mistake in the last recipe before the first is trained
    parts = reference.removesuffix(".yaml").split("/")
    folder = Path(out) / (parts[-2] if len(parts) > 1 else parts[0])
    path = Path(results) if results is not None else folder / "RESULTS.md"
    check_place(folder, "--out", folder=True)
    check_place(path, "--results" if results is not None else "--out")
    groups = run_settings(settings, folder, log)
    if not interrupted(groups):
        _write(path, reference, settings, groups, overrides, data, log)
        for axes in grids_of(experiments):
            _draw_grid(path.with_name("heatmap.png"), folder.name, axes, groups, log)
    return [dict(summary) for group in groups for summary in group.summaries]


def _write(
    path: Path,
    title: str,
    settings: Sequence[Setting],
    groups: Sequence[Group],
    overrides: Sequence[str],
    data: str | None,
    log: Log,
) -> None:
    from ssl_zoo.report.results import options, write_results

    expected = {setting.name: setting.expect for setting in settings}
    write_results(path, title, groups, expected, options(overrides, data))
    log(f"results: {path}")


def _draw_grid(path: Path, study: str, axes: dict[str, list[str]], groups: Sequence[Group], log: Log) -> None:
    from ssl_zoo.report.heatmap import write_heatmap

    write_heatmap(path, axes, groups, f"{study}: quality and collapse of every combination")
    log(f"picture: {path}")


def compare(
    recipes: Sequence[str],
    *,
    data: str | None = None,
    seeds: Sequence[int] = (0,),
    overrides: Sequence[str] = (),
    out: str | Path = "runs/compare",
    log: Log = print,
) -> list[Group]:
    """Train several recipes on the same data with the same seeds and write a table and a report.

    Args:
        recipes: methods, experiments or files, as `load_recipe` takes them.
        data: for all of them; None leaves each its own.
        seeds: the runs of each recipe.
        overrides: dotted keys on all recipes.
        out: folder of the runs, of `RESULTS.md` and of `report.html`.
        log: prints a line for the user.

    Returns:
        One group per recipe; no table is written where one of the runs was interrupted.

    Raises:
        UserError, TrainingFailed: as `run_setting`.
    """
    from ssl_zoo.report.html import write_report
    from ssl_zoo.report.results import options, write_results

    settings = []
    for reference in recipes:
        load = _loader(reference, BASE, data, overrides)
        load(seeds[0])  # report a mistake in the last recipe before the first is trained
        stem = Path(reference).stem if Path(reference).is_file() else reference.replace("/", "-")
        settings.append(Setting(reference, stem, load, tuple(seeds)))
    check_place(out, "--out", folder=True)
    groups = run_settings(settings, Path(out), log)
    if interrupted(groups):
        return groups
    write_results(Path(out) / "RESULTS.md", "comparison", groups, {}, options(overrides, data))
    write_report(groups, Path(out) / "report.html", "Comparison of " + ", ".join(recipes))
    return groups

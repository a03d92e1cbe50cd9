"""Studies: every experiment, variant and seed, skipping what is done; and comparisons of recipes on one data set."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_zoo.errors import UserError, suggest
from ssl_zoo.recipe.load import experiment_names, load_recipe, read_experiment
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.report import expectations as expect
from ssl_zoo.report.aggregate import Group
from ssl_zoo.runs.atomic import check_place
from ssl_zoo.runs.folder import RunFolder

BASE = "base"
"""What the experiment is called as it stands, beside its variants."""

Log = Callable[[str], None]


@dataclass(frozen=True)
class Setting:
    """One row of a study: a recipe without its seed.

    Attributes:
        name: what tables call it.
        folder: the start of its run folders' names.
        load: seed -> recipe.
        seeds: to run it with.
        expect: what each of its runs must show, see `ssl_zoo.report.expectations`.
    """

    name: str
    folder: str
    load: Callable[[int], Recipe]
    seeds: tuple[int, ...]
    expect: tuple[str, ...] = ()


def settings_of(
    reference: str,
    variants: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    data: str | None = None,
    overrides: Sequence[str] = (),
    only: Sequence[str] | None = None,
) -> list[Setting]:
    """Return the settings of a study, of one experiment or of a YAML file.

    Args:
        reference: STUDY (all its experiments), STUDY/NAME, or the path of an experiment.
        variants: only these, `base` being the experiment as it stands; None takes all (of a grid: its cells, not the
            base).
        seeds: in place of the experiments' own.
        data: in place of the experiments' own.
        overrides: dotted keys on all recipes.
        only: the names of the study's experiments to take; None takes all.

    Raises:
        UserError: no such experiment or variant.
    """
    found = experiments_of(reference)
    if only is not None:
        known = [each.rpartition("/")[2] for each in found]
        for name in only:
            if name not in known:
                raise UserError(f"--only {name}: {reference} has no such experiment{suggest(name, known)}")
        found = [each for each in found if each.rpartition("/")[2] in only]
    settings = []
    for each in found:
        experiment = read_experiment(each)
        known = [BASE, *experiment.all_variants()]
        for name in variants or (known[1:] if experiment.grid else known):
            if name not in known:
                if len(found) > 1 and any(name in read_experiment(other).all_variants() for other in found):
                    continue
                raise UserError(f"{each}: has no variant {name!r}{suggest(name, known)}")
            variant = None if name == BASE else name

            def load(seed: int, each: str = each, variant: str | None = variant) -> Recipe:
                return load_recipe(each, overrides, data=data, seed=seed, variant=variant)

            stem = each.removesuffix(".yaml").rpartition("/")[2]
            title = stem if variant is None else variant if len(found) == 1 else f"{stem} ({variant})"
            folder = re.sub(r"[^\w.-]+", "-", stem if variant is None else f"{stem}-{variant}")
            expected = tuple(experiment.expect.get(name, ()))
            for line in expected:
                expect.parsed(line)  # a mistake in it is told before the first run is trained
            settings.append(Setting(title, folder, load, tuple(seeds or experiment.seeds), expected))
    return settings


def experiments_of(reference: str) -> list[str]:
    """Return all experiments of a study, or the one that is named."""
    found = [] if "/" in reference or Path(reference).is_file() else experiment_names(reference)
    return found or [reference]


def grids_of(reference: str) -> list[dict[str, list[str]]]:
    """Return the axes of each of a study's grids that has three: what `write_heatmap` draws."""
    grids = [read_experiment(each).grid for each in experiments_of(reference)]
    return [{axis: list(values) for axis, values in grid.items()} for grid in grids if len(grid) == 3]


def run_setting(setting: Setting, out: Path, log: Log, stop: Callable[[], bool] = lambda: False) -> Group:
    """Train what is missing of a setting and return its runs.

    A run that is done or collapsed is taken as it is, and so is one that failed because its numbers were not finite: it
    would fail again. One that was interrupted, or failed for another reason, goes on.

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
            log("interrupted; the same command goes on")
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
    """Run a study and write its RESULTS.md.

    Args:
        reference: STUDY, STUDY/NAME, or the path of an experiment.
        variants: only these, `base` being the experiment as it stands.
        seeds: in place of the experiments' own.
        data: in place of the experiments' own.
        overrides: dotted keys on all recipes.
        only: the names of the study's experiments to take; None takes all.
        out: the runs go into OUT/STUDY.
        results: the file to write; default OUT/STUDY/RESULTS.md.
        log: prints a line for the user.

    Returns:
        The summaries of all runs; nothing is written where one of them was interrupted.

    Raises:
        UserError, TrainingFailed: as `run_setting`.
    """
    from ssl_zoo.report.heatmap import write_heatmap
    from ssl_zoo.report.results import options, write_results

    settings = settings_of(reference, variants, seeds, data, overrides, only)
    for setting in settings:
        setting.load(setting.seeds[0])  # a mistake in the last recipe is told before the first is trained
    parts = reference.removesuffix(".yaml").split("/")
    folder = Path(out) / (parts[-2] if len(parts) > 1 else parts[0])
    path = Path(results) if results is not None else folder / "RESULTS.md"
    check_place(folder, "--out", folder=True)
    check_place(path, "--results" if results is not None else "--out")
    groups = run_settings(settings, folder, log)
    if interrupted(groups):
        return [dict(summary) for group in groups for summary in group.summaries]
    expected = {setting.name: setting.expect for setting in settings}
    write_results(path, reference, groups, expected, options(overrides, data))
    log(f"results: {path}")
    for axes in grids_of(reference):
        picture = path.with_name("heatmap.png")
        write_heatmap(picture, axes, groups, f"{folder.name}: quality and collapse of every combination")
        log(f"picture: {picture}")
    return [dict(summary) for group in groups for summary in group.summaries]


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
        recipes: what `load_recipe` takes.
        data: for all of them; None leaves each its own.
        seeds: the runs of each recipe.
        overrides: dotted keys on all recipes.
        out: folder of the runs, of `RESULTS.md` and of `report.html`.
        log: prints a line for the user.

    Returns:
        One group a recipe; no table is written where one of the runs was interrupted.

    Raises:
        UserError, TrainingFailed: as `run_setting`.
    """
    from ssl_zoo.report.html import write_report
    from ssl_zoo.report.results import options, write_results

    def setting(reference: str) -> Setting:
        def load(seed: int) -> Recipe:
            return load_recipe(reference, overrides, data=data, seed=seed)

        load(seeds[0])
        stem = Path(reference).stem if Path(reference).is_file() else reference.replace("/", "-")
        return Setting(reference, stem, load, tuple(seeds))

    settings = [setting(reference) for reference in recipes]
    check_place(out, "--out", folder=True)
    groups = run_settings(settings, Path(out), log)
    if interrupted(groups):
        return groups
    write_results(Path(out) / "RESULTS.md", "comparison", groups, {}, options(overrides, data))
    write_report(groups, Path(out) / "report.html", "Comparison of " + ", ".join(recipes))
    return groups

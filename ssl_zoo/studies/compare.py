"""Comparisons: several recipes on the same data, with the same seeds, under the same budget of training and tuning."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssl_zoo.errors import UserError
from ssl_zoo.report.aggregate import Group
from ssl_zoo.report.comparison import Comparison, Section, Tried
from ssl_zoo.runs.atomic import check_place, write_atomically
from ssl_zoo.runs.folder import to_json
from ssl_zoo.studies.budget import budget_of, check_no_length
from ssl_zoo.studies.dry_run import DryRun, dry_run
from ssl_zoo.studies.entries import read_entries
from ssl_zoo.studies.execute import Log, interrupted, run_settings
from ssl_zoo.studies.parallel import places, threads_of_each
from ssl_zoo.studies.plan import Plan, make_plan, write_plan
from ssl_zoo.studies.sweep import trials_of

OWN_LENGTH = "none given, each recipe trains for its own length"

SCORES = "held_out.json"
"""File of the scores by which settings were chosen, in the folder of a comparison."""


def compare(
    recipes: Sequence[str],
    *,
    data: str | None = None,
    seeds: Sequence[int] = (0,),
    overrides: Sequence[str] = (),
    variants: Sequence[str] = (),
    epochs: float | None = None,
    samples: int | None = None,
    max_steps: int | None = None,
    max_seconds: float | None = None,
    sweep: Sequence[str] = (),
    parallel: int | None = None,
    threads: int | None = None,
    out: str | Path = "runs/compare",
    log: Log = print,
) -> list[Group]:
    """Train several recipes on the same data with the same seeds and write a table and a report.

    The runs are plain runs in `out`, and the same call goes on where it was stopped. A run that fails leaves the others
    alone; its status is in the tables.

    Args:
        recipes: methods, experiments or files, as `load_recipe` takes them; NAME=RECIPE names one, so that a recipe can
            come twice with other options.
        data: for all of them; None leaves each its own.
        seeds: the runs of each recipe.
        overrides: KEY=VALUE on all recipes, or NAME:KEY=VALUE on one.
        variants: VARIANT for all that are experiments, or NAME:VARIANT for one.
        epochs: budget of each run; at most one budget is given.
        samples: budget of each run in samples seen.
        max_steps: budget of each run in optimizer steps.
        max_seconds: budget of each run in seconds of training. Steps are timed before, and the length is set from that.
        sweep: KEY=V1,V2 on all recipes, or NAME:KEY=V1,V2 on one; each recipe gets equally many settings. Where the
            data have labels, the best setting on a held-out part of train is taken.
        parallel: runs at the same time; None is one per CUDA device, and one on a CPU.
        threads: of the CPU, for each run. Results depend on it by rounding, so it stays the same in `out`; None is
            torch's number, divided among the runs that go on at the same time.
        out: folder of the runs, of `RESULTS.md`, `report.html` and `comparison.json`.
        log: prints a line for the user.

    Returns:
        One group per recipe, of its chosen setting; all settings where none was chosen, or where a run was interrupted:
        no table is written then.

    Raises:
        UserError: a mistake in the options or in a recipe, or `out` holds another comparison.
    """
    found = run_comparison(
        recipes, data=data, seeds=seeds, overrides=overrides, variants=variants, epochs=epochs, samples=samples,
        max_steps=max_steps, max_seconds=max_seconds, sweep=sweep, parallel=parallel, threads=threads, out=out, log=log,
    )  # fmt: skip
    return list(found.groups)


def plan_comparison(
    recipes: Sequence[str],
    *,
    data: str | None = None,
    seeds: Sequence[int] = (0,),
    overrides: Sequence[str] = (),
    variants: Sequence[str] = (),
    epochs: float | None = None,
    samples: int | None = None,
    max_steps: int | None = None,
    max_seconds: float | None = None,
    sweep: Sequence[str] = (),
    parallel: int | None = None,
    threads: int | None = None,
    out: str | Path = "runs/compare",
) -> Plan:
    """Return what `compare` would run, with the same arguments; nothing is written.

    Raises:
        UserError: as `compare`.
    """
    import torch

    budget = budget_of(epochs, samples, max_steps, max_seconds)
    check_no_length(budget, overrides, "-s")
    check_no_length(budget, sweep, "--sweep")
    if len(set(seeds)) < len(seeds) or not seeds:
        raise UserError(f"seeds: {', '.join(map(str, seeds)) or 'none'}; give each of them once, and at least one.")
    trials = trials_of(read_entries(recipes, overrides, variants, data), sweep)
    check_place(out, "--out", folder=True)
    share = threads_of_each(None, places(parallel)) or torch.get_num_threads()
    flat = [trial for each in trials.values() for trial in each]
    return make_plan(flat, seeds, budget, threads, share, Path(out))


def dry_comparison(recipes: Sequence[str], *, log: Log = print, **options: Any) -> DryRun:
    """Return what `compare` would run, what is done, and how long it would take; the arguments are those of `compare`.

    Raises:
        UserError: as `compare`.
    """
    plan = plan_comparison(recipes, **options)
    out = Path(options.get("out", "runs/compare"))
    return dry_run(plan.settings, out, places(options.get("parallel")), plan.threads, log)


def run_comparison(recipes: Sequence[str], *, log: Log = print, **options: Any) -> Comparison:
    """Run a comparison and return what it found; the arguments are those of `compare`.

    Raises:
        UserError: as `compare`.
    """
    from ssl_zoo.report.html import write_report
    from ssl_zoo.report.results import options as as_options

    plan, out = plan_comparison(recipes, **options), Path(options.get("out", "runs/compare"))
    settings, parallel = plan.settings, places(options.get("parallel"))
    _check_all(plan)
    write_plan(plan, out)
    groups = run_settings(settings, out, log, parallel=parallel, threads=plan.threads, keep_going=True)
    budget = OWN_LENGTH if plan.budget is None else plan.budget.sentence
    if interrupted(groups):
        return Comparison(groups, budget)
    changed = [f"--variant {each}" for each in options.get("variants", ())]
    changed += as_options(options.get("overrides", ()), options.get("data"))
    chosen, tried, rule = _choose(plan, groups, out, log)
    found = Comparison(chosen, budget, tried, rule, changed, options.get("max_seconds"))
    write_atomically(out / "RESULTS.md", found.markdown())
    write_atomically(out / "comparison.json", to_json(found.plain(), indent=2) + "\n")
    names = ", ".join(dict.fromkeys(trial.entry.name for trial in plan.trials))
    sections = [Section("Budget", [f"{budget}."]), *(each for each in found.sections() if each.heading != "Verdict")]
    write_report(chosen, out / "report.html", f"Comparison of {names}", sections=sections)
    return found


def _check_all(plan: Plan) -> None:
    """Join the parts of every recipe, so that a mistake in the last one is told before the first is trained.

    Raises:
        UserError: parts that do not join.
    """
    from ssl_zoo.methods.check import check_recipe

    for setting in plan.settings:
        try:
            check_recipe(setting.load(plan.seeds[0]))
        except UserError as error:
            raise UserError(f"{setting.name}: {error}") from None


def _choose(plan: Plan, groups: Sequence[Group], out: Path, log: Log) -> tuple[list[Group], list[Tried], str]:
    """Return the groups of the settings that are compared, all that were tried, and the rule of the choice."""
    from ssl_zoo.evaluation.held_out import RULE

    tuned = {trial.entry.name: sum(trial.entry == other.entry for other in plan.trials) for trial in plan.trials}
    if max(tuned.values()) == 1:
        return list(groups), [], ""
    scores = _scores(groups, out, log)
    best = {name: _best(plan, groups, scores, name) for name in tuned}
    tried = [
        Tried(trial.entry.name, group, [scores[str(run.name)] for run in group.runs], best[trial.entry.name] == number)
        for number, (trial, group) in enumerate(zip(plan.trials, groups, strict=True))
    ]
    if None in best.values():
        reason = "No setting was chosen: there are no labels to choose by, or runs failed. All settings are compared."
        return list(groups), tried, reason
    chosen = []
    for trial, each in zip(plan.trials, tried, strict=True):
        if each.chosen:
            name = f"{trial.entry.name} ({trial.label}; best of {tuned[trial.entry.name]})"
            chosen.append(Group(name, each.group.runs, each.group.summaries))
    num = next(iter(tuned.values()))
    return chosen, tried, f"Each recipe was tuned over {num} settings with all seeds; chosen by {RULE}"


def _best(plan: Plan, groups: Sequence[Group], scores: Mapping[str, float | None], name: str) -> int | None:
    """Return the number of the setting of a recipe with the highest mean score; the first of equals.

    A setting with a run that has no score, since it failed, is not chosen. None where none can be.
    """
    best, highest = None, float("-inf")
    for number, (trial, group) in enumerate(zip(plan.trials, groups, strict=True)):
        own = [scores[run.name] for run in group.runs]
        known = [score for score in own if score is not None]
        if trial.entry.name == name and len(known) == len(own) and statistics.fmean(known) > highest:
            best, highest = number, statistics.fmean(known)
    return best


def _scores(groups: Sequence[Group], out: Path, log: Log) -> dict[str, float | None]:
    """Return the held-out score of every run, by the name of its folder; those of an earlier call are read."""
    from ssl_zoo.evaluation.held_out import held_out_score

    path = out / SCORES
    try:
        kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError):
        kept = {}
    found: dict[str, float | None] = {}
    for group in groups:
        for run, summary in zip(group.runs, group.summaries, strict=True):
            ended = summary["status"] in ("done", "collapsed")
            before = kept.get(run.name) if isinstance(kept, dict) else None
            if isinstance(before, float) and ended:
                found[run.name] = before
            else:
                found[run.name] = held_out_score(run, log) if ended else None
                write_atomically(path, to_json(found, indent=2) + "\n")
    return found

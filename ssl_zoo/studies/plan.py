"""The plan of a comparison: what is run, kept in its folder, so that the same command goes on with the same runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_zoo.errors import UserError, short
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.runs.atomic import write_atomically
from ssl_zoo.runs.folder import to_json
from ssl_zoo.runs.same_recipe import first_difference
from ssl_zoo.studies.budget import Budget
from ssl_zoo.studies.execute import Setting
from ssl_zoo.studies.speed import Speed
from ssl_zoo.studies.sweep import Trial, unique_folders

NAME = "plan.json"


@dataclass(frozen=True)
class Plan:
    """What a comparison runs.

    Attributes:
        trials: the settings, recipe by recipe.
        seeds: of each setting.
        budget: the same for all; None leaves each recipe its own length.
        threads: of the CPU for each run; None where nobody asked for a number yet.
        lengths: the overrides that the budget became, one list for each setting.
    """

    trials: Sequence[Trial]
    seeds: tuple[int, ...]
    budget: Budget | None
    threads: int | None
    lengths: Sequence[Sequence[str]]

    @property
    def settings(self) -> list[Setting]:
        """The settings as rows of a study."""
        return [
            Setting(trial.name, folder, _loader(trial, length), self.seeds)
            for trial, folder, length in zip(self.trials, unique_folders(self.trials), self.lengths, strict=True)
        ]


def _loader(trial: Trial, length: Sequence[str]) -> Any:
    def load(seed: int) -> Recipe:
        return trial.entry.load(seed, (*trial.overrides, *length))

    return load


def make_plan(
    trials: Sequence[Trial], seeds: Sequence[int], budget: Budget | None, threads: int | None, share: int, out: Path
) -> Plan:
    """Return the plan of a comparison: the one in its folder, or a new one, which is not written.

    A new plan turns the budget into overrides, for which it measures speeds where the budget is a time. An old plan
    keeps what it measured, and the number of threads, on which results depend by rounding.

    Args:
        trials: the settings.
        seeds: of each setting.
        budget: the same for all, or None.
        threads: of the CPU for each run, as asked for; None takes the plan's, or `share`.
        share: the number of threads of a new plan.
        out: the folder of the comparison.

    Raises:
        UserError: the folder holds another comparison; the message names the first difference.
    """
    asked = _asked(trials, seeds, budget)
    path = out / NAME
    if path.is_file():
        kept = _read(path)
        _check_same(out, kept["asked"], asked)
        if threads not in (None, kept["threads"]):
            raise UserError(
                f"--out {out}: holds a comparison with --threads {kept['threads']}, and now it is {threads}; repeat "
                "its command, or name another folder."
            )
        return Plan(trials, tuple(seeds), budget, kept["threads"], kept["lengths"])
    threads = threads or share
    lengths: list[list[str]] = []
    for trial in trials:
        recipe = trial.entry.load(seeds[0], trial.overrides)
        given = (*trial.entry.overrides, *trial.overrides)
        lengths.append([] if budget is None else budget.overrides(recipe, Speed(recipe, threads), given))
    return Plan(trials, tuple(seeds), budget, threads, lengths)


def write_plan(plan: Plan, out: Path) -> None:
    """Write a plan into the folder of its comparison.

    Raises:
        CannotWrite: the disk is full, or the folder is gone.
    """
    out.mkdir(parents=True, exist_ok=True)
    content = {
        "asked": _asked(plan.trials, plan.seeds, plan.budget),
        "threads": plan.threads,
        "lengths": [list(each) for each in plan.lengths],
    }
    write_atomically(out / NAME, to_json(content, indent=2) + "\n")


def _asked(trials: Sequence[Trial], seeds: Sequence[int], budget: Budget | None) -> dict[str, Any]:
    """Return what was asked for, as plain values: the recipes without seed and budget, the seeds and the budget."""
    recipes = {trial.name: {**trial.entry.load(0, trial.overrides).dump(), "seed": None} for trial in trials}
    asked = {
        "recipes": recipes,
        "seeds": list(seeds),
        "budget": None if budget is None else f"{budget.kind} {budget.amount:g}",
        "order": [trial.name for trial in trials],
    }
    plain: dict[str, Any] = json.loads(to_json(asked))  # what reading the file will give
    return plain


def _check_same(out: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    recipes, now = old.get("recipes", {}), new["recipes"]
    if set(recipes) != set(now):
        raise UserError(
            f"--out {out}: holds a comparison of {', '.join(recipes)}, and now it is of {', '.join(now)}; repeat its "
            "command, or name another folder."
        )
    difference = first_difference(old, new)
    if difference is not None:
        key, first, second = difference
        raise UserError(
            f"--out {out}: holds a comparison with {key.removeprefix('recipes.')} = {short(first)}, and now it is "
            f"{short(second)}; repeat its command, or name another folder."
        )


def _read(path: Path) -> dict[str, Any]:
    """Return the content of a plan.

    Raises:
        UserError: it cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        threads, lengths = content["threads"], content["lengths"]
        if not isinstance(content["asked"], dict) or not (threads is None or type(threads) is int):
            raise ValueError
        if not all(isinstance(each, str) for length in lengths for each in length):
            raise ValueError
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}.") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"{path}: is not the plan of a comparison; remove it, or name another --out.") from None
    plain: dict[str, Any] = content
    return plain

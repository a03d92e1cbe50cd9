"""Equal budgets: the length of a run in epochs, samples, steps or time, as overrides of its recipe.

What a recipe states in epochs (its warm-up, the drops of its learning rate, how long a group is frozen) is stretched or
shortened with the run, so that it takes the same part of it; a cosine and a moving average's momentum follow the length
of the run anyway.
"""

from __future__ import annotations

import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ssl_zoo import registry
from ssl_zoo.errors import UserError
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.studies.speed import Speed

Kind = Literal["epochs", "samples", "max_steps", "max_time"]

OPTIONS: dict[Kind, str] = {
    "epochs": "--epochs", "samples": "--samples", "max_steps": "--max-steps", "max_time": "--max-time",
}  # fmt: skip

SHARE_OF_TIME = 0.9
"""The part of a time budget that the measured speed is trusted with; the rest is room for a slower machine."""

LENGTH = ("training.epochs", "training.max_steps")
"""The keys of a recipe that a budget sets."""


@dataclass(frozen=True)
class Budget:
    """The same amount of training for each recipe.

    Attributes:
        kind: what is equal.
        amount: epochs, samples seen (each counted as often as it is seen, with all its views as one), optimizer steps,
            or seconds of training, without the evaluation.
    """

    kind: Kind
    amount: float

    @property
    def sentence(self) -> str:
        """What the budget is, for tables."""
        if self.kind == "max_time":
            return (
                f"at most {self.amount:g} s of training per run, without the evaluation; the steps were set before "
                f"from a measured speed, for {SHARE_OF_TIME:.0%} of the time, so that the schedule ends within it"
            )
        unit = {"epochs": "epochs", "samples": "samples seen", "max_steps": "optimizer steps"}[self.kind]
        return f"{self.amount:g} {unit} per run" if self.amount < 1e6 else f"{self.amount:,.0f} {unit} per run"

    def overrides(self, recipe: Recipe, speed: Speed, given: Sequence[str]) -> list[str]:
        """Return the overrides that give a recipe this length.

        Args:
            recipe: without a budget.
            speed: of the recipe, see `ssl_zoo.studies.speed`; it is asked for only where it is needed.
            given: the user's own overrides, which are not stretched.

        Raises:
            UserError: less than one step.
        """
        settings = recipe.training
        if self.kind == "epochs":
            length = [f"training.epochs={self.amount!r}", "training.max_steps=null"]
        else:
            length = [f"training.max_steps={self._steps(recipe, speed)}"]
        if not _in_epochs(recipe):
            return length
        if self.kind == "epochs" and settings.max_steps is None:
            factor = self.amount / settings.epochs
        else:
            old = settings.max_steps or settings.epochs * speed.steps_per_epoch
            new = self.amount * speed.steps_per_epoch if self.kind == "epochs" else self._steps(recipe, speed)
            factor = new / old
        return [*length, *stretched(recipe, factor, given)]

    def _steps(self, recipe: Recipe, speed: Speed) -> int:
        if self.kind == "max_steps":
            return int(self.amount)
        if self.kind == "samples":
            steps = self.amount / recipe.training.batch_size
        else:
            steps = SHARE_OF_TIME * self.amount * speed.steps_per_s
        if steps < 1:
            raise UserError(f"{OPTIONS[self.kind]} {self.amount:g}: is less than one step of {recipe.method}.")
        return int(steps)


def budget_of(
    epochs: float | None, samples: int | None, max_steps: int | None, max_seconds: float | None
) -> Budget | None:
    """Return the budget that is given, None where each recipe keeps its own length.

    Raises:
        UserError: more than one is given, or one that is not above 0.
    """
    amounts: dict[Kind, float | None] = {
        "epochs": epochs, "samples": samples, "max_steps": max_steps, "max_time": max_seconds,
    }  # fmt: skip
    given = [(kind, amount) for kind, amount in amounts.items() if amount is not None]
    if len(given) > 1:
        raise UserError(f"{' and '.join(OPTIONS[kind] for kind, _ in given)}: give one budget.")
    for kind, amount in given:
        if not 0 < amount < float("inf"):
            raise UserError(f"{OPTIONS[kind]} {amount:g}: give a number above 0.")
        return Budget(kind, amount)
    return None


def check_no_length(budget: Budget | None, overrides: Sequence[str], option: str) -> None:
    """Make sure that overrides do not set the length of runs beside a budget.

    Raises:
        UserError: they do.
    """
    for override in overrides:
        key = override.partition("=")[0].rpartition(":")[2]
        if budget is not None and key in LENGTH:
            raise UserError(f"{option} {override}: {OPTIONS[budget.kind]} sets the length of all runs; leave one out.")


def _in_epochs(recipe: Recipe) -> dict[str, Any]:
    """Return {key: value} of the options of a recipe that are numbers of epochs and not 0."""
    part = recipe.training.schedule
    fields = registry.fields(registry.find("schedule", part.name)[0])
    found: dict[str, Any] = {
        f"training.schedule.{name}": part.options[name]
        for name, (annotation, _) in fields.items()
        if _counts_epochs(annotation) and part.options.get(name)
    }
    for number, group in enumerate(recipe.training.groups):
        if group.frozen_epochs:
            found[f"training.groups.{number}.frozen_epochs"] = group.frozen_epochs
    return found


def _counts_epochs(annotation: Any) -> bool:
    return any(getattr(mark, "unit", None) == "epochs" for mark in getattr(annotation, "__metadata__", ())) or any(
        map(_counts_epochs, typing.get_args(annotation))
    )


def stretched(recipe: Recipe, factor: float, given: Sequence[str]) -> list[str]:
    """Return the overrides that multiply what a recipe states in epochs, without what the user has set."""
    keys = {override.partition("=")[0] for override in given}
    if factor == 1 or "training.schedule" in keys or "training.groups" in keys:
        return []
    return [
        f"{key}={[factor * each for each in value] if isinstance(value, list) else factor * value}"
        for key, value in _in_epochs(recipe).items()
        if key not in keys
    ]

"""Runs that are made longer: whether that is the run that would have been planned so, and the record of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from ssl_zoo import registry
from ssl_zoo.errors import UserError
from ssl_zoo.parts import Part
from ssl_zoo.recipe.model import Recipe, parse
from ssl_zoo.training.setup import Run, total_steps

MOST_COMPARED = 1000
"""Steps whose learning rates are compared, spread over those that were taken."""


def lengthened(run: Run, state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the record of a resumed run's lengths: each time that it was made longer, this time included.

    Args:
        run: its pieces, with the length that is asked for now.
        state: the checkpoint that it is resumed from.

    Returns:
        For each time `step` (done by then), `from` and `to` (optimizer steps), `as_planned`, whether the steps so far
        are those of a run that is planned so long from its start, and `note`, a sentence on it.

    Raises:
        UserError: it is made shorter than it was, or the guard has stopped it.
    """
    before: list[dict[str, Any]] = list(state.get("lengthened", []))
    then = parse(state["recipe"], f"the recipe in {run.folder.checkpoint}")
    old, new, step = total_steps(then, run.loader.steps_per_epoch), run.trainer.total_steps, state["step"]
    if old == new or not step:
        return before
    if new < old:
        raise UserError(
            f"--resume: {run.folder.path} was planned for {old} steps, and {new} are asked for; a run can be made "
            "longer, not shorter (--max-time stops it early)."
        )
    if state["ended"] is not None:
        raise UserError(
            f"--resume: {run.folder.path} was stopped by the collapse guard; more steps would not help, so start "
            "another run of a changed recipe."
        )
    differs = what_differs(run, old, step)
    name = run.recipe.training.schedule.name
    note = f"made longer at step {step}, from {old} to {new} steps: "
    if differs:
        note += (
            f"this is not the run that {new} steps from the start would have been, since {differs} so far followed the "
            f"shorter plan; from here on the schedule {name} is that of {new} steps."
        )
    else:
        note += f"exactly the run that {new} steps from the start would have been."
    record = {"step": step, "from": old, "to": new, "as_planned": not differs, "note": note}
    return [*before, record]


def what_differs(run: Run, old: int, step: int) -> str:
    """Return what the first steps of a run owe to its former length; empty if nothing."""
    settings, found = run.recipe.training, []
    former: Callable[[int], float] = registry.build(
        "schedule", settings.schedule.name, settings.schedule.options,
        total_steps=old, steps_per_epoch=run.loader.steps_per_epoch,
    )  # fmt: skip
    if any(former(i) != run.trainer.schedule(i) for i in range(0, step, max(1, step // MOST_COMPARED))):
        found.append("the learning rate")
    if settings.final_weight_decay is not None:
        found.append("the weight decay")
    if any(map(depends_on_length, run.method.modules())):
        found.append("a part that follows the run's progress (such as the momentum of the target)")
    if run.recipe.guard.policy == "rollback":
        found.append("the checks of the guard")
    return " and ".join(found)


def depends_on_length(module: nn.Module) -> bool:
    """Return whether a part's state depends on how long the run was planned.

    A part states it as `depends_on_length`; one that moves in its own `after_step` and says nothing may depend on it.
    """
    if not isinstance(module, Part):
        return False
    moves = type(module).after_step is not Part.after_step
    return moves if module.depends_on_length is None else module.depends_on_length


def remarks(record: list[dict[str, Any]]) -> list[str]:
    """Return the sentences on it for `recipe.yaml`."""
    return [f"{each['note'][0].upper()}{each['note'][1:]}" for each in record]


def keep_interval(recipe: Recipe, steps_per_epoch: int) -> int | None:
    """Return every how many optimizer steps a checkpoint is kept, by `training.keep_every`; None for never."""
    every = recipe.training.keep_every
    if isinstance(every, str):
        return max(1, round(float(every.split()[0]) * steps_per_epoch))
    return every

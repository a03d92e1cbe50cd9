"""The guard's policy `rollback`: back to the last healthy checkpoint, and on with a changed setting.

Every 10 checks without any sign of a collapse, the state of the run is kept in `checkpoints/healthy-STEP.pt`. At an
alarm the run goes back to the newest of those that were followed by 10 such checks, or else to its start, makes the
changes of `guard.change`, and goes on from there. What was logged in between is taken out of `metrics.jsonl`;
`summary.json` and every checkpoint keep the list of what was done. After `guard.rollbacks` of them an alarm ends the
run, as with `stop`.

Which checkpoint it is follows from the numbers of the steps alone, so that a resumed run goes back to the same one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ssl_zoo.recipe.change import changed
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.runs import checkpoint

if TYPE_CHECKING:
    from ssl_zoo.training.active_run import ActiveRun

HEALTHY_CHECKS = 10
"""Checks without a sign of a collapse, before a state is kept and after it."""


@dataclass(frozen=True)
class Rollback:
    """A step back.

    Attributes:
        step: of the alarm.
        to: the step that the run went back to.
        reason: what was seen.
        change: {key: [old value, new value]}.
    """

    step: int
    to: int
    reason: str
    change: dict[str, list[Any]]


def recipe_after(recipe: Recipe, rollbacks: Sequence[Any]) -> Recipe:
    """Return the recipe that a run goes on with after so many rollbacks."""
    for _ in rollbacks:
        recipe = changed(recipe)[0]
    return recipe


def wanted(active: ActiveRun) -> bool:
    """Return whether an alarm sends the run back, and does not end it."""
    guard = active.run.recipe.guard
    return guard.policy == "rollback" and len(active.rollbacks) < guard.rollbacks


def keep_if_healthy(active: ActiveRun, step: int) -> None:
    """Keep the state of the run after a step if it is time to and no check shows a collapse; all processes call it."""
    interval = HEALTHY_CHECKS * active.monitor.check_every
    if active.run.recipe.guard.policy != "rollback" or step % interval or not active.monitor.healthy:
        return
    old = active.healthy[:-1]
    active.healthy = [*active.healthy[-1:], step]

    def then() -> None:
        for each in old if active.run.processes.is_main else ():
            checkpoint.remove(active.run.folder.healthy(each))

    active.write(active.run.folder.healthy(step), then)


def target_step(active: ActiveRun, since: int) -> int:
    """Return the step to go back to, of a collapse that was first seen at a step."""
    latest = since - HEALTHY_CHECKS * active.monitor.check_every
    return max((step for step in active.healthy if step <= latest), default=0)


def go_back(active: ActiveRun, reason: str, since: int) -> None:
    """Put a run back to its last healthy checkpoint, with the changed setting; all processes call it.

    Raises:
        UserError: the checkpoint cannot be read.
        CannotWrite: the checkpoint before could not be finished.
    """
    active.writer.settle()
    folder, step = active.run.folder, active.run.trainer.step
    to = target_step(active, since)
    recipe, change = changed(active.run.recipe)
    state = checkpoint.load(folder.healthy(to), parts=True) if to else None
    active.rollbacks = [*active.rollbacks, asdict(Rollback(step, to, reason, change))]
    active.healthy = [each for each in active.healthy if each <= to]
    turned = ", ".join(f"{key} from {old} to {new}" for key, (old, new) in change.items())
    active.log(f"rollback {len(active.rollbacks)} of {recipe.guard.rollbacks}: back to step {to}, {turned}")
    active.restart(recipe, state)
    if active.run.processes.is_main:
        folder.rewind_metrics(to)
        for each in folder.kept_steps():
            if each > to:
                checkpoint.remove(folder.kept(each))
    active.save()


def forget(active: ActiveRun) -> None:
    """Remove the checkpoints that were kept to go back to, at the end of a run."""
    for step in active.healthy if active.run.processes.is_main else ():
        checkpoint.remove(active.run.folder.healthy(step))

"""The schedule `drops`: a constant rate that falls by a factor some epochs before the end (W-MSE)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ssl_zoo.optim.schedules import Epochs, Factor
from ssl_zoo.registry import register


class Drops:
    """The factor on the learning rate at each optimizer step: a linear warm-up, then a staircase down.

    Args:
        warmup_steps: steps of the warm-up; the rate is full at the last of them.
        drop_steps: the steps at which the rate is multiplied by `factor`.
        factor: in [0, 1].
    """

    def __init__(self, warmup_steps: int, drop_steps: list[int], factor: float):
        self.warmup, self.drops, self.factor = warmup_steps, drop_steps, factor

    def __call__(self, step: int) -> float:
        """Return the factor at `step`, counted from 0."""
        rise = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        return rise * self.factor ** sum(step >= drop for drop in self.drops)


@register("schedule", "drops")
def drops(
    total_steps: int,
    steps_per_epoch: int,
    *,
    before_end: Annotated[list[Epochs], Field(min_length=1)] = [50.0, 25.0],  # noqa: B006 - an option's default, never mutated
    factor: Factor = 0.2,
    warmup_epochs: Epochs = 0.0,
) -> Drops:
    """The full learning rate, multiplied by `factor` at given epochs before the end, after a linear warm-up.

    Args:
        total_steps: optimizer steps of the run.
        steps_per_epoch: optimizer steps of an epoch.
        before_end: epochs before the end at which the rate drops; one that lies before the start of the run has
            happened at its first step.
        factor: of each drop.
        warmup_epochs: length of the warm-up, in epochs.
    """
    steps = [total_steps - round(epochs * steps_per_epoch) for epochs in before_end]
    return Drops(round(warmup_epochs * steps_per_epoch), steps, factor)

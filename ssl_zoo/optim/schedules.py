"""Learning-rate schedules: functions of the optimizer step, so that a resumed run has the rate it would have had."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from ssl_zoo.registry import register


@dataclass(frozen=True)
class Unit:
    """What an option counts; one in `epochs` is stretched with a run that is made longer or shorter."""

    unit: str


Epochs = Annotated[float, Field(ge=0), Unit("epochs")]
Factor = Annotated[float, Field(ge=0, le=1)]


def half_cosine(progress: float) -> float:
    """Return half a cosine, from 1 at progress 0 to 0 at progress 1."""
    return (1 + math.cos(math.pi * progress)) / 2


class Schedule:
    """The factor on the learning rate at each optimizer step: a linear warm-up, then a cosine or a constant.

    Args:
        total_steps: optimizer steps of the run.
        warmup_steps: steps of the warm-up; the rate rises linearly and is full at the last of them.
        final: the factor at the last step of the run.
        start: the factor that the warm-up starts from.
    """

    def __init__(self, total_steps: int, warmup_steps: int, final: float, start: float = 0.0):
        self.total, self.warmup = total_steps, min(warmup_steps, total_steps)
        self.final, self.start = final, start

    def __call__(self, step: int) -> float:
        """Return the factor at `step`, counted from 0."""
        if step < self.warmup:
            return self.start + (1 - self.start) * (step + 1) / self.warmup
        span = max(1, self.total - 1 - self.warmup)
        progress = min(1.0, (step - self.warmup) / span)
        return self.final + (1 - self.final) * half_cosine(progress)


@register("schedule", "cosine")
def cosine(
    total_steps: int, steps_per_epoch: int, *, warmup_epochs: Epochs = 0.0, final: Factor = 0.0, start: Factor = 0.0
) -> Schedule:
    """Half a cosine from 1 to `final` over the run, after a linear warm-up.

    Args:
        total_steps: optimizer steps of the run.
        steps_per_epoch: optimizer steps per epoch.
        warmup_epochs: length of the warm-up, in epochs.
        final: the factor at the last step, a fraction of the learning rate.
        start: the factor that the warm-up starts from.
    """
    return Schedule(total_steps, round(warmup_epochs * steps_per_epoch), final, start)


@register("schedule", "constant")
def constant(total_steps: int, steps_per_epoch: int, *, warmup_epochs: Epochs = 0.0, start: Factor = 0.0) -> Schedule:
    """The full learning rate all the time, after a linear warm-up.

    Args:
        total_steps: optimizer steps of the run.
        steps_per_epoch: optimizer steps per epoch.
        warmup_epochs: length of the warm-up, in epochs.
        start: the factor that the warm-up starts from.
    """
    return Schedule(total_steps, round(warmup_epochs * steps_per_epoch), final=1.0, start=start)


class StepDecay:
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
def step_decay(
    total_steps: int,
    steps_per_epoch: int,
    *,
    before_end: Annotated[list[Epochs], Field(min_length=1)] = [50.0, 25.0],  # noqa: B006 - an option's default, never mutated
    factor: Factor = 0.2,
    warmup_epochs: Epochs = 0.0,
) -> StepDecay:
    """The full learning rate, multiplied by `factor` at given epochs before the end, after a linear warm-up.

    Args:
        total_steps: optimizer steps of the run.
        steps_per_epoch: optimizer steps per epoch.
        before_end: epochs before the end at which the rate drops; drops before the first step have already been
            applied.
        factor: of each drop.
        warmup_epochs: length of the warm-up, in epochs.
    """
    steps = [total_steps - round(epochs * steps_per_epoch) for epochs in before_end]
    return StepDecay(round(warmup_epochs * steps_per_epoch), steps, factor)

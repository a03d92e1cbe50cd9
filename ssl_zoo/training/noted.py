"""A step whose numbers are on their way from the device: what a line of the log and a check of the guard need of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ssl_zoo.collapse.readback import Deferred, Readback, Values
from ssl_zoo.distributed import collectives
from ssl_zoo.training.measurement import Measured, metrics_of
from ssl_zoo.training.trainer import Step, Trainer

STEPS_LATE = {"cuda": 2}
"""Steps after which the numbers of a step are read, on devices that work while the host goes on: they are there then,
and the device never waits for the host to see them."""

_LOSS, _FIRST_BAD, _LOG = "loss", "first bad", "log"


@dataclass(frozen=True)
class Numbers:
    """The numbers of a step, of the samples of all processes.

    Attributes:
        loss: mean over the micro-batches.
        terms: {name: mean}.
        first_bad: see `Trainer.first_bad`, the least of all processes.
        embedding: the metrics of the check, if there was one.
    """

    loss: float
    terms: Values
    first_bad: float
    embedding: Values


class Stop(NamedTuple):
    """An alarm that ends the run, or sends it back.

    Attributes:
        at: the step after which it does.
        message: of the alarm.
        since: see `Alarm`.
    """

    at: int
    message: str
    since: int


class Noted:
    """A step whose numbers are on their way. All processes must make it: they exchange numbers for it.

    Args:
        step: of which the loss is logged.
        trainer: that has taken it.
        measured: what was measured after it, if a check was due.
        is_logged: whether it is to be logged in any case.
    """

    def __init__(self, step: Step, trainer: Trainer, measured: Measured | None, is_logged: bool):
        self.number, self.lr, self.moved = step.number, step.lr, step.moved
        self.measured, self.is_logged = measured, is_logged
        means = collectives.mean_all([step.loss, *step.terms.values()])
        names = [_LOSS, *step.terms, _FIRST_BAD]
        own = Deferred(
            [*means, collectives.least(trainer.first_bad)],
            lambda got: {name: value.item() for name, value in zip(names, got, strict=True)},
        )
        self._readback = Readback({_LOG: own} if measured is None else {_LOG: own, **measured.parts})

    def read(self) -> Numbers:
        """Return the numbers; waits where they are not there yet."""
        parts = self._readback.get()
        own = parts[_LOG]
        return Numbers(
            loss=own[_LOSS],
            terms={name: value for name, value in own.items() if name not in (_LOSS, _FIRST_BAD)},
            first_bad=own[_FIRST_BAD],
            embedding={} if self.measured is None else metrics_of(parts),
        )

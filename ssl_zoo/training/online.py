"""The evaluation of an encoder during its training: when it is due, what it costs, and where its numbers go."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ssl_zoo.distributed.batch_norm import to_plain
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.online import measure_online, notes_online
from ssl_zoo.evaluation.protocol_lists import Results
from ssl_zoo.training.monitor import Monitor
from ssl_zoo.training.setup import Run
from ssl_zoo.training.stop import Interrupted, StopRequest


@dataclass
class OnlineEvaluation:
    """Measures the encoder every `evaluation.every` steps, and after the last; the training does not notice.

    The first process measures; the others wait, and get its numbers. Its seconds are no seconds of training.

    Attributes:
        run: whose encoder is measured.
        monitor: writes the numbers down.
        stop: a signal leaves an evaluation at once; it is made up for when the run is resumed.
        done: the step of the last evaluation.
        results: of it, `{"DATA_SET/PROTOCOL": {metric: value}}`, the same in all processes.
        best: `step` and `value` of the best evaluation by `evaluation.best`; None before the first.
        is_best: whether the last evaluation is the best so far, by more than an equal one.
    """

    run: Run
    monitor: Monitor
    stop: StopRequest
    done: int = 0
    results: Results = field(default_factory=dict)
    best: dict[str, Any] | None = None
    is_best: bool = False

    @property
    def due(self) -> bool:
        """Whether the encoder is to be measured now, between two steps."""
        step, every = self.run.trainer.step, self.run.recipe.evaluation.every
        return every is not None and step > self.done and (step % every == 0 or self.run.finished)

    def interrupted(self) -> bool:
        """Measure the encoder and write the numbers down. All processes must call it.

        Returns:
            Whether a request to stop came first; then nothing is written, and it stays due.

        Raises:
            UserError: the evaluation fails for a foreseen reason.
        """
        run, started = self.run, time.perf_counter()
        encoder = run.trainer.strategy.gathered(run.method.product)
        results = run.processes.broadcast(self._measured(encoder) if run.processes.is_main else None)
        seconds = time.perf_counter() - started
        run.trainer.clock.train -= seconds  # the clock runs on while hooks work
        if results is None:
            return True
        self.results, self.done = results, run.trainer.step
        self.is_best = self._improved()
        self.monitor.evaluated({"evaluation": results, "evaluation_s": seconds})
        return False

    def _improved(self) -> bool:
        """Return whether the metric `evaluation.best` is better than ever, and remember it.

        Raises:
            UserError: its protocol has no such metric.
        """
        settings = self.run.recipe.evaluation
        key, _, metric = (settings.best or "").rpartition(".")
        found = self.results.get(key)
        if settings.best is None or found is None:  # what was not measured this time, as of features not finite
            return False
        value = found.get(metric)
        if value is None and self.best is None:
            raise UserError(f"evaluation.best: {key} has no metric {metric!r}; it has {', '.join(found)}.")
        if value is None or not math.isfinite(value):
            return False
        sign = 1 if settings.best_mode == "max" else -1
        if self.best is not None and sign * (value - self.best["value"]) <= 0:
            return False
        self.best = {"step": self.done, "value": value}
        return True

    def _measured(self, encoder: nn.Module) -> Results | None:
        """Return the numbers of the encoder; None where a stop is asked for."""
        run = self.run
        if self.stop.reason is not None:
            return None
        if run.processes.size > 1:  # a BatchNorm that waits for the other processes has to be a plain one
            encoder = copy.deepcopy(encoder)
            to_plain(encoder)
        try:
            with self.stop.at_once():
                return measure_online(run.recipe, encoder, run.policy, run.sets, run.trainer.device, self._tell)
        except Interrupted:
            return None
        except UserError as error:
            raise type(error)(
                f"the evaluation at step {run.trainer.step} failed (evaluation.every): {error}"
            ) from error

    def _tell(self, line: str) -> None:
        """Print what is not known from the start, such as features that are not finite."""
        if line not in notes_online(self.run.recipe, self.run.sets):
            self.monitor.bar.clear()
            self.monitor.log(f"evaluation at step {self.run.trainer.step}: {line}")

    def state(self) -> dict[str, Any]:
        """Return what it remembers, as plain values."""
        return {"done": self.done, "results": self.results, "best": self.best}

    def load(self, state: dict[str, Any]) -> None:
        """Take what `state` returned."""
        self.done, self.results = state["done"], state["results"]
        self.best = state.get("best")  # runs of earlier versions have none

"""Monitoring of a training: progress, `metrics.jsonl`, TensorBoard, and the collapse guard's alarms."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from tqdm import tqdm

from ssl_zoo.collapse.guard import Alarm, check_every
from ssl_zoo.collapse.members import guard_of
from ssl_zoo.distributed import collectives
from ssl_zoo.errors import NotFinite
from ssl_zoo.methods.method import Method
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.training.board import is_time, of_members
from ssl_zoo.training.event_file import EventFile
from ssl_zoo.training.measurement import Measured, Measurement
from ssl_zoo.training.noted import STEPS_LATE, Noted, Numbers, Stop
from ssl_zoo.training.recipe_facts import recipe_facts
from ssl_zoo.training.trainer import Step, Trainer

QUIET_SECONDS = 30.0
"""Where there is no terminal, a line is printed this often."""


class Monitor:
    """Logs a training, step by step, and watches for collapse.

    Each process has one, as the numbers are those of all processes; the first one's writes them down.

    Args:
        recipe: of the run.
        folder: where to log.
        trainer: whose clock and length are shown.
        steps_per_epoch: for the epoch in the log.
        method: that is trained.
        given: whether it was given first weights.
        log: prints a line for the user.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: RunFolder,
        trainer: Trainer,
        steps_per_epoch: int,
        method: Method,
        given: bool,
        log: Callable[[str], None],
    ):
        self.is_main = collectives.rank() == 0
        self.recipe, self.folder, self.trainer, self.log = recipe, folder, trainer, log
        self._given = given
        trainer.report = log
        self.steps_per_epoch = steps_per_epoch
        self.guard = guard_of(
            recipe.members,
            policy=recipe.guard.policy,
            patience=recipe.guard.patience,
            shrinks=method.shrinks,
            given=given,
            recipe_facts=recipe_facts(recipe),
        )
        self.check_every = check_every(recipe.guard.every, recipe.guard.patience, trainer.total_steps)
        samples = recipe.training.batch_size // recipe.training.accumulate
        self.measurement = Measurement(method, self.check_every, trainer.total_steps, samples)
        self.problems: list[str] = []
        self.rollbacks = 0
        self.why_back = ("", 0)
        self.steps_late = STEPS_LATE.get(trainer.device.type, 0)
        self._noted: deque[Noted] = deque()
        self._stops: Stop | None = None
        self._events: EventFile | None = None
        self.embedding: dict[str, float] = {}
        self.bar = tqdm(
            total=trainer.total_steps,
            initial=trainer.step,
            unit="step",
            disable=not self.is_main or not sys.stderr.isatty(),
            leave=False,
        )
        self._printed = time.monotonic()
        if self.is_main:
            self._write_events(self._open_events)

    def again(self, recipe: Recipe, trainer: Trainer, method: Method, rollbacks: int) -> Monitor:
        """Return the monitor of the same run after a rollback, from the step that the trainer is at; close this one."""
        self.close()
        made = Monitor(recipe, self.folder, trainer, self.steps_per_epoch, method, self._given, self.log)
        made.rollbacks = rollbacks
        return made

    def _open_events(self) -> None:
        step = self.trainer.step
        self._events = EventFile(self.folder.tensorboard, purge=step + 1 if step else 0)

    def after_step(self, step: Step) -> bool:
        """Log a step; True where the guard stops the run, or sends it back, for the reason in `why_back`.

        On a GPU the numbers of a step are read some steps later, see `noted.STEPS_LATE`, and the guard stops the run
        then. What is written says which step they are of, and is what is written without a delay.
        """
        last = step.number == self.trainer.total_steps
        self.measurement.after_step(step.number, step.output)
        due = self.measurement.due(step.number)
        logged = step.number % self.recipe.training.log_every == 0 or step.number == 1 or last
        if due:
            self._add_histograms(step)
        if due or logged:
            measured = self.measurement.take(step.output) if due else None
            self._noted.append(Noted(step, self.trainer, measured, logged))
        self._settle(None if last else step.number - self.steps_late)
        self.bar.update()
        if self._stops is None or (step.number < self._stops.at and not last):
            return False
        self.why_back, self._stops = (self._stops.message, self._stops.since), None
        return True

    def _settle(self, until: int | None = None) -> None:
        """Judge and log the steps up to one, or all that have been noted; nothing is exchanged between processes."""
        while self._noted and (until is None or self._noted[0].number <= until):
            noted = self._noted.popleft()
            numbers = noted.read()
            alarm = None if noted.measured is None else self._judge(noted.number, noted.measured, numbers.embedding)
            if noted.is_logged or alarm is not None:
                self._log(noted, numbers)
            if alarm is not None and self.recipe.guard.policy in ("stop", "rollback"):
                # Where it was read early, to be saved, the run stops no earlier, so that a resumed one is the same.
                self._stops = Stop(noted.number + self.steps_late, alarm.message, alarm.since)

    def _judge(self, number: int, measured: Measured, embedding: dict[str, float]) -> Alarm | None:
        """Judge a measurement; return an alarm, which is printed, if there is one.

        The samples are those of the last micro-batches of all processes, so that all of them judge alike and the
        verdict is that of one process; the batch size of the remedies is the recipe's.
        """
        self.embedding, total = embedding, self.trainer.total_steps
        if not self.measurement.enough(number):
            return None
        dim, rows, last, progress = measured.dim, measured.rows, number == total, number / total
        alarm = self.guard.update(number, embedding, dim, rows, last=last, progress=progress)
        if alarm is not None:
            self.bar.clear()
            self.log(alarm.message)
            self.log(f"  {alarm.cause}.")
            for remedy in alarm.remedies:
                self.log(f"  - {remedy}")
        return alarm

    def _log(self, noted: Noted, numbers: Numbers) -> None:
        if noted.moved and not math.isfinite(numbers.loss):
            worst = next((name for name, value in numbers.terms.items() if not math.isfinite(value)), "loss")
            raise NotFinite(f"the loss is not finite at step {noted.number} (term {worst!r}); {NotFinite.advice}")
        self.trainer.check(numbers.first_bad)
        record = {
            "step": noted.number,
            "epoch": noted.number / self.steps_per_epoch,
            "loss": numbers.loss,
            "terms": numbers.terms,
            "lr": noted.lr,
            "samples_per_s": self.samples_per_s(),
            "data_wait_fraction": self.trainer.clock.data_fraction,
            **({"embedding": self.embedding} if self.embedding else {}),
            **({"rollbacks": self.rollbacks} if self.rollbacks else {}),
        }
        if self.is_main:
            self.folder.append_metrics(record)
            self._write_events(lambda: self._add_scalars(record))
            self._show(record)

    @property
    def healthy(self) -> bool:
        """Whether the last check has shown no sign of a collapse; waits for its numbers."""
        self._settle()
        return self.guard.healthy

    def evaluated(self, found: dict[str, Any]) -> None:
        """Log an evaluation during the training.

        Args:
            found: `evaluation`, `{"DATA_SET/PROTOCOL": {metric: value}}`, and `evaluation_s`, its seconds.
        """
        if not self.is_main:
            return
        self._settle()  # lines are in the order of steps
        step = self.trainer.step
        self.folder.append_metrics({"step": step, "epoch": step / self.steps_per_epoch, **found})
        values = {
            f"evaluation/{key}/{metric}": value
            for key, metrics in found["evaluation"].items()
            for metric, value in metrics.items()
        }
        self._write_events(lambda: self._events.add_scalars(values, step) if self._events is not None else None)
        self.bar.clear()
        top1 = [f"{key} {100 * each['top1']:.1f} %" for key, each in found["evaluation"].items() if "top1" in each]
        self.log(f"step {step}: {', '.join(top1) or ', '.join(found['evaluation'])} ({found['evaluation_s']:.1f} s)")

    def _add_histograms(self, step: Step) -> None:
        """Write histograms of z and h, of the samples of the first process, at some of the checks."""
        events, output = self._events, step.output
        if events is not None and is_time(step.number, self.trainer.total_steps, self.check_every):
            values = of_members("z", output.embeddings, output.members)
            values |= of_members("h", output.features, output.members)
            self._write_events(lambda: events.add_histograms(values, step.number))

    def samples_per_s(self) -> float:
        """Return samples per second of the whole run so far; each is seen in all its views."""
        seconds = self.trainer.clock.train
        return self.trainer.step * self.recipe.training.batch_size / seconds if seconds else 0.0

    def problem(self, sentence: str) -> None:
        """Print what has gone wrong besides the training, and keep it for the summary."""
        self.problems.append(sentence)
        self.bar.clear()
        self.log(sentence)

    def _write_events(self, write: Callable[[], None]) -> None:
        """Write to TensorBoard's file; one that cannot be written is reported once and left alone from then on."""
        try:
            write()
        except OSError as error:
            self.problem(f"the TensorBoard log ends at step {self.trainer.step}: {error.strerror or error}.")
            if self._events is not None:
                with suppress(OSError):
                    self._events.close()
            self._events = None

    def _add_scalars(self, record: dict[str, Any]) -> None:
        if self._events is None:
            return
        values = {f"train/{name}": record[name] for name in ("loss", "lr", "samples_per_s", "data_wait_fraction")}
        for group in ("terms", "embedding"):
            values |= {f"{group}/{name}": value for name, value in record.get(group, {}).items()}
        self._events.add_scalars(values, record["step"])

    def _show(self, record: dict[str, Any]) -> None:
        collapse = self.guard.status["status"]
        state = f"loss {record['loss']:.4f}, {record['samples_per_s']:.0f} samples/s, collapse: {collapse}"
        self.bar.set_postfix_str(state)
        if self.bar.disable and time.monotonic() - self._printed > QUIET_SECONDS:
            self._printed = time.monotonic()
            left = (self.trainer.total_steps - self.trainer.step) * self.trainer.clock.train / max(1, self.trainer.step)
            self.log(f"step {record['step']}/{self.trainer.total_steps}: {state}, {left:.0f} s left")

    def add_picture(self, name: str, picture: torch.Tensor) -> None:
        """Put a picture `(3, H, W)`, uint8, into TensorBoard's file."""
        events = self._events
        if events is not None:
            self._write_events(lambda: events.add_picture(name, picture, self.trainer.step))

    def state(self) -> dict[str, Any]:
        """Return what the guard remembers, as plain values; waits for the numbers of all steps so far."""
        self._settle()
        stops = {} if self._stops is None else {"stops": self._stops._asdict()}
        state = {"guard": self.guard.state_dict(), "embedding": self.embedding}
        return {**state, "measurement": self.measurement.state(), **stops}

    def load(self, state: dict[str, Any]) -> None:
        """Take what `state` returned."""
        self.guard.load_state_dict(state["guard"])
        self.embedding = state["embedding"]
        self.measurement.load(state["measurement"])
        if "stops" in state:
            self._stops = Stop(**state["stops"])

    def close(self) -> None:
        """Log what has not been logged yet, and finish the progress bar and TensorBoard's file."""
        with suppress(NotFinite, RuntimeError):  # a run that has failed already, its device may have as well
            self._settle()
        self.bar.close()
        if self._events is not None:
            self._write_events(self._events.close)
            self._events = None

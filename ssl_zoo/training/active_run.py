"""A run in progress: what its phases share, how it is saved, and how it fails."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_zoo.data.bad_samples import BadData
from ssl_zoo.errors import CannotWrite, NotFinite, TrainingFailed, UserError
from ssl_zoo.evaluation.contract import versions
from ssl_zoo.hardware import Hardware, environment
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.runs.checkpoint_writer import CheckpointWriter
from ssl_zoo.runs.commands import resume
from ssl_zoo.runs.imports import used_modules
from ssl_zoo.runs.memory import peak_memory
from ssl_zoo.training.monitor import Monitor
from ssl_zoo.training.online import OnlineEvaluation
from ssl_zoo.training.setup import Run, rebuilt
from ssl_zoo.training.stop import StopRequest

Log = Callable[[str], None]

_WORKER = re.compile(r"DataLoader worker .*(killed|exited|Bus error|bus error)", re.DOTALL)
_MEMORY = re.compile(r"can't allocate memory|out of memory", re.IGNORECASE)


@dataclass
class ActiveRun:
    """A run in progress.

    Attributes:
        run: its pieces.
        monitor: what the user sees of it.
        online: its evaluation during the training.
        stop: whether it is asked to stop.
        log: prints a line for the user.
        data: the identity of its data, see `ssl_zoo.data.identity`.
        before_s: seconds that earlier processes spent on it.
        saved: the step of the last checkpoint.
        ended: `collapsed` if the guard has stopped the training.
        weights: that it was begun with, {component: {name: tensor}}.
        rollbacks: what the guard's policy `rollback` has done so far, see `ssl_zoo.training.rollback.Rollback`.
        healthy: the steps whose states are kept to go back to.
        lengthened: each time that it was made longer, see `ssl_zoo.training.lengthen`.
    """

    run: Run
    monitor: Monitor
    online: OnlineEvaluation
    stop: StopRequest
    log: Log
    data: dict[str, Any]
    before_s: float
    saved: int
    ended: str | None = None
    weights: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    rollbacks: list[dict[str, Any]] = field(default_factory=list)
    healthy: list[int] = field(default_factory=list)
    lengthened: list[dict[str, Any]] = field(default_factory=list)
    _started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.writer = CheckpointWriter(self.run.processes)

    @property
    def wall_s(self) -> float:
        """Seconds since the run was started, without those in which it was stopped."""
        return self.before_s + time.monotonic() - self._started

    def save(self) -> None:
        """Write a checkpoint, or begin to, see `CheckpointWriter`. All processes take part.

        Raises:
            NotFinite: the loss or the state is not finite; the last checkpoint is what it was.
            CannotWrite: the disk is full, or the folder is gone; the last checkpoint is what it was.
        """
        step = self.run.trainer.step

        def note() -> None:
            self.saved = step

        self.write(self.run.folder.checkpoint, note)

    def keep(self) -> None:
        """Write the state as one that is kept, beside the last one; see `save`."""
        self.write(self.run.folder.kept(self.run.trainer.step))

    def keep_best(self) -> None:
        """Write the state as the best so far, beside the last one; see `save`."""
        self.write(self.run.folder.best)

    def write(self, path: Path, then: Callable[[], None] = lambda: None) -> None:
        """Write the state of the run into a file, or begin to; `then` is called when it is there; see `save`."""
        self.run.trainer.check()
        self.writer.write(path, self.state(), then)

    def state(self) -> dict[str, Any]:
        """Return the whole state of the run. All processes must call it."""
        return {
            **self.run.trainer.state(),
            "monitor": self.monitor.state(),
            "online": self.online.state(),
            "wall_s": self.wall_s,
            "data": self.data,
            "recipe": self.run.asked.dump(),
            "ended": self.ended,
            "rollbacks": self.rollbacks,
            "healthy": self.healthy,
            "lengthened": self.lengthened,
            "bad_samples": self.run.loader.state(),
            "first": {part: dict(tensors) for part, tensors in self.weights.items()} if self._may_go_back else {},
        }

    @property
    def _may_go_back(self) -> bool:
        return self.run.recipe.guard.policy == "rollback"

    def restart(self, recipe: Recipe, state: dict[str, Any] | None) -> None:
        """Go on by another recipe from a state of the run, or from its start.

        Args:
            recipe: that has the same data and shapes.
            state: a checkpoint of this run; None is its start.
        """
        problems = self.monitor.problems
        self.run = rebuilt(self.run, recipe, self.weights)
        if state is not None:
            self.run.trainer.load(state)
        self.monitor = self.monitor.again(self.run.recipe, self.run.trainer, self.run.method, len(self.rollbacks))
        self.monitor.problems = problems
        self.online = OnlineEvaluation(self.run, self.monitor, self.stop)
        if state is not None:
            self.monitor.load(state["monitor"])
            self.online.load(state["online"])

    def summary(self, status: str, **more: Any) -> dict[str, Any]:
        """Return the summary as it stands."""
        run, trainer = self.run, self.run.trainer
        return {
            **blank_summary(run.recipe, run.hardware, run.processes.size),
            "status": status,
            "steps": trainer.step,
            "epochs": trainer.step / run.loader.steps_per_epoch,
            "wall_s": self.wall_s,
            "train_s": trainer.clock.train,
            "samples_per_s": self.monitor.samples_per_s(),
            "data_wait_fraction": trainer.clock.data_fraction,
            "collapse": self.monitor.guard.status,
            "rollbacks": self.rollbacks,
            **({"lengthened": self.lengthened} if self.lengthened else {}),
            **({"best": {"metric": run.recipe.evaluation.best, **self.online.best}} if self.online.best else {}),
            "data": {**_source(run.recipe), "train": len(run.data.train),
                     "test": len(run.data.test) if run.data.test is not None else 0},
            "peak_memory_bytes": peak_memory(run.hardware.accelerator),
            "problems": list(self.monitor.problems),
            **({} if trainer.graphed is None else {"cuda_graph": trainer.graphed.problem or "recorded"}),
            **more,
        }  # fmt: skip

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """A context that records a failure: `summary.json` gets `failed` and the reason, and what was done is saved.

        Raises:
            TrainingFailed: for a foreseen reason, in one sentence, with the command that resumes. Any
                other error is a fault of the program and raised as it is.
        """
        try:
            yield
        except Exception as error:
            foreseen = _foreseen(error, self.run.workers.num_workers if self.run.trainer.whole else 0)
            if not self.run.processes.is_main:
                if foreseen is None or foreseen is error:
                    raise
                raise foreseen from error
            reason = str(foreseen or f"{type(error).__name__}: {error}").rstrip(". ") + "."
            again = not isinstance(error, NotFinite)
            with suppress(CannotWrite):
                if again:
                    self._save_what_is_done()
                self.run.folder.write_summary(self.summary("failed", reason=reason, resumable=again))
                if isinstance(error, BadData):
                    self.run.folder.write_bad_files(self.run.loader.bad)
            if foreseen is None:
                raise
            raise type(foreseen)(f"{reason} {self._advice(error)}") from error

    def _save_what_is_done(self) -> None:
        trainer = self.run.trainer
        # The other processes may be gone, so that a strategy that needs them for its state would wait forever.
        alone = trainer.strategy.has_whole_state or self.run.processes.size == 1
        if trainer.whole and alone and self.saved < trainer.step:
            with suppress(NotFinite, CannotWrite):
                self.save()
                self.writer.settle()

    def _advice(self, error: Exception) -> str:
        if isinstance(error, NotFinite):
            return f"{self.run.folder.checkpoint} holds the last good state, of step {self.saved}."
        path = self.run.folder.path
        if isinstance(error, BadData):
            return (
                f"Step {self.saved} is saved; put readable samples in their places and resume with: {resume(path)} (or "
                f"leave them out: {resume(path, '-s', 'data.on_error=skip', '-s', 'data.bad_budget=0.01')})"
            )
        return f"Step {self.saved} is saved; once this is fixed, resume with: {resume(path)}"


def _foreseen(error: Exception, num_workers: int) -> TrainingFailed | None:
    """Return the error as one of a single sentence, or None for an unforeseen one.

    Args:
        error: what was raised.
        num_workers: processes that were reading data, where it was not raised in a step.
    """
    if isinstance(error, TrainingFailed):
        return error
    if isinstance(error, UserError):
        return TrainingFailed(str(error))
    text = str(error).partition("\n")[0]
    # The connection to a worker breaks, or torch finds that it is gone. An error that a worker raised has the word
    # Caught in its message and is not meant here.
    lost = isinstance(error, (OSError, EOFError)) and num_workers and "Caught" not in text
    if lost or (isinstance(error, RuntimeError) and _WORKER.search(str(error))):
        reason = text.strip(" .") or type(error).__name__
        return TrainingFailed(
            f"a process that reads data was lost ({reason}), perhaps for want of memory; try fewer data.num_workers."
        )
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and _MEMORY.search(text)
    ):
        return TrainingFailed(
            f"the memory is not enough ({text.rstrip('.')}); try a lower training.batch_size, or a higher "
            "training.accumulate."
        )
    return None


def blank_summary(recipe: Recipe, hardware: Hardware, processes: int) -> dict[str, Any]:
    """Return the summary of a run that has not begun."""
    watched = recipe.evaluation.online if recipe.evaluation.every is not None else ()
    return {
        "status": "interrupted",
        "method": recipe.method,
        "seed": recipe.seed,
        "steps": 0,
        "epochs": 0.0,
        "wall_s": 0.0,
        "train_s": 0.0,
        "samples_per_s": 0.0,
        "data_wait_fraction": 0.0,
        "collapse": {"status": "off" if recipe.guard.policy == "off" else "not judged", "reason": None, "step": None,
                     "metrics": {}},
        "metrics": {},
        "baselines": {},
        "protocol_versions": versions(part.name for part in (*recipe.evaluation.protocols, *watched)),
        "tested": {},
        "data": {**_source(recipe), "train": 0, "test": 0},
        "peak_memory_bytes": None,
        "environment": {**environment(hardware), "processes": processes},
        "rollbacks": [],
        "problems": [],
        "imports": used_modules(recipe),
    }  # fmt: skip


def _source(recipe: Recipe) -> dict[str, Any]:
    return {"source": recipe.data.source.plain() if recipe.data.source else None}

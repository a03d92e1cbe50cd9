"""Training a recipe: what `ssl-zoo train` calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_zoo.data.given import Given, objects, take
from ssl_zoo.data.loader import check_divides
from ssl_zoo.distributed.batch_norm import to_plain
from ssl_zoo.distributed.launch import count_processes, is_main_process, is_restarted, is_to_start, launch
from ssl_zoo.errors import NotFinite, UserError, shown_name
from ssl_zoo.hardware import Hardware, arithmetic, choose
from ssl_zoo.recipe.change import changed
from ssl_zoo.recipe.load import load_recipe, with_data
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.runs.commands import command
from ssl_zoo.runs.folder import RunFolder, default_out
from ssl_zoo.runs.memory import reset_peak_memory
from ssl_zoo.runs.same_recipe import same_length
from ssl_zoo.runs.weights import initial_weights
from ssl_zoo.training.active_run import ActiveRun, blank_summary
from ssl_zoo.training.begin import Weights, begin, first_state
from ssl_zoo.training.finish import finish
from ssl_zoo.training.lengthen import keep_interval
from ssl_zoo.training.processes import train_in_processes
from ssl_zoo.training.rollback import forget, go_back, keep_if_healthy, recipe_after, wanted
from ssl_zoo.training.setup import Run, assemble
from ssl_zoo.training.stop import Interrupted, StopRequest
from ssl_zoo.training.trainer import Step

Log = Callable[[str], None]


def train(
    recipe: Recipe | str,
    *,
    data: Any = None,
    test: Any = None,
    out: str | Path | None = None,
    resume: bool = False,
    allow_changed_data: bool = False,
    init_from: str | Path | None = None,
    init_parts: Sequence[str] = ("encoder",),
    devices: int | None = None,
    max_restarts: int = 0,
    max_seconds: float | None = None,
    stop_at: int | None = None,
    baselines: str | Path | None = None,
    log: Log = print,
) -> dict[str, Any]:
    """Train a recipe, evaluate the encoder and write the run folder.

    SIGTERM and Ctrl-C stop it: between two steps after saving, or at once while data are read and while the encoder is
    evaluated. A second signal has its usual effect.

    Args:
        recipe: a recipe, or what `load_recipe` takes.
        data: what to train on, in place of the recipe's: a registered source or a path, or a list of these; or any
            data set as a Python object, see `ssl_zoo.data.given.take`, which has to be given again to resume the run.
        test: a data set to evaluate on, beside one in `data`; None holds out a fifth of the labelled samples.
        out: the run folder; a new one, or with `resume` the run's own. No other process may work in it. None takes
            runs/METHOD-seedN, or with `resume` the run that `recipe` names.
        resume: continue the run in `out`, exactly as if it had not been stopped. Of a run that is finished, only the
            summary is returned. The recipe may differ in what the training does not depend on: the place of the data,
            how samples are read, the strategy, the evaluation; and it may be longer, see `ssl_zoo.training.lengthen`.
        allow_changed_data: go on with a run although its data have changed, which is an error otherwise.
        init_from: a run folder, or a file of weights, also of others, to take first weights from; see
            `ssl_zoo.runs.weights.initial_weights`.
        init_parts: the components to take from it.
        devices: processes that train together on this machine, one per device. More than one are started by running
            the program once more for each, as it was called, while this one waits, and then leaves by `SystemExit`;
            None takes those that torchrun has started, or else one. The result is that of one process with the same
            batch size; a run may be resumed with a different number of processes.
        max_restarts: how often the processes are started again, from the last checkpoint, when one is lost.
        max_seconds: stop and save after this time, as a signal would.
        stop_at: stop and save after this optimizer step, as a signal would.
        baselines: a folder in which the numbers of the raw input and of the untrained encoder are kept, so that several
            runs on the same data measure them once; None measures them.
        log: prints a line for the user.

    Returns:
        The summary, as in `summary.json`, in all processes; its `status` is `done`, `collapsed` or `interrupted`.

    Raises:
        UserError: the recipe, the data or the folder does not allow the run; nothing was written.
        TrainingFailed: the run broke off; the summary says `failed`, and the last checkpoint is a good one.
    """
    out = default_out(recipe, resume) if out is None else out
    given = take(data, test)
    recipe = with_data(recipe, given, moved=resume)
    if resume and init_from is not None:
        raise UserError("--resume continues from a run's own weights; leave --init-from out.")
    folder, (hardware, size) = RunFolder(out), _devices(recipe, devices)
    if is_to_start(size, max_restarts):
        if resume and (summary := _finished(folder, recipe, _printable(log))) is not None:
            return summary
        train_in_processes(recipe, folder, size, max_restarts, log)
    if is_restarted() and folder.checkpoint.is_file():
        resume, init_from = True, None
    log = _printable(log) if is_main_process() else _log_nothing
    numbers = arithmetic(hardware.accelerator, hardware.precision, fixed_shapes=True)
    with numbers, StopRequest(max_seconds) as stop, folder.claimed(log) if is_main_process() else nullcontext():
        if resume and (summary := _finished(folder, recipe, log)) is not None:
            return summary
        state = _checkpoint(folder, recipe, resume)
        reset_peak_memory()
        if recipe.guard.policy == "rollback":
            changed(recipe)  # report a mistake in the change before the first step
        start = _Start(recipe, folder, hardware, size, _first_weights(state, init_from, init_parts), state,
                       objects(given), allow_changed_data)  # fmt: skip
        return _run(start, stop, stop_at, None if baselines is None else Path(baselines), log)


@dataclass(frozen=True)
class _Start:
    """Where a run starts from: its first weights, its checkpoint if it is resumed, its data if they are Python's."""

    recipe: Recipe
    folder: RunFolder
    hardware: Hardware
    size: int
    weights: Weights
    state: dict[str, Any] | None
    given: Given | None = None
    allow_changed_data: bool = False


def _devices(recipe: Recipe, devices: int | None) -> tuple[Hardware, int]:
    """Return what the run computes on, and the number of processes, among which its batch can be divided."""
    hardware = choose(recipe.training.precision, recipe.training.memory_format)
    size = count_processes(devices, hardware)
    check_divides(recipe.training.batch_size, recipe.training.accumulate, size)
    return hardware, size


def _finished(folder: RunFolder, recipe: Recipe, log: Log) -> dict[str, Any] | None:
    folder.check_same(recipe, resuming=True)
    summary = folder.finished()
    if summary is not None and not same_length(load_recipe(str(folder.recipe)), recipe):
        return None  # it is to be made longer
    if summary is not None:
        log(f"{folder.path}: this run is finished; to measure it again: {command('eval', folder.path)}")
    return summary


def _checkpoint(folder: RunFolder, recipe: Recipe, resume: bool) -> dict[str, Any] | None:
    """Return the checkpoint to resume from, or make sure that a new run may have the folder."""
    if resume:
        return folder.read_state(recipe)
    folder.check_free(recipe)
    return None


def _first_weights(state: dict[str, Any] | None, init_from: str | Path | None, init_parts: Sequence[str]) -> Weights:
    if state is not None:
        resumed: Weights = state.get("start", state.get("first", {}))
        return resumed
    return initial_weights(init_from, init_parts) if init_from is not None else {}


def _run(start: _Start, stop: StopRequest, stop_at: int | None, baselines: Path | None, log: Log) -> dict[str, Any]:
    """Start the processes, put the run together, and train; return the summary."""
    try:
        with stop.at_once():
            run = _assembled(start)
    except Interrupted:
        return _stopped_early(start)
    with run.processes.fail_together():
        active = begin(run, start.weights, start.state, stop, log, start.allow_changed_data)
    return _live(active, stop_at, baselines)


def _printable(log: Log) -> Log:
    return lambda line: log(shown_name(line))


def _log_nothing(line: str) -> None:
    pass


def _assembled(start: _Start) -> Run:
    processes = launch(start.hardware, start.size)
    with processes.fail_together():
        recipe = recipe_after(start.recipe, (start.state or {}).get("rollbacks", ()))
        return assemble(recipe, start.folder, start.hardware, processes, start.weights, start.recipe, start.given)


def _stopped_early(start: _Start) -> dict[str, Any]:
    """Return the summary of a run that was stopped before it could begin, and leave one that can be resumed."""
    summary = blank_summary(start.recipe, start.hardware, start.size)
    if start.state is not None:
        return {**summary, "steps": start.state["step"], "wall_s": start.state["wall_s"]}
    if is_main_process():
        start.folder.create(start.recipe, first_state(start.recipe, start.weights, None))
        start.folder.write_summary(summary)
    return summary


def _live(active: ActiveRun, stop_at: int | None, baselines: Path | None) -> dict[str, Any]:
    """Train, finish, and return the summary."""
    processes = active.run.processes
    with active.recorded(), processes.fail_together():
        try:
            while (status := _fit(active, stop_at)) == "rollback":
                reason, since = active.monitor.why_back
                go_back(active, reason, since)
        finally:
            active.monitor.close()
        to_plain(active.run.method)
        encoder = active.run.trainer.strategy.gathered(active.run.method.product)
        return processes.broadcast(finish(active, status, encoder, baselines) if processes.is_main else {})


def _fit(active: ActiveRun, stop_at: int | None) -> str:
    """Train until the end, a collapse or a request to stop; save; return the status."""
    run = active.run
    if active.ended is not None:
        return active.ended
    if active.online.due and _stopped_in_evaluation(active):  # the stop came before or in the evaluation
        return "interrupted"
    if run.finished:  # it was stopped after its last step
        return "done"
    status, saved = "done", time.monotonic()
    keep = keep_interval(run.recipe, run.loader.steps_per_epoch)

    def anywhere(step: int, flag: bool) -> bool:
        # All processes have to stop, or save, at the same step; they agree on it where they exchange numbers anyway.
        if run.processes.size > 1 and step % run.recipe.training.log_every:
            return False
        return run.processes.any(flag)

    def save_is_due() -> bool:
        return time.monotonic() - saved > 60 * run.recipe.training.checkpoint_minutes

    def after_step(step: Step) -> bool:
        nonlocal status, saved
        if _found_collapse(active, step):
            status = "rollback" if wanted(active) else "collapsed"
            active.ended = None if status == "rollback" else status
        elif active.online.due and _stopped_in_evaluation(active):
            status = "interrupted"
        elif (anywhere(step.number, active.stop.reason is not None) or step.number == stop_at) and not run.finished:
            status = "interrupted"
        elif anywhere(step.number, save_is_due()):
            active.save()
            saved = time.monotonic()
        if keep is not None and step.number % keep == 0 and status in ("done", "interrupted"):
            active.keep()
        if step.number % run.recipe.training.log_every == 0:
            active.writer.poll()
        return status != "done"

    run.trainer.run(run.loader.iterate(run.trainer.step, run.trainer.total_steps), after_step)
    if status != "rollback":
        active.save()
        active.writer.settle()
    if status in ("done", "collapsed"):
        forget(active)
    return status


def _found_collapse(active: ActiveRun, step: Step) -> bool:
    """Log a step; return whether the guard stops the run or sends it back, which a loss that is not finite does too."""
    try:
        found = active.monitor.after_step(step)
    except NotFinite as error:
        if not wanted(active):
            raise
        active.monitor.why_back = str(error), step.number
        active.log(str(error))
        return True
    if not found:
        keep_if_healthy(active, step.number)
    return found


def _stopped_in_evaluation(active: ActiveRun) -> bool:
    """Evaluate the encoder in training, and keep the state if it is the best; return whether a stop came first."""
    if active.online.interrupted():
        return True
    if active.online.is_best:
        active.keep_best()
    return False

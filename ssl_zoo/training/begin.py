"""The beginning of a run, new or resumed: its folder's first files, its state, and the start banner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from ssl_zoo.data.fit import misfit
from ssl_zoo.data.identity import check_identity, difference, identity
from ssl_zoo.errors import CannotWrite, UserError
from ssl_zoo.evaluation.evaluate import notes
from ssl_zoo.evaluation.online import notes_online
from ssl_zoo.methods.first_weights import report
from ssl_zoo.methods.members import width_of
from ssl_zoo.recipe.display_name import called
from ssl_zoo.recipe.load import method_names
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.runs.atomic import writing
from ssl_zoo.runs.commands import command
from ssl_zoo.runs.data_index import read_index, write_index
from ssl_zoo.training.active_run import ActiveRun
from ssl_zoo.training.lengthen import lengthened, remarks
from ssl_zoo.training.monitor import Monitor
from ssl_zoo.training.online import OnlineEvaluation
from ssl_zoo.training.setup import Run, batch_norm_samples, hardware_notes
from ssl_zoo.training.shared_cpu import sleeps_soon
from ssl_zoo.training.stop import StopRequest

Log = Callable[[str], None]
Weights = Mapping[str, Mapping[str, Tensor]]


def first_state(recipe: Recipe, weights: Weights, data: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the checkpoint of a run before its first step.

    Its method is what the recipe and its seed make of it, and the weights of `--init-from`.
    """
    return {
        "step": 0,
        "start": {part: dict(tensors) for part, tensors in weights.items()},
        "wall_s": 0.0,
        "data": None if data is None else dict(data),
        "recipe": recipe.dump(),
        "ended": None,
    }


def begin(
    run: Run,
    weights: Weights,
    state: dict[str, Any] | None,
    stop: StopRequest,
    log: Log,
    allow_changed_data: bool = False,
) -> ActiveRun:
    """Put a resumed run where it was, write the folder's first files, and print what will be done.

    Args:
        run: its pieces.
        weights: those it starts from, where it has taken no step.
        state: the checkpoint of a resumed run.
        stop: whether it is asked to stop.
        log: prints a line for the user.
        allow_changed_data: whether a resumed run may go on with other data than it was started with.

    Raises:
        UserError: the checkpoint does not belong to the run, or the data are others; nothing was written.
        CannotWrite: the disk is full, or the folder is gone.
    """
    data, folder = identity(run.data.train, run.data.contents), run.folder
    changed, new = list[str](), list[str]()
    longer: list[dict[str, Any]] = []
    if state is not None:
        changed, longer = _compared(state, data, run, allow_changed_data), lengthened(run, state)
        new = changed + ([longer[-1]["note"]] if longer != state.get("lengthened", []) else [])
        if state["step"]:
            _load(state, run.trainer, folder.checkpoint)
            run.loader.load(state.get("bad_samples", {}))  # runs of earlier versions have none
    step = run.trainer.step
    if run.processes.is_main:
        folder.rewind_metrics(step)
        first = first_state(run.asked, weights, data) if not step and not (state or {}).get("rollbacks") else None
        folder.create(run.asked, first, remarks(longer))
        if run.data.contents is not None and (first is not None or changed):
            write_index(folder.data_index, run.data.contents)
    _banner(run, log)
    for line in (*new, *(() if step else report(run.method, weights))):
        log(line)
    monitor = Monitor(run.recipe, folder, run.trainer, run.loader.steps_per_epoch, run.method, bool(weights), log)
    monitor.rollbacks = len((state or {}).get("rollbacks", []))
    before_s, ended = (state["wall_s"], state["ended"]) if state is not None else (0.0, None)
    online = OnlineEvaluation(run, monitor, stop)
    active = ActiveRun(run, monitor, online, stop, log, data, before_s, step, ended, weights)
    if state is not None:
        active.weights = active.weights or state.get("first", {})
        active.lengthened = longer
        active.rollbacks, active.healthy = list(state.get("rollbacks", [])), list(state.get("healthy", []))
    try:
        if state is not None and step:
            _load(state["monitor"], monitor, folder.checkpoint)
            if "online" in state:  # runs of earlier versions have none
                _load(state["online"], active.online, folder.checkpoint)
        if run.processes.is_main:
            folder.write_summary(active.summary("interrupted"))  # what a kill leaves behind
            if not step:
                _add_views(run, monitor)
    except BaseException:
        monitor.close()
        raise
    return active


def _compared(state: dict[str, Any], data: dict[str, Any], run: Run, allow_changed: bool) -> list[str]:
    """Return what `_compare` returns in the main process, in all of them: it reads files that are written next.

    Raises:
        UserError: as `_compare`, in all processes.
    """
    found: tuple[str, list[str]] = ("", [])
    if run.processes.is_main:
        try:
            found = ("", _compare(state, data, run, allow_changed))
        except UserError as error:
            found = (str(error), [])
    problem, lines = run.processes.broadcast(found)
    if problem:
        raise UserError(problem)
    return lines


def _compare(state: dict[str, Any], data: dict[str, Any], run: Run, allow_changed: bool) -> list[str]:
    """Compare the data of a resumed run with those it was started with; return sentences on what is another.

    Raises:
        UserError: they differ, and may not.
    """
    then, folder = state["data"], run.folder
    if then is None:  # it was stopped before it had looked at them
        return []
    before = read_index(folder.data_index)
    repaired = _may_be_repaired(run) and all(then[key] == data[key] for key in ("samples", "names", "labels"))
    if not (allow_changed or repaired):
        check_identity(then, data, str(folder.path), before, run.data.contents)
    found = []
    what = difference(then, data, before, run.data.contents)
    if what and repaired and not allow_changed:
        found.append("data: samples were put in the places of some that could not be read, or are others now")
    elif what:
        found.append(
            f"data: the run {what}; it goes on with these, and is neither a run on the old nor on the new data"
        )
    old, new = state["recipe"]["data"]["source"], run.recipe.dump()["data"]["source"]
    if old != new and not what:
        found.append(f"data: at another place than before: the same {data['samples']} samples as far as is compared")
    return found


def _may_be_repaired(run: Run) -> bool:
    """Return whether the run has failed at samples that cannot be read, so that others may be in their places now."""
    folder = run.folder
    if not (folder.summary.is_file() and folder.bad_files.is_file()):
        return False
    return folder.read_summary()["status"] == "failed"


def _load(state: dict[str, Any], into: Any, path: Any) -> None:
    """Load a state.

    Raises:
        UserError: it does not.
    """
    try:
        into.load(state)
    except UserError:
        raise
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        text = " ".join(str(error).split())
        raise UserError(f"{path}: does not fit this version of ssl_zoo or of your parts: {text[:300]}.") from None


def _banner(run: Run, log: Log) -> None:
    settings, method = run.recipe.training, run.method
    weights = sum(p.numel() for p in method.encoder.parameters())
    log(
        f"{called(run.recipe.dump())} on {run.recipe.data.source.name if run.recipe.data.source else ''}: "
        f"{len(run.data.train)} samples, {run.loader.steps_per_epoch} steps per epoch, {run.trainer.total_steps} steps"
    )
    widths = {width_of(method.encoder, member): None for member in run.recipe.members} or [method.encoder.out_dim]
    width = " and ".join(map(str, widths))
    log(f"encoder {run.recipe.encoder.name}: {weights / 1e6:.2f} M weights, width {width}")
    processes = f"{run.processes.size} processes, " if run.processes.size > 1 else ""
    parts = f" in {settings.accumulate} parts" if settings.accumulate > 1 else ""
    threads = ", whose threads sleep while they wait" if run.hardware.accelerator == "cpu" and sleeps_soon() else ""
    log(
        f"{run.hardware}{threads}; {processes}total batch {settings.batch_size}{parts}, "
        f"learning rate {settings.lr:.4g}; each BatchNorm sees "
        f"{batch_norm_samples(run.recipe, run.policy.spec, run.processes.size)} samples"
    )
    for note in hardware_notes(run):
        log(note)
    log(run.workers.note)
    for note in getattr(run.trainer.strategy, "notes", ()):  # a strategy of others may have none
        log(f"note: {note}")
    if run.trainer.step:
        log(f"resumed at step {run.trainer.step}")
    for note in run.data.notes:
        log(f"note: {note}")
    for name, reason in run.data.bad.items():
        log(f"left out {name}: {reason}")
    if not run.trainer.step and (problem := misfit(run.data.train, run.data.modality)):
        data = run.recipe.data.source.options.get("path", run.recipe.data.source.name) if run.recipe.data.source else ""
        name = run.recipe.method if run.recipe.method in method_names() else "METHOD"
        log(f"note: {problem}; `{command('init', name, '--data', data)}` writes a recipe that fits")
    for line in notes(run.recipe, run.data):
        log(f"evaluation: {line}")
    for line in notes_online(run.recipe, run.sets):
        log(f"evaluation in training: {line}")


def _add_views(run: Run, monitor: Monitor) -> None:
    """Draw the views and keep what is heard or read of the samples; where that fails, a line is printed."""
    from PIL import Image

    from ssl_zoo.data.preview import preview
    from ssl_zoo.runs.samples import MOST_SAMPLES, write_samples

    try:
        shown = preview(run.data.train, run.policy, run.recipe.seed, MOST_SAMPLES, run.data.modality)
        monitor.add_picture("views", shown.picture)
        with writing(run.folder.views):
            Image.fromarray(shown.picture.permute(1, 2, 0).numpy()).save(run.folder.views)
        write_samples(run.folder.samples, shown.rows, shown.media)
    except (UserError, CannotWrite) as error:
        monitor.problem(f"there is no picture of the views: {error}")

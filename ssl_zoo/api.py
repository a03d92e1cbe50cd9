"""Training a recipe: what `ssl-zoo train` calls. `evaluate` has its home in `ssl_zoo.measure`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_zoo import checkpoint
from ssl_zoo.artefact import save_encoder
from ssl_zoo.assemble import Run, assemble, samples_per_norm
from ssl_zoo.assemble import open_data as open_data
from ssl_zoo.check import check_recipe
from ssl_zoo.data.loader import check_divides
from ssl_zoo.errors import TrainingFailed, UserError, shown_name
from ssl_zoo.hardware import choose, environment
from ssl_zoo.initial import initial_weights, report
from ssl_zoo.launch import launch, size_of_crew
from ssl_zoo.measure import evaluate as evaluate
from ssl_zoo.measure import measure, notes
from ssl_zoo.monitor import Monitor
from ssl_zoo.norms import to_plain
from ssl_zoo.recipe import Recipe
from ssl_zoo.recipes import load_recipe
from ssl_zoo.run_folder import RunFolder
from ssl_zoo.stop import StopRequest
from ssl_zoo.trainer import Step

Say = Callable[[str], None]


def train(
    recipe: Recipe | str,
    *,
    out: str | Path,
    resume: bool = False,
    init_from: str | Path | None = None,
    init_parts: Sequence[str] = ("encoder",),
    devices: int | None = None,
    max_seconds: float | None = None,
    stop_at: int | None = None,
    say: Say = print,
) -> dict[str, Any]:
    """Train a recipe, evaluate the encoder and write the run folder.

    Args:
        recipe: a recipe, or what `load_recipe` takes.
        out: the run folder; a new one, or with `resume` the run's own.
        resume: go on with the run in `out`, exactly as if it had not been stopped.
        init_from: a run folder or an `encoder.safetensors` to take first weights from.
        init_parts: the components to take from it.
        devices: processes that train together, one a device. More than one are started by running the program once more
            for each, as it was called; None takes those that torchrun has started, or else one. The result is that of
            one process with the same batch size; a run may go on with another number.
        max_seconds: stop and save after this time, as a signal would.
        stop_at: stop and save after this optimizer step, as a signal would.
        say: prints a line for the user.

    Returns:
        The summary, as written to `summary.json`; its `status` is `done`, `collapsed` or `interrupted`. All processes
        return it.

    Raises:
        UserError: the recipe, the data or the folder does not allow the run; nothing was written.
        TrainingFailed: the run broke off; the summary says `failed`.
    """
    if isinstance(recipe, str):
        recipe = load_recipe(recipe)
    folder = RunFolder(out)
    folder.check_same(recipe) if resume else folder.check_free()
    if resume and init_from is not None:
        raise UserError("--resume goes on with a run's own weights; leave --init-from out.")
    state = checkpoint.load(folder.checkpoint) if resume else None
    weights = initial_weights(init_from, init_parts) if init_from is not None else {}
    hardware = choose(recipe.training)
    size = size_of_crew(devices, hardware)
    check_divides(recipe.training.batch_size, recipe.training.accumulate, size)
    if size > 1:
        check_recipe(recipe)  # what is wrong is better said before there are many to say it
    started = time.time() - (state["wall_s"] if state is not None else 0.0)
    crew = launch(hardware, size)
    with crew.together():
        run = assemble(recipe, folder, hardware, crew, weights)
        say = say if crew.first else _say_nothing
        monitor = _begin(run, weights, state, say)
        try:
            status = _fit(run, monitor, started, max_seconds, stop_at)
        except (TrainingFailed, UserError) as error:
            if crew.first:
                folder.write_summary({**_summary(run, monitor, "failed", started), "reason": str(error)})
            raise
        finally:
            monitor.close()
        to_plain(run.trainer.method)
        return crew.from_first(_finish(run, monitor, status, started, say) if crew.first else {})


def _say_nothing(line: str) -> None:
    pass


def _begin(run: Run, weights: Mapping[str, Mapping[str, Tensor]], state: dict[str, Any] | None, say: Say) -> Monitor:
    """Write the folder's first files, put a resumed run where it was, and tell the user what will be done."""
    if run.crew.first:
        run.folder.create(run.recipe)
    if state is not None:
        run.trainer.load(state)
        if run.crew.first:
            run.folder.rewind_metrics(run.trainer.step)
    _banner(run, say)
    for line in report(run.trainer.method, weights):
        say(line)
    monitor = Monitor(run.recipe, run.folder, run.trainer, run.loader.steps_per_epoch, say)
    if state is not None:
        monitor.load(state["monitor"])
    elif run.crew.first:
        _add_views(run, monitor)
    return monitor


def _banner(run: Run, say: Say) -> None:
    settings, method = run.recipe.training, run.trainer.method
    weights = sum(p.numel() for p in method.encoder.parameters())
    say(
        f"{run.recipe.method} on {run.recipe.data.source.name if run.recipe.data.source else ''}: "
        f"{len(run.data.train)} samples, {run.loader.steps_per_epoch} steps an epoch, {run.trainer.total_steps} steps"
    )
    say(f"encoder {run.recipe.encoder.name}: {weights / 1e6:.2f} M weights, width {method.encoder.out_dim}")
    processes = f"{run.crew.size} processes, " if run.crew.size > 1 else ""
    parts = f" in {settings.accumulate} parts" if settings.accumulate > 1 else ""
    say(
        f"{run.hardware}; {processes}total batch {settings.batch_size}{parts}, learning rate {settings.lr:.4g}; "
        f"each BatchNorm sees {samples_per_norm(run.recipe, run.crew.size)} samples"
    )
    say(run.reading.note)
    if run.trainer.step:
        say(f"resumed at step {run.trainer.step}")
    for note in run.data.notes:
        say(f"note: {note}")
    for name, reason in run.data.bad.items():
        say(shown_name(f"left out {name}: {reason}"))
    for line in notes(run.recipe, run.data):
        say(f"evaluation: {line}")


def _add_views(run: Run, monitor: Monitor) -> None:
    from PIL import Image

    from ssl_zoo.views_picture import picture_of_views

    picture = picture_of_views(run.data.train, run.policy, run.recipe.seed, samples=8)
    monitor.add_picture("views", picture)
    Image.fromarray(picture.permute(1, 2, 0).numpy()).save(run.folder.views)


def _fit(run: Run, monitor: Monitor, started: float, max_seconds: float | None, stop_at: int | None) -> str:
    """Train until the end, a collapse or a request to stop; save; return the status."""
    status = "done"
    saved = time.monotonic()

    def save() -> None:
        if not run.crew.first:
            return
        state = {**run.trainer.state(), "monitor": monitor.state(), "wall_s": time.time() - started}
        checkpoint.save(run.folder.checkpoint, state)

    with StopRequest(max_seconds) as request:

        def asked(step: int) -> bool:
            # All processes have to stop at the same step; they agree on it where they exchange numbers anyway.
            if run.crew.size > 1 and step % run.recipe.training.log_every:
                return False
            return run.crew.any(request.reason is not None)

        def after_step(step: Step) -> bool:
            nonlocal status, saved
            if monitor.after_step(step):
                status = "collapsed"
            elif (asked(step.number) or step.number == stop_at) and not run.finished:
                status = "interrupted"
            elif time.monotonic() - saved > 60 * run.recipe.training.checkpoint_minutes:
                save()
                saved = time.monotonic()
            return status != "done"

        batches = run.loader.iterate(run.trainer.step, run.trainer.total_steps)
        run.trainer.run(batches, after_step)
        save()
    return status


def _finish(run: Run, monitor: Monitor, status: str, started: float, say: Say) -> dict[str, Any]:
    folder, encoder = run.folder, run.trainer.method.encoder
    bad = {**run.data.bad, **run.loader.bad}
    if bad:
        folder.bad_files.write_text("".join(f"{name}\t{reason}\n" for name, reason in bad.items()), encoding="utf-8")
    summary = _summary(run, monitor, status, started)
    folder.write_summary(summary)  # before the evaluation: what breaks off there has trained all the same
    if status != "interrupted":
        save_encoder(folder, encoder, run.recipe, run.trainer.step, summary["environment"])
        say("evaluating the frozen encoder")
        told: list[str] = []

        def tell(line: str) -> None:
            told.append(line)
            say(f"  {line}")

        results = measure(run.recipe, encoder, run.policy, run.data, run.trainer.fabric.device, say=tell)
        summary["evaluation_notes"] = told
        summary["metrics"] = results.pop("encoder")
        summary["baselines"] = results
        summary["wall_s"] = time.time() - started
    folder.write_summary(summary)
    return summary


def _summary(run: Run, monitor: Monitor, status: str, started: float) -> dict[str, Any]:
    trainer = run.trainer
    return {
        "status": status,
        "method": run.recipe.method,
        "seed": run.recipe.seed,
        "steps": trainer.step,
        "epochs": trainer.step / run.loader.steps_per_epoch,
        "wall_s": time.time() - started,
        "train_s": trainer.clock.train,
        "images_per_s": monitor.images_per_s(),
        "data_wait_fraction": trainer.clock.data_fraction,
        "collapse": monitor.guard.status,
        "metrics": {},
        "baselines": {},
        "data": {"source": run.recipe.data.source.plain() if run.recipe.data.source else None,
                 "train": len(run.data.train), "test": len(run.data.test) if run.data.test is not None else 0},
        "peak_memory_bytes": torch.cuda.max_memory_allocated() if run.hardware.accelerator == "cuda" else None,
        "environment": {**environment(run.hardware), "processes": run.crew.size},
    }  # fmt: skip

"""Training and evaluating a recipe: what `ssl-zoo train` and `ssl-zoo eval` call."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_zoo import checkpoint, registry
from ssl_zoo.artefact import load_encoder, save_encoder
from ssl_zoo.batch import Batch
from ssl_zoo.build import build, build_encoder, build_views
from ssl_zoo.data import Loader, RawBatch, Split, load
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.evaluate import compare_representations
from ssl_zoo.hardware import Hardware, choose, environment
from ssl_zoo.initial import initial_weights, report
from ssl_zoo.method import Method
from ssl_zoo.monitor import Monitor
from ssl_zoo.optim.groups import parameter_groups
from ssl_zoo.recipe import Part, Recipe
from ssl_zoo.recipes import load_recipe
from ssl_zoo.run_folder import RunFolder
from ssl_zoo.stop import StopRequest
from ssl_zoo.trainer import Step, Trainer, TrainingFailed

Say = Callable[[str], None]


@dataclass(frozen=True)
class OpenData:
    """A recipe's data: the train split, the test split if the source has one, and what could not be read."""

    train: Split
    test: Split | None
    bad: dict[str, str]


def open_data(recipe: Recipe, channels: int) -> OpenData:
    """Open the data of a recipe, decoded into memory where it fits.

    Raises:
        UserError: the recipe names no data, or they cannot be read.
    """
    if recipe.data.source is None:
        raise UserError("the recipe names no data; give --data PATH (a folder, zip or parquet) or --data digits.")
    source = registry.build("source", recipe.data.source.name, recipe.data.source.knobs, channels=channels)
    options = {key: getattr(recipe.data, key) for key in ("cache", "on_error", "bad_budget")}
    splits = {name: load(source.split(name), **options) for name in ("train", "test") if name in source.splits}
    bad = {name: reason for split in splits.values() for name, reason in getattr(split, "bad", {}).items()}
    return OpenData(splits["train"], splits.get("test"), bad)


def _num_workers(recipe: Recipe, split: Split) -> int:
    if recipe.data.num_workers != "auto":
        return recipe.data.num_workers
    return 0 if hasattr(split, "read_batch") else max(1, min(8, (torch.get_num_threads())))


def _check_batch(recipe: Recipe, method: nn.Module) -> None:
    micro = recipe.training.batch_size // recipe.training.accumulate
    if micro < 2 and any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in method.modules()):
        raise UserError(
            f"training.batch_size: a batch of {micro} gives BatchNorm nothing to average over; use at least 2 samples "
            "(training.batch_size / training.accumulate), or heads and an encoder without BatchNorm."
        )


@dataclass
class _Run:
    """The pieces of one training, put together."""

    recipe: Recipe
    folder: RunFolder
    hardware: Hardware
    data: OpenData
    policy: nn.Module
    loader: Loader
    trainer: Trainer

    @property
    def finished(self) -> bool:
        return self.trainer.step >= self.trainer.total_steps


def _assemble(recipe: Recipe, folder: RunFolder, weights: Mapping[str, Mapping[str, Tensor]]) -> _Run:
    method = build(recipe, weights=weights)
    _check_batch(recipe, method)
    groups = parameter_groups(method, recipe.training.groups)
    policy = build_views(recipe, method.encoder)
    data = open_data(recipe, policy.channels)
    settings = recipe.training
    loader = Loader(
        data.train,
        policy,
        batch_size=settings.batch_size,
        accumulate=settings.accumulate,
        seed=recipe.seed,
        num_workers=_num_workers(recipe, data.train),
        on_error=recipe.data.on_error,
        bad_budget=recipe.data.bad_budget,
    )
    hardware = choose(settings)
    trainer = _trainer(recipe, hardware, method, groups, policy, loader.steps_per_epoch)
    return _Run(recipe, folder, hardware, data, policy, loader, trainer)


def _trainer(
    recipe: Recipe, hardware: Hardware, method: Method, groups: list[Any], policy: nn.Module, steps_per_epoch: int
) -> Trainer:
    settings = recipe.training
    total = settings.max_steps or max(1, round(settings.epochs * steps_per_epoch))
    fabric = hardware.fabric()
    layout = torch.channels_last if hardware.memory_format == "channels_last" else torch.contiguous_format
    method.to(memory_format=layout)

    def to_batch(raw: RawBatch) -> Batch:
        payload = {name: value.to(fabric.device, non_blocking=True) for name, value in raw.payload.items()}
        return Batch(policy(payload), raw.index)

    optimizer = registry.build("optimizer", settings.optimizer.name, settings.optimizer.knobs, groups=groups)
    knobs = settings.schedule.knobs
    schedule = registry.build(
        "schedule", settings.schedule.name, knobs, total_steps=total, steps_per_epoch=steps_per_epoch
    )
    return Trainer(
        fabric, method, optimizer, schedule, settings.lr, total, recipe.seed, to_batch, clip_grad=settings.clip_grad
    )


def train(
    recipe: Recipe | str,
    *,
    out: str | Path,
    resume: bool = False,
    init_from: str | Path | None = None,
    init_parts: Sequence[str] = ("encoder",),
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
        max_seconds: stop and save after this time, as a signal would.
        stop_at: stop and save after this optimizer step, as a signal would.
        say: prints a line for the user.

    Returns:
        The summary, as written to `summary.json`; its `status` is `done`, `collapsed` or `interrupted`.

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
    started = time.time()
    run = _assemble(recipe, folder, weights)
    folder.create(recipe)
    if state is not None:
        run.trainer.load(state)
        folder.rewind_metrics(run.trainer.step)
        started -= state["wall_s"]
    _banner(run, say)
    for line in report(run.trainer.method, weights):
        say(line)
    monitor = Monitor(recipe, folder, run.trainer, run.loader.steps_per_epoch, say)
    if state is not None:
        monitor.load(state["monitor"])
    else:
        _add_views(run, monitor)
    try:
        status = _fit(run, monitor, started, max_seconds, stop_at)
    except (TrainingFailed, UserError) as error:
        folder.write_summary({**_summary(run, monitor, "failed", started), "reason": str(error)})
        raise
    finally:
        monitor.close()
    return _finish(run, monitor, status, started, say)


def _banner(run: _Run, say: Say) -> None:
    settings, method = run.recipe.training, run.trainer.method
    weights = sum(p.numel() for p in method.encoder.parameters())
    say(
        f"{run.recipe.method} on {run.recipe.data.source.name if run.recipe.data.source else ''}: "
        f"{len(run.data.train)} samples, {run.loader.steps_per_epoch} steps an epoch, {run.trainer.total_steps} steps"
    )
    say(f"encoder {run.recipe.encoder.name}: {weights / 1e6:.2f} M weights, width {method.encoder.out_dim}")
    say(f"{run.hardware}; total batch {settings.batch_size}"
        + (f" in {settings.accumulate} parts" if settings.accumulate > 1 else "")
        + f", learning rate {settings.lr:.4g}; each BatchNorm sees {_samples_per_norm(run.recipe)} samples")  # fmt: skip
    if run.trainer.step:
        say(f"resumed at step {run.trainer.step}")
    for name, reason in run.data.bad.items():
        say(f"left out {name}: {reason}")


def _samples_per_norm(recipe: Recipe) -> int:
    views = recipe.views.knobs.get("num_views", 1) if recipe.stack_views else 1
    return recipe.training.batch_size // recipe.training.accumulate * views


def _add_views(run: _Run, monitor: Monitor) -> None:
    from ssl_zoo.views_picture import picture_of_views

    monitor.add_picture("views", picture_of_views(run.data.train, run.policy, run.recipe.seed, samples=8))


def _fit(run: _Run, monitor: Monitor, started: float, max_seconds: float | None, stop_at: int | None) -> str:
    """Train until the end, a collapse or a request to stop; save; return the status."""
    status = "done"
    saved = time.monotonic()

    def save() -> None:
        state = {**run.trainer.state(), "monitor": monitor.state(), "wall_s": time.time() - started}
        checkpoint.save(run.folder.checkpoint, state)

    with StopRequest(max_seconds) as request:

        def after_step(step: Step) -> bool:
            nonlocal status, saved
            if monitor.after_step(step):
                status = "collapsed"
            elif (request.reason is not None or step.number == stop_at) and not run.finished:
                status = "interrupted"
            elif time.monotonic() - saved > 60 * run.recipe.training.checkpoint_minutes:
                save()
                saved = time.monotonic()
            return status != "done"

        batches = run.loader.iterate(run.trainer.step, run.trainer.total_steps)
        run.trainer.run(batches, after_step)
        save()
    return status


def _finish(run: _Run, monitor: Monitor, status: str, started: float, say: Say) -> dict[str, Any]:
    folder, encoder = run.folder, run.trainer.method.encoder
    bad = {**run.data.bad, **run.loader.bad}
    if bad:
        folder.bad_files.write_text("".join(f"{name}\t{reason}\n" for name, reason in bad.items()), encoding="utf-8")
    summary = _summary(run, monitor, status, started)
    if status != "interrupted":
        save_encoder(folder, encoder, run.recipe, run.trainer.step, summary["environment"])
        say("evaluating the frozen encoder")
        results = _evaluate(run.recipe, encoder, run.policy, run.data, run.trainer.fabric.device)
        summary["metrics"] = results.pop("encoder")
        summary["baselines"] = results
        summary["wall_s"] = time.time() - started
    folder.write_summary(summary)
    return summary


def _summary(run: _Run, monitor: Monitor, status: str, started: float) -> dict[str, Any]:
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
        "environment": environment(run.hardware),
    }  # fmt: skip


def _evaluate(
    recipe: Recipe, encoder: nn.Module, policy: nn.Module, data: OpenData, device: torch.device
) -> dict[str, Any]:
    return compare_representations(
        encoder,
        build_encoder(recipe).to(device) if recipe.evaluation.baselines else None,
        policy,
        data.train,
        data.test,
        [(part.name, part.knobs) for part in recipe.evaluation.protocols],
        device=device,
        limit=recipe.evaluation.limit,
    )


def evaluate(
    run: str | Path, protocols: Sequence[str] = (), *, data: str | None = None, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Measure a run's encoder by named protocols, beside raw pixels and the untrained encoder.

    Args:
        run: a finished run folder.
        protocols: names; empty takes the recipe's.
        data: other data than the run's.
        overrides: dotted keys on the run's recipe, such as `evaluation.knn.k=20`.

    Returns:
        `{"encoder" | "untrained" | "pixels": {protocol: {metric: value}}}`.

    Raises:
        UserError: no such run, protocol or data, or a protocol that needs labels where there are none.
    """
    recipe = load_recipe(str(run), overrides, data=data)
    if protocols:
        parts = {part.name: part for part in recipe.evaluation.protocols}
        chosen = [parts.get(name) or Part(name=name, knobs=registry.check("protocol", name, {})) for name in protocols]
        recipe = recipe.model_copy(
            update={"evaluation": recipe.evaluation.model_copy(update={"protocols": tuple(chosen)})}
        )
    encoder = load_encoder(run)
    policy = build_views(recipe, encoder)
    hardware = choose(recipe.training)
    device = hardware.fabric().device
    return _evaluate(recipe, encoder.to(device), policy, open_data(recipe, policy.channels), device)

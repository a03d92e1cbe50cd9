"""The benchmarks `step` (bare arithmetic) and `pipeline` (the real run), and the top costs of a step."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median
from typing import Any

import torch

from ssl_zoo.bench.peers import lightly_loop
from ssl_zoo.bench.roofline import Count, describe, measure_machine
from ssl_zoo.bench.timing import Result, Side, alternate
from ssl_zoo.data.held import MemorySplit
from ssl_zoo.distributed.launch import launch
from ssl_zoo.errors import UserError
from ssl_zoo.hardware import arithmetic, choose
from ssl_zoo.methods.build import build
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.training.setup import Run, assemble


def open_run(recipe: Recipe) -> Run:
    """Return the pieces of a training of a recipe, which is not written anywhere."""
    hardware = choose(recipe.training.precision, recipe.training.memory_format)
    with tempfile.TemporaryDirectory() as folder:
        return assemble(recipe, RunFolder(Path(folder) / "run"), hardware, launch(hardware, 1), {})


def step_side(run: Run) -> Side:
    """Return the bare step: method and optimizer on one batch of views that is already on the device."""
    trainer = run.trainer
    made = [trainer.to_batch(raw) for raw in next(run.loader.iterate(0, 1))]

    def once() -> int:
        trainer.method.train()
        trainer.take_step(made, len(made))
        return run.recipe.training.batch_size

    return Side("bare step", once)


class _Pipeline:
    """The real run, some steps at a time: loader, views, trainer.

    The workers of the loader live as long as those steps and are restarted for the next ones, so that none of them
    works ahead while another side is timed.
    """

    def __init__(self, run: Run, steps: int) -> None:
        self.run, self.steps, self.done = run, steps, 0

    def __call__(self) -> int:
        self.run.trainer.run(self.run.loader.iterate(self.done, self.done + self.steps), lambda _: False)
        self.done += self.steps
        return self.steps * self.run.recipe.training.batch_size


def bench_step(recipe: Recipe, rounds: int) -> list[Result]:
    """Measure images per second of the bare step."""
    run = open_run(recipe)
    side, halves = step_side(run), {"bf16": torch.bfloat16, "fp16": torch.float16}
    device, dtype = run.trainer.device, halves.get(run.hardware.precision, torch.float32)
    with _as_trained(run):
        with Count() as count:
            images = side.run()
        machine = measure_machine(device, dtype)
        memory = _memory_of(side)
        result = alternate(f"step {recipe.method}", "images/s", [side], rounds)
        machine = machine.better(measure_machine(device, dtype))
    result.notes += [_what(run), describe(count, machine, images, result.median(side.name))]
    result.notes += memory
    return [result]


def bench_pipeline(
    recipe: Recipe, against: Sequence[str], rounds: int, steps: int = 4, name: str = "pipeline"
) -> list[Result]:
    """Measure the real run against the bare step, and on request against lightly's loop."""
    run = open_run(recipe)
    bare = step_side(run)
    pipeline = _Pipeline(run, steps)
    sides = [
        Side("pipeline", pipeline),
        Side("bare step", lambda: sum(bare.run() for _ in range(steps))),
    ]
    if "lightly" in against:
        sides.append(_lightly(run, steps))
    with _as_trained(run):
        memory = _memory_of(sides[0])
        result = alternate(f"{name} {recipe.method}", "images/s", sides, rounds)
    result.notes += [_what(run), run.workers.note, _limit(run, result), *memory]
    return [result]


def _as_trained(run: Run) -> AbstractContextManager[None]:
    """Return a context in which a GPU multiplies as in a training of the run; all sides do."""
    return arithmetic(run.hardware.accelerator, run.hardware.precision, fixed_shapes=True)


def _what(run: Run) -> str:
    settings = run.recipe.training
    weights = sum(weight.numel() for weight in run.method.encoder.parameters()) / 1e6
    return (
        f"{run.recipe.encoder.name} of {weights:.2f} M weights, views of {run.recipe.views.plain().get('size')} px, "
        f"batch {settings.batch_size}, {run.hardware}, {run.workers.num_workers} workers"
    )


def _limit(run: Run, result: Result) -> str:
    """Return a sentence on the shares of the run's time, and the part that limits it."""
    share = median(p / s for p, s in zip(result.rates["pipeline"], result.rates["bare step"], strict=True))
    waits = run.trainer.clock.data_fraction
    parts = {"the encoder's arithmetic": share, "waiting for data": waits, "views": max(0.0, 1 - share - waits)}
    shown = ", ".join(f"{name} {part:.1%}" for name, part in parts.items())
    return f"pipeline / bare step: {share:.1%}; limited by {max(parts, key=lambda name: parts[name])} ({shown})"


def _memory_of(side: Side) -> list[str]:
    """Return a note on the device's peak memory while a side runs once, before the others do; none on a CPU."""
    if not torch.cuda.is_available():
        return []
    torch.cuda.reset_peak_memory_stats()
    side.run()
    return [f"peak memory of the device, {side.name}: {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB"]


def _lightly(run: Run, steps: int) -> Side:
    recipe, train = run.recipe, run.data.train
    if recipe.method != "simsiam" or not isinstance(train, MemorySplit):
        raise UserError("bench pipeline --against lightly needs simsiam, and images of one size that fit in memory.")
    views, settings = recipe.views.plain(), recipe.training
    images = train.read_batch(torch.arange(steps * settings.batch_size) % len(train))
    hidden, out = recipe.options["projector"].options["dims"][0], recipe.options["projector"].options["dims"][-1]
    narrow = recipe.options["predictor"].options["dims"][0]
    encoder = build(recipe).encoder
    decay = settings.optimizer.options.get("weight_decay", 0.0)
    blur = views.get("blur", 0.5)
    assert isinstance(blur, float)
    return lightly_loop(
        encoder,
        (hidden, out, narrow),
        settings.lr,
        images,
        views["size"],
        settings.batch_size,
        blur,
        decay,
        run.hardware,
    )


def profile(recipe: Recipe, top: int = 12) -> dict[str, Any]:
    """Return the costliest operations of a real step: name -> fraction of the time, largest first."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    pipeline = _Pipeline(open_run(recipe), 1)
    pipeline()
    gpu = torch.cuda.is_available()
    with record(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]) as found:
        pipeline()
    costs = {e.key: e.self_device_time_total if gpu else e.self_cpu_time_total for e in found.key_averages()}
    total = sum(costs.values())
    return {name: cost / total for name, cost in sorted(costs.items(), key=lambda item: -item[1])[:top]}

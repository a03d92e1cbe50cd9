"""From a recipe to all the pieces of a training: data, loader, method, trainer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ssl_zoo import registry
from ssl_zoo.batch import Batch, InputSpec
from ssl_zoo.data import Loader, MemorySplit, RawBatch, Split, WorkerChoice, choose_workers
from ssl_zoo.data.given import Given
from ssl_zoo.data.open import OpenData
from ssl_zoo.data.preview import some_views
from ssl_zoo.data.shared import Sharing
from ssl_zoo.data.source import ViewPolicy
from ssl_zoo.data.transfer import Transfer
from ssl_zoo.distributed import collectives
from ssl_zoo.distributed.launch import Processes
from ssl_zoo.distributed.precision import Precision
from ssl_zoo.distributed.strategy import Strategy
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.online import open_sets
from ssl_zoo.hardware import Hardware, check_compiler, is_unsafe, keep_memory, use_memory_format
from ssl_zoo.methods.build import build, build_views, open_recipe_data
from ssl_zoo.methods.contract import SAMPLES, check_views
from ssl_zoo.methods.method import Method
from ssl_zoo.optim.param_groups import parameter_groups, plan
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.training.activation_checkpointing import recompute_blocks
from ssl_zoo.training.compilation import compile_networks
from ssl_zoo.training.cuda_graph import WARM_UP, CudaRecorder, GraphedStep, reason_against
from ssl_zoo.training.trainer import Trainer


@dataclass
class Run:
    """The pieces of one training, put together; `sets` are the data that the first process measures during it.

    `recipe` is what is trained; it differs from `asked`, what the user gave, after a rollback.
    """

    recipe: Recipe
    asked: Recipe
    folder: RunFolder
    hardware: Hardware
    processes: Processes
    data: OpenData
    workers: WorkerChoice
    policy: ViewPolicy
    loader: Loader
    method: Method
    trainer: Trainer
    sets: Mapping[str, OpenData]

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.trainer.step >= self.trainer.total_steps


def assemble(
    recipe: Recipe,
    folder: RunFolder,
    hardware: Hardware,
    processes: Processes,
    weights: Mapping[str, Mapping[str, Tensor]],
    asked: Recipe | None = None,
    given: Given | None = None,
    opened: OpenData | None = None,
) -> Run:
    """Put the pieces of a training together, in each of its processes.

    Args:
        recipe: of the run.
        folder: where it is kept.
        hardware: what it computes on.
        processes: the processes that train together.
        weights: {component: {name: tensor}} to start from.
        asked: the recipe before any rollback; None where there was none.
        given: the data as Python objects, where they are such.
        opened: its data; None opens those that are given or that the recipe names.

    Raises:
        UserError: parts that do not join, or data that cannot be read.
    """
    if hardware.accelerator == "cpu":
        keep_memory()
    method = build(recipe, weights=weights)
    policy = build_views(recipe)
    _check_batch(recipe, policy.spec, method)
    _prepare(recipe, method)
    parameter_groups(method, recipe.training.groups)  # a rule that fits nothing is found before data are read
    sharing = None if processes.group is None else Sharing(processes.group)
    data = opened or open_recipe_data(recipe, policy.spec, given, compared=True, sharing=sharing)
    if processes.size == 1:
        check_views(recipe.views.name, policy.spec, some_views(data.train, policy, recipe.seed, SAMPLES)[1])
    sets = open_sets(recipe, policy, data) if processes.is_main else {}
    settings, device = recipe.training, processes.device
    share = settings.batch_size // settings.accumulate // processes.size
    workers = choose_workers(data.train, policy, recipe.data.num_workers, share)
    samples = _near(data.train, device, workers.num_workers)
    loader = Loader(
        samples,
        policy,
        batch_size=settings.batch_size,
        accumulate=settings.accumulate,
        seed=recipe.seed,
        num_workers=workers.num_workers,
        on_error=recipe.data.on_error,
        bad_budget=recipe.data.bad_budget,
        pin_memory=device.type == "cuda",
        rank=collectives.rank(),
        num_ranks=processes.size,
        draws=method.draws(policy.spec),
        join=processes.joined,
    )
    trainer = make_trainer(recipe, hardware, processes, method, policy, loader.steps_per_epoch)
    pieces = (folder, hardware, processes, data, workers, policy, loader, method, trainer, sets)
    return Run(recipe, asked or recipe, *pieces)


def rebuilt(run: Run, recipe: Recipe, weights: Mapping[str, Mapping[str, Tensor]]) -> Run:
    """Return a training with the method and the trainer of another recipe, which has the same data and shapes.

    Args:
        run: its data stay.
        recipe: of the method.
        weights: {component: {name: tensor}} to start from.
    """
    method = build(recipe, weights=weights)
    _prepare(recipe, method)
    run.loader.draw_by(method.draws(run.policy.spec))
    trainer = make_trainer(recipe, run.hardware, run.processes, method, run.policy, run.loader.steps_per_epoch)
    return replace(run, recipe=recipe, method=method, trainer=trainer)


def total_steps(recipe: Recipe, steps_per_epoch: int) -> int:
    """Return the optimizer steps of a run of a recipe."""
    settings = recipe.training
    return settings.max_steps or max(1, round(settings.epochs * steps_per_epoch))


def batch_norm_samples(recipe: Recipe, spec: InputSpec, num_processes: int) -> int:
    """Return how many samples each BatchNorm normalises over in a training step, of the views like the first."""
    shapes = [(member, view.shape) for member, view in spec.named_views]
    alike = shapes.count(shapes[0])
    views = alike if recipe.options.get("stack_views") else 1
    shards = num_processes if recipe.norm == "local" else 1
    return recipe.training.batch_size // recipe.training.accumulate // shards * views


def _near(split: Split, device: torch.device, num_workers: int) -> Split:
    """Return a split in memory as one in the GPU's memory, if it leaves three quarters of what is free there."""
    if device.type != "cuda" or num_workers or not isinstance(split, MemorySplit):
        return split  # worker processes cannot use the GPU of the process that they were forked from
    free, _ = torch.cuda.mem_get_info(device)
    return split.to(device) if 4 * split.data.nbytes <= free else split


def _check_batch(recipe: Recipe, spec: InputSpec, method: nn.Module) -> None:
    samples = batch_norm_samples(recipe, spec, collectives.num_processes())
    if samples < 2 and any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in method.modules()):
        raise UserError(
            f"training.batch_size: a batch of {samples} gives BatchNorm nothing to average over; use at least 2 "
            "samples (training.batch_size / training.accumulate), or heads and an encoder without BatchNorm."
        )


def _prepare(recipe: Recipe, method: Method) -> None:
    """Make the encoder recompute its activations, or have torch compile the networks, if the recipe asks for it."""
    if recipe.training.gradient_checkpointing:
        recompute_blocks(method.encoder, recipe.encoder.name)
    if recipe.training.compile:
        check_compiler()
        compile_networks(method)


def make_trainer(
    recipe: Recipe,
    hardware: Hardware,
    processes: Processes,
    method: Method,
    policy: ViewPolicy,
    steps_per_epoch: int,
) -> Trainer:
    """Return the trainer of a method, which it puts on the device.

    Args:
        recipe: of the run.
        hardware: what it computes on.
        processes: the processes that train together.
        method: of the recipe.
        policy: makes the views.
        steps_per_epoch: of the loader.
    """
    settings, total = recipe.training, total_steps(recipe, steps_per_epoch)
    use_memory_format(method, hardware.memory_format, hardware.accelerator)
    strategy: Strategy = registry.build(
        "strategy",
        settings.strategy.name,
        settings.strategy.options,
        device=processes.device,
        precision=Precision(hardware.precision, processes.device),
        num_processes=processes.size,
    )
    optimizer = strategy.prepare(method, lambda prepared: _optimizer(recipe, prepared, steps_per_epoch))
    schedule = registry.build(
        "schedule",
        settings.schedule.name,
        settings.schedule.options,
        total_steps=total,
        steps_per_epoch=steps_per_epoch,
    )

    transfer = Transfer(strategy.device)

    def move(raw: RawBatch) -> RawBatch:
        return raw.moved(transfer)

    def to_batch(raw: RawBatch) -> Batch:
        there = move(raw)
        return Batch(policy(there.payload), there.index, there.drawn)

    graphed = None
    if settings.cuda_graph != "off" and not graph_problem(recipe, processes):
        recorder, required = CudaRecorder(strategy.device), settings.cuda_graph == "on"
        at = (strategy.device, recorder, required, move)
        graphed = GraphedStep(to_batch, strategy.forward_backward, (method, policy), *at)
    return Trainer(
        strategy, method, optimizer, schedule, settings.lr, total, recipe.seed, to_batch, settings.clip_grad, graphed
    )


def hardware_notes(run: Run) -> list[str]:
    """Return what to tell the user about how a run computes, beside its hardware."""
    hardware = run.hardware
    notes = [hardware.note] if hardware.note else []
    unsafe = [name for name, layer in run.method.named_modules() if is_unsafe(layer)]
    if unsafe and hardware.accelerator == "cpu" and hardware.memory_format == "channels_last":
        notes.append(
            f"{', '.join(unsafe)}: computed contiguous, since torch's channels_last form of strided 1 x 1 convolutions "
            "over fewer than 8 channels writes outside its memory on a CPU"
        )
    if hardware.accelerator == "cuda" and run.recipe.training.cuda_graph != "off":
        problem = graph_problem(run.recipe, run.processes)
        how = f"no CUDA graph: {problem}" if problem else f"each step after the first {WARM_UP} is one CUDA graph"
        notes.append(f"training.cuda_graph: {how}")
    return notes


def graph_problem(recipe: Recipe, processes: Processes) -> str:
    """Return why the steps of a run are not recorded as a CUDA graph; see `cuda_graph.reason_against`.

    Raises:
        UserError: the recipe insists on it.
    """
    settings = recipe.training
    problem = reason_against(settings, processes.device, processes.size)
    if problem and settings.cuda_graph == "on":
        raise UserError(f"training.cuda_graph: the step of this run is not recorded: {problem}; set it to auto or off.")
    return problem


def _optimizer(recipe: Recipe, method: nn.Module, steps_per_epoch: int) -> Optimizer:
    settings = recipe.training
    decay = settings.optimizer.options.get("weight_decay", 0.0)
    groups = parameter_groups(method, settings.groups)
    groups = plan(groups, steps_per_epoch, decay, settings.final_weight_decay)
    optimizer: Optimizer = registry.build(
        "optimizer", settings.optimizer.name, settings.optimizer.options, groups=groups
    )
    return optimizer

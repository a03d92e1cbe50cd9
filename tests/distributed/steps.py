"""Optimizer steps of every recipe by every strategy: what they leave behind, and how far that is from one process's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ssl_zoo import registry
from ssl_zoo.batch import Batch
from ssl_zoo.distributed import collectives, units
from ssl_zoo.distributed.precision import Precision
from ssl_zoo.distributed.shards import is_sharded, map_tensors, whole
from ssl_zoo.methods.build import build
from ssl_zoo.optim.param_groups import parameter_groups, plan
from ssl_zoo.recipe.load import method_names
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.training.activation_checkpointing import recompute_blocks
from ssl_zoo.training.compilation import compile_networks
from ssl_zoo.training.trainer import Trainer
from tests.distributed.group import meet
from tests.distributed.parity import encoder_for, smooth, unequal, whole_batch
from tests.tiny import small

STEPS, TOTAL = 3, 6
ACCUMULATED = ("byol", "i_jepa", "simsiam", "vicreg")
"""Methods whose batches are cut into two micro-batches."""
CPU = torch.device("cpu")


def rows(batch: Batch, place: int, num: int) -> Batch:
    """Return one of `num` equal parts of a batch."""
    assert batch.index is not None
    size = len(batch.index) // num
    part = slice(place * size, (place + 1) * size)
    return Batch([view.map(lambda x: x[part]) for view in batch.views], batch.index[part])


def trainer_of(
    recipe: Recipe,
    strategy: str,
    size: int,
    precision: Any = "fp32",
    recompute: bool = False,
    backend: str = "",
    **options: Any,
) -> Trainer:
    """Return the trainer of a recipe, in float64 unless the precision is a half one."""
    torch.manual_seed(0)
    encoder = None if recipe.kind == "masked" else encoder_for(recipe)
    method: Any = build(recipe, encoder).to(torch.float64 if precision == "fp32" else torch.float32)
    smooth(method)
    if recompute:
        recompute_blocks(method.encoder, "one")
    if backend:
        compile_networks(method, backend=backend)
    made: Any = registry.build(
        "strategy", strategy, options, device=CPU, precision=Precision(precision, CPU), num_processes=size
    )

    def optimizer(prepared: nn.Module) -> Any:
        settings = recipe.training
        groups = plan(parameter_groups(prepared, settings.groups), steps_per_epoch=2)
        return registry.build("optimizer", settings.optimizer.name, settings.optimizer.options, groups=groups)

    with patch.object(units, "LARGE", 1):  # each layer of a head is large enough to be gathered by itself
        built = made.prepare(method, optimizer)
    whole_step: Any = lambda batch: batch  # noqa: E731 - views come as they are
    return Trainer(made, method, built, lambda step: 1.0, 0.02, TOTAL, 0, whole_step, clip_grad=0.5)


def batches(recipe: Recipe, dtype: torch.dtype, rank: int, size: int, start: int, stop: int) -> Iterator[Any]:
    """Yield this process's micro-batches of each step."""
    parts = 2 if recipe.method in ACCUMULATED else 1
    for step in range(start, stop):
        batch = whole_batch(recipe, dtype, step)
        yield [rows(rows(batch, part, parts), rank, size) for part in range(parts)]


def go(trainer: Trainer, recipe: Recipe, rank: int, size: int, stop: int = STEPS) -> list[float]:
    """Train to a step; return the losses of all processes together."""
    dtype = next(trainer.method.parameters()).dtype  # type: ignore[attr-defined]  # it is a module
    losses: list[float] = []

    def note(step: Any) -> bool:
        losses.append(float(collectives.mean(step.loss)))
        return False

    trainer.run(batches(recipe, dtype, rank, size, trainer.step, stop), note)
    return losses


def whole_state(trainer: Trainer) -> dict[str, Any]:
    """Return the state with whole tensors, in each process."""
    return map_tensors({**trainer.strategy.state(), "step": trainer.step}, lambda x: whole(x.detach()).clone())


def tensors(value: Any, path: str = "") -> dict[str, Tensor]:
    """Return the tensors in nested values by their places."""
    if isinstance(value, Tensor):
        return {path: value}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    return {name: x for key, each in items for name, x in tensors(each, f"{path}/{key}").items()}


def furthest(ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[float, str]:
    """Return the largest difference of two states' tensors, relative to their norm or to 1, and where it is."""
    a, b = tensors(ours), tensors(theirs)
    assert a.keys() == b.keys(), a.keys() ^ b.keys()
    found = [((a[n].double() - b[n].double()).norm().item() / max(1.0, b[n].double().norm().item()), n) for n in a]
    assert all(difference == difference for difference, _ in found), found
    return max(found)


def compared(
    name: str, strategy: str, rank: int, size: int, alone: Any, overrides: Sequence[str] = (), **options: Any
) -> dict[str, Any]:
    """Return how far some steps of several processes are from those of one, and what is not equal in all of them."""
    recipe = small(name, overrides)
    trainer = trainer_of(recipe, strategy, size, **options)
    with gathers() as sizes:
        losses = go(trainer, recipe, rank, size)
    method: Any = trainer.method
    trained = {id(weight) for group in trainer.optimizer.param_groups for weight in group["params"]}
    own = {n: x.detach() for n, x in method.state_dict().items() if not is_sharded(x)}
    found = {
        "gathered": sum(sizes),
        "bytes": sum(weight.numel() * weight.element_size() for weight in method.parameters()),
        "unequal": unequal(own, size),
        "sharded": sum(map(is_sharded, method.parameters())),
        "weights": sum(1 for _ in method.parameters()),
        "target": [
            n for n, p in method.named_parameters() if not p.requires_grad and (id(p) in trained or p.grad is not None)
        ],
    }
    state = whole_state(trainer)
    if rank:
        return found
    expected, expected_losses = alone
    found["loss"] = max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(losses, expected_losses, strict=True))
    return {**found, "state": furthest(state, expected)}


def alone(name: str, overrides: Sequence[str] = ()) -> tuple[dict[str, Any], list[float]]:
    """Return the state and the losses of one process."""
    recipe = small(name, overrides)
    trainer = trainer_of(recipe, "single", 1)
    losses = go(trainer, recipe, 0, 1)
    return whole_state(trainer), losses


SOME = ("byol", "i_jepa")
VARIANTS: dict[str, dict[str, Any]] = {
    "kept": {"reshard_after_forward": False, "recompute": True},
    "offloaded": {"offload": True},
}
"""Options of `fsdp` on two processes, for BYOL."""


EXTRA = {
    "simsiam alternate": ("target={name: alternate, steps: 2}",),
    "byol unused": ("objective=[variance, covariance]",),
}
"""A target that is copied in blocks of steps; a head and a target that no term looks at."""


def by_two(folder: Path, rank: int, size: int, out: Path) -> dict[str, Any]:
    """Compare every recipe, by both strategies; then write checkpoints, well and badly."""
    from tests.distributed import saved

    one = alone_then_meet({**{name: () for name in method_names()}, **EXTRA}, folder, rank, size)
    found: dict[str, Any] = {
        f"{name} {strategy}": compared(name, strategy, rank, size, one.get(name))
        for name in method_names()
        for strategy in ("ddp", "fsdp")
    }
    for name, options in VARIANTS.items():
        found[f"byol {name}"] = compared("byol", "fsdp", rank, size, one.get("byol"), **options)
    for key, overrides in EXTRA.items():
        found[key] = compared(key.partition(" ")[0], "fsdp", rank, size, one.get(key), overrides)
    return {**found, "saved": saved.save(rank, size, out), "half": half_precision(rank, size)}


def by_four(folder: Path, rank: int, size: int, out: Path) -> dict[str, Any]:
    """Compare some recipes, kept once and twice; then go on from what two processes have saved."""
    from tests.distributed import saved

    one = alone_then_meet({name: () for name in SOME}, folder, rank, size)
    found: dict[str, Any] = {
        f"{name} {copies}": compared(name, "fsdp", rank, size, one.get(name), copies=copies)
        for name in SOME
        for copies in ((1, 2) if name == "byol" else (1,))
    }
    twice = trainer_of(small("byol"), "fsdp", size, copies=2)
    return {**found, "entries": saved.same_entries(twice), "resumed": saved.resume(rank, size, out)}


def alone_then_meet(cases: dict[str, Sequence[str]], folder: Path, rank: int, size: int) -> dict[str, Any]:
    """Return, in the first process, what one makes of each case: each is the one for some of them, before they meet."""
    mine = {key: alone(key.partition(" ")[0], cases[key]) for key in sorted(cases)[rank::size]}
    meet(folder, rank, size)
    found: list[Any] = [None] * size
    dist.gather_object(mine, found if rank == 0 else None)
    return {key: value for each in found if each for key, value in each.items()}


def half_precision(rank: int, size: int) -> dict[str, Any]:
    """Return the losses of some recipes in bfloat16 by both strategies, and the bytes that are gathered by `fsdp`."""
    found: dict[str, Any] = {}
    for name in SOME:
        recipe = small(name)
        for strategy in ("ddp", "fsdp"):
            trainer = trainer_of(recipe, strategy, size, "bf16")
            with gathers() as sizes:
                losses = go(trainer, recipe, rank, size)
            found[f"{name} {strategy}"] = {"losses": losses, "gathered": sum(sizes)}
        found[f"{name} notes"] = list(trainer.strategy.notes)  # type: ignore[attr-defined]  # of fsdp
    return found


def compiled(folder: Path, rank: int, size: int) -> dict[str, list[float]]:
    """Return the losses of `fsdp` in bfloat16, with networks that torch compiles and with plain ones."""
    meet(folder, rank, size)
    recipe = small("byol")
    backends = {"plain": "", "compiled": "aot_eager"}
    return {
        key: go(trainer_of(recipe, "fsdp", size, "bf16", backend=backend), recipe, rank, size)
        for key, backend in backends.items()
    }


@contextmanager
def gathers() -> Iterator[list[int]]:
    """A context that notes the bytes of each gather of weights that this process takes part in."""
    sizes: list[int] = []
    name = "all_gather_single" if hasattr(dist, "all_gather_single") else "all_gather_into_tensor"  # before torch 2.14
    plain = getattr(dist, name)

    def noted(output_tensor: Tensor, *args: Any, **named: Any) -> Any:
        sizes.append(output_tensor.nbytes)
        return plain(output_tensor, *args, **named)

    with patch.object(dist, name, noted):
        yield sizes

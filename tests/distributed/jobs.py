"""What groups of processes do for the tests of training."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import Tensor

from ssl_zoo import hardware
from ssl_zoo.batch import Batch
from ssl_zoo.data import RawBatch
from ssl_zoo.distributed.launch import launch
from ssl_zoo.evaluation.evaluate import evaluate
from ssl_zoo.methods.build import build
from ssl_zoo.recipe.model import Recipe, parse
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.training import setup as assemble
from ssl_zoo.training.train import train
from tests.distributed.group import meet
from tests.distributed.parity import smooth

STEPS = 20
FIRST_METHODS = {"simsiam": 1, "byol": 1, "barlow_twins": 2, "vicreg": 1, "i_jepa": 2}
"""The methods of the 20 steps, and into how many micro-batches their batches are cut."""


def join(folder: Path, rank: int, size: int) -> None:
    """Be a process that torchrun has started, which has met the others already."""
    if size > 1:
        os.environ |= {"LOCAL_RANK": str(rank), "RANK": str(rank), "WORLD_SIZE": str(size)}
        meet(folder, rank, size)


def weights_after_steps(recipe: Recipe, size: int, precision: str) -> dict[str, Any]:
    """Return the weights after some steps of the trainer on the loader's batches, and what a test asks about them.

    In single precision with GELUs for ReLUs: where an activation comes within rounding of a ReLU's kink, its gradient
    is there or not, and even two runs of one process whose first weights differ by one rounding error end 4e-5 apart.
    """

    def build_exactly(*args: Any, **options: Any) -> Any:
        method = build(*args, **options)
        if precision == "float64":
            return method.double()
        smooth(method)
        return method

    with patch.object(assemble, "build", build_exactly):
        chosen = hardware.choose("fp32", recipe.training.memory_format)
        run = assemble.assemble(recipe, RunFolder("unused"), chosen, launch(chosen, size), {})
    to_batch = run.trainer.to_batch

    def to_exact_batch(raw: RawBatch) -> Batch:
        batch = to_batch(raw)
        for view in batch.views:
            view.data = view.data.double() if precision == "float64" else view.data
        return batch

    run.trainer.to_batch = to_exact_batch
    run.trainer.run(run.loader.iterate(0, STEPS), lambda step: False)
    method, optimizer, strategy = run.method, run.trainer.optimizer, run.trainer.strategy
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    return {
        "weights": {name: p.detach().clone() for name, p in method.named_parameters()},
        "target in optimizer": [n for n, p in method.target.named_parameters() if id(p) in trained],
        "target with gradient": [
            n for n, p in method.target.named_parameters() if p.requires_grad or p.grad is not None
        ],
        "strategy": type(strategy).__name__,
    }


def same_everywhere(tensors: dict[str, Tensor], size: int) -> bool:
    """Return whether all processes have the same tensors, bit for bit."""
    if size == 1:
        return True
    found: list[Any] = [None] * size
    dist.all_gather_object(found, tensors)
    return all(torch.equal(value, each[name]) for name, value in tensors.items() for each in found)


def twenty_steps(folder: Path, rank: int, size: int) -> dict[tuple[str, str], dict[str, Any]]:
    """Train each of the first methods for 20 steps, in both precisions."""
    from tests.distributed.noise import on_noise

    join(folder, rank, size)
    results = {}
    for method, parts in FIRST_METHODS.items():
        for precision in ("float64", "float32"):
            recipe = on_noise(method, accumulate=parts)
            if recipe.training.optimizer.name == "adamw":
                # It divides gradients by their own size, and makes a step of what is rounding alone.
                recipe = on_noise(method, accumulate=parts, optimizer={"name": "sgd", "momentum": 0.9})
            found = weights_after_steps(recipe, size, precision)
            found["same everywhere"] = same_everywhere(found["weights"], size)
            results[method, precision] = found
    return results


def whole_runs(folder: Path, rank: int, size: int, out: Path) -> dict[str, Any]:
    """Run what `ssl_zoo.train` is asked for by several processes, or by the one that follows on them."""
    from tests.distributed.noise import on_noise

    join(folder, rank, size)
    recipe = on_noise("byol", max_steps=6, memory_format="contiguous")  # as an encoder that is loaded
    other = recipe.model_copy(update={"norm": "local"})
    lazy = recipe.data.model_copy(
        update={"cache": "none", "on_error": "skip", "num_workers": 0, "source": _lazy(recipe)}
    )
    watched = {"every": 4, "online": recipe.evaluation.protocols}
    recipe = recipe.model_copy(update={"evaluation": recipe.evaluation.model_copy(update=watched)})
    lines: list[str] = []
    if size == 1:
        return {
            "whole": train(recipe, out=out / "one", log=lines.append),
            "resumed": train(recipe, out=out / "mixed", resume=True, log=lines.append),
            "rolled back": train(_that_goes_back(), out=out / "back of one", log=lines.append),
            "evaluated": evaluate(out / "several"),
            "lines": lines,
        }
    return {
        "whole": train(recipe, out=out / "several", log=lines.append),
        "stopped": train(recipe, out=out / "mixed", stop_at=3, log=lines.append),
        # Only the last process is out of time.
        "out of time": train(other, out=out / "late", max_seconds=1e-9 if rank == size - 1 else None, log=lines.append),
        "odd": _error(on_noise("byol", batch_size=23), out=out / "no"),
        "devices": _error(recipe, out=out / "no", devices=size + 1),
        "skip": _error(recipe.model_copy(update={"data": lazy}), out=out / "no"),
        "rolled back": train(_that_goes_back(), out=out / "back of several", log=lambda line: None),
        "unused head": train(_with_unused_head(recipe), out=out / "unused", log=lambda line: None),
        "lines": lines,
    }


def losses_of_runs(folder: Path, rank: int, size: int, recipes: dict[str, dict[str, Any]]) -> dict[str, list[float]]:
    """Train some recipes, and return the loss of each step."""
    join(folder, rank, size)
    found = {}
    for name, raw in recipes.items():
        out = folder / f"run {name}"
        train(parse({**raw, "evaluation": {"protocols": []}}, name), out=out, log=lambda line: None)
        found[name] = [record["loss"] for record in RunFolder(out).read_metrics()]
    return found


def _with_unused_head(recipe: Recipe) -> Recipe:
    """Return the recipe with terms that do not look at the predictor."""
    raw = recipe.dump()
    return parse(raw | {"objective": ["variance", "covariance"]}, "unused")


def _that_goes_back() -> Recipe:
    """Return a VICReg without variance, which goes back to a healthy state at its alarm and on with its weight."""
    from tests.distributed.noise import on_noise

    sgd: dict[str, Any] = {"base_lr": 0.0025, "lr_scaling": "none", "optimizer": {"name": "sgd"}}
    raw = on_noise("vicreg", max_steps=50, **sgd).dump()
    raw["training"]["schedule"] = {"name": "constant"}
    raw["objective"][1]["weight"] = 0.0
    raw["guard"] = {"policy": "rollback", "change": {"objective.variance.weight": 25.0}}
    raw["evaluation"] = {"protocols": [], "baselines": False}
    return parse(raw, "goes back")


def _lazy(recipe: Recipe) -> Any:
    assert recipe.data.source is not None
    return recipe.data.source.model_copy(update={"options": {"bad_rank": 9}})


def _error(recipe: Recipe, **options: Any) -> str:
    try:
        train(recipe, **options)
    except ValueError as error:
        return str(error)
    return ""

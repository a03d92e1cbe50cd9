"""What groups of processes do for the tests of training."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ssl_zoo.errors import TrainingFailed, UserError
from ssl_zoo.evaluation.evaluate import evaluate
from ssl_zoo.recipe.model import Recipe, parse
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.training.train import train
from tests.distributed.group import meet


def join(folder: Path, rank: int, size: int) -> None:
    """Be a process that torchrun has started, which has met the others already."""
    if size > 1:
        os.environ |= {"LOCAL_RANK": str(rank), "RANK": str(rank), "WORLD_SIZE": str(size)}
        meet(folder, rank, size)


def whole_runs(folder: Path, rank: int, size: int, out: Path) -> dict[str, Any]:
    """Run what `ssl_zoo.train` is asked for by several processes, or by the one that follows on them."""
    from tests.distributed.noise import on_noise

    join(folder, rank, size)
    recipe = on_noise("byol", max_steps=6, memory_format="contiguous")  # as an encoder that is loaded
    other = recipe.model_copy(update={"norm": "local"})
    mouldy = _mouldy()
    watched = {"every": 4, "online": recipe.evaluation.protocols}
    recipe = recipe.model_copy(update={"evaluation": recipe.evaluation.model_copy(update=watched)})
    lines: list[str] = []
    sharded = _by(recipe, "fsdp", clip_grad=0.5, keep_every=2, memory_format="channels_last")
    if size == 1:
        return {
            "sharded": train(sharded, out=out / "sharded by one", log=lines.append),
            "whole": train(recipe, out=out / "one", log=lines.append),
            "resumed": train(recipe, out=out / "mixed", resume=True, log=lines.append),
            "rolled back": train(_that_goes_back(), out=out / "back of one", log=lines.append),
            "skipped": train(mouldy, out=out / "skipped by one", log=lines.append),
            "skipped on": train(mouldy, out=out / "skipped on", resume=True, log=lines.append),
            "too many": _error(_mouldy(bad_budget=0.02), out=out / "too many for one"),
            "evaluated": evaluate(out / "several"),
            "lines": lines,
        }
    return {
        "whole": train(recipe, out=out / "several", log=lines.append),
        "stopped": train(_by(recipe, "fsdp"), out=out / "mixed", stop_at=3, log=lines.append),
        "sharded": train(sharded, out=out / "sharded", log=lines.append),
        # Only the last process is out of time.
        "out of time": train(other, out=out / "late", max_seconds=1e-9 if rank == size - 1 else None, log=lines.append),
        "odd": _error(on_noise("byol", batch_size=23), out=out / "no"),
        "devices": _error(recipe, out=out / "no", devices=size + 1),
        "skipped": train(mouldy, out=out / "skipped", log=lines.append),
        "stopped at skipping": train(mouldy, out=out / "skipped on", stop_at=3, log=lines.append),
        "too many": _error(_mouldy(bad_budget=0.02), out=out / "too many"),
        "rolled back": train(_by(_that_goes_back(), "fsdp"), out=out / "back of several", log=lambda line: None),
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


def _by(recipe: Recipe, strategy: str, **training: Any) -> Recipe:
    """Return the recipe by a strategy."""
    raw = recipe.dump()
    raw["training"] |= {"strategy": strategy, **training}
    return parse(raw, strategy)


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


def _mouldy(bad_budget: float = 0.03) -> Recipe:
    """Return a recipe that leaves out three patches which it meets during the training."""
    from tests.distributed.noise import on_noise

    raw = on_noise("byol", max_steps=6).dump()
    raw["data"] = {
        "source": {"name": "noise", "bad": [3, 41, 77]}, "cache": "none", "num_workers": 0,
        "on_error": "skip", "bad_budget": bad_budget,
    }  # fmt: skip
    raw["evaluation"] = {"protocols": [], "baselines": False}
    return parse(raw, "mouldy")


def _error(recipe: Recipe, **options: Any) -> str:
    try:
        train(recipe, **options)
    except (UserError, TrainingFailed) as error:
        return str(error)
    return ""

"""One process on the whole batch against several on shards of it: what both compute, and how far apart it is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from ssl_zoo import across, norms
from ssl_zoo.batch import Batch, View
from ssl_zoo.build import build
from ssl_zoo.recipe import Recipe
from tests.distributed.group import meet
from tests.tiny import small

BATCH = 24
ROUNDS = 2
"""The second round sees what the first left behind: running statistics, queues, a target that has moved."""
FLOOR = 1e-2
"""A gradient that is zero by mathematics (of a bias before BatchNorm) is held against this part of the largest one."""


def recipe_of(item: str) -> Recipe:
    """Return the recipe of `method/NAME`, or one that holds the term of `term/NAME`."""
    kind, name = item.split("/")
    if kind == "method":
        return small(name)
    return small("vicreg", [f"objective={name}", "predictor={name: mlp, dims: [2048, 8192]}", "pairing=all_pairs"])


def whole_batch(recipe: Recipe, dtype: torch.dtype, seed: int) -> Batch:
    """Return random views in the roles that the recipe's policy gives; each sample is of another brightness."""
    g = torch.Generator().manual_seed(seed)
    knobs = recipe.views.knobs
    shapes = [("global", 8)] * min(3, knobs["num_views"]) + [("local", 6)] * min(2, knobs.get("num_local", 0))
    samples = (
        torch.randn(BATCH, 3, 8, 8, generator=g, dtype=torch.float64)
        + torch.linspace(-1, 1, BATCH)[:, None, None, None]
    )
    views = []
    for role, size in shapes:
        data = samples[:, :, :size, :size] + 0.5 * torch.randn(BATCH, 3, size, size, generator=g, dtype=torch.float64)
        geometry = torch.rand(BATCH, 5, generator=g) * 0.4 + torch.tensor([0.0, 0.0, 0.4, 0.4, 0.0])
        geometry[:, 4] = (geometry[:, 4] > 0.2).float()
        views.append(View(data.to(dtype), role=role, geometry=geometry))
    return Batch(views)


def shard(batch: Batch, rank: int, size: int) -> Batch:
    """Return one process's part of a batch."""
    rows = slice(rank * BATCH // size, (rank + 1) * BATCH // size)
    return Batch([View(v.data[rows], v.modality, v.role, v.geometry[rows]) for v in batch.views])


def train_a_little(item: str, dtype: torch.dtype, rank: int, size: int) -> dict[str, Any]:
    """Return losses, terms, gradients and the last buffers of a few steps on one process's shard."""
    recipe = recipe_of(item)
    method = build(recipe).to(dtype).train()
    module = DistributedDataParallel(method, find_unused_parameters=True) if size > 1 else method
    found: dict[str, Any] = {"loss": [], "terms": [], "gradients": []}
    for number in range(ROUNDS):
        torch.manual_seed(100 * size + rank)  # no result may hang on the global generator
        output = module(shard(whole_batch(recipe, dtype, number), rank, size))
        output.loss.backward()
        found["loss"].append(across.mean(output.loss.detach()))
        found["terms"].append({name: across.mean(value.detach()) for name, value in output.terms.items()})
        found["gradients"].append({n: p.grad.clone() for n, p in method.named_parameters() if p.grad is not None})
        with torch.no_grad():
            for weight in method.parameters():
                if weight.grad is not None:
                    weight -= 0.01 * weight.grad / (1 + weight.grad.norm())
                    weight.grad = None
        method.after_step((number + 1) / ROUNDS)
    found["buffers"] = {name: value.clone() for name, value in method.named_buffers()}
    found["target"] = {n: p.clone() for n, p in method.target.named_parameters()}
    return found


def distance(ours: Tensor, theirs: Tensor, floor: float = 0.0) -> float:
    """Return the relative difference of two tensors; below `floor`, the norm that it is relative to is the floor."""
    scale = max(theirs.double().norm().item(), floor)
    return (ours.double() - theirs.double()).norm().item() / scale if scale else float(ours.norm())


def furthest(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, tuple[float, str]]:
    """Return, of loss, terms, gradients and buffers, the largest relative difference and where it is."""
    largest: dict[str, list[tuple[float, str]]] = {"loss": [], "terms": [], "gradients": [], "buffers": []}
    for number in range(ROUNDS):
        largest["loss"].append((distance(ours["loss"][number], theirs["loss"][number]), f"round {number}"))
        for kind in ("terms", "gradients"):
            a, b = ours[kind][number], theirs[kind][number]
            assert a.keys() == b.keys(), (kind, a.keys() ^ b.keys())
            top = max(value.double().norm().item() for value in b.values())
            largest[kind] += [(distance(a[name], b[name], FLOOR * top), f"{name}, round {number}") for name in a]
    for name in ours["buffers"]:
        largest["buffers"].append((distance(ours["buffers"][name], theirs["buffers"][name], 1e-3), name))
    return {kind: max(values, default=(0.0, "")) for kind, values in largest.items()}


def equal_everywhere(found: dict[str, Any], size: int) -> list[str]:
    """Return the buffers and target weights that are not the same, bit for bit, in all processes."""
    mine = {**found["buffers"], **{f"target {name}": value for name, value in found["target"].items()}}
    all_of_them: list[Any] = [None] * size
    dist.all_gather_object(all_of_them, mine)
    return [name for name, value in mine.items() if any(not torch.equal(value, each[name]) for each in all_of_them)]


def compare(folder: Path, rank: int, size: int, items: list[str], dtypes: list[torch.dtype], sabotage: str = "") -> Any:
    """Return {(item, dtype): (what `furthest` says, what is not equal everywhere)}, in the first process."""
    torch.manual_seed(0)
    work = [(item, dtype) for item in items for dtype in dtypes]
    alone = {key: train_a_little(*key, 0, 1) for key in work} if rank == 0 else {}
    meet(folder, rank, size)
    SABOTAGE[sabotage]()
    results = {}
    for key in work:
        found = train_a_little(*key, rank, size)
        unequal = equal_everywhere(found, size)
        if rank == 0:
            results[key] = (furthest(found, alone[key]), unequal)
    return results


def _raw_gather() -> None:
    def gather(x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(across.num_processes())]
        dist.all_gather(parts, x.detach().contiguous())
        parts[across.rank()] = x
        return torch.cat(parts)

    across.gather = gather


def _no_gather() -> None:
    across.gather = lambda x: x


def _local_norms() -> None:
    norms.to_global.__code__ = (lambda module: None).__code__


SABOTAGE = {"": lambda: None, "raw gather": _raw_gather, "no gather": _no_gather, "local norms": _local_norms}
"""Ways to get it wrong: gradients of a process's own samples only, statistics of the shard, norms of the shard."""

assert not math.fmod(BATCH, 6)

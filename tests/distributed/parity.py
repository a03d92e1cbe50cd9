"""One process on the whole batch against several on shards of it: what both compute, and how far apart it is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ssl_zoo.batch import Batch, View
from ssl_zoo.distributed import collectives
from ssl_zoo.methods.build import build
from ssl_zoo.methods.members import MemberEncoders
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.recipe.part import PerMember
from tests.distributed.group import meet

BATCH = 24
SPLITS = (2,)
"""The numbers of processes that split the products of terms, which with others are computed by each."""
ROUNDS = 2
"""The second round sees what the first left behind: running statistics, queues, a target that has moved."""
FLOOR = {torch.float64: 1e-3, torch.float32: 0.1}
"""What is zero by mathematics, such as the gradient of a bias before BatchNorm, is rounding noise: differences are
relative to a tensor's own norm, or to this part of the largest gradient (of 1 for losses and buffers), if that is more.
"""

Key = tuple[str, str, str]  # item, precision, way to get it wrong ("" for none)
Found = dict[str, Any]


class SmoothEncoder(nn.Module):
    """Two blocks with BatchNorm, `(B, 3, H, W)` -> `(B, 6)`, without kinks, at which rounding decides a gradient."""

    out_dim = 6
    mixes_samples = False

    def __init__(self) -> None:
        super().__init__()
        first = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.GELU())
        self.body = nn.Sequential(first, nn.Sequential(nn.Conv2d(4, 6, 3, 2), nn.BatchNorm2d(6)))

    def tokens(self, view: View) -> tuple[Tensor, tuple[int, ...]]:
        maps = self.places(view.tensor)
        return maps.flatten(2).transpose(1, 2), tuple(maps.shape[2:])

    def places(self, x: Tensor) -> Tensor:
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.places(x).mean(dim=(2, 3))


def smooth(module: nn.Module) -> None:
    """Replace ReLUs by GELUs."""
    for parent in module.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.ReLU):
                setattr(parent, name, nn.GELU())


def whole_batch(recipe: Recipe, dtype: torch.dtype, seed: int) -> Batch:
    """Return random views in the roles that the recipe's policy gives, of samples of very different colours."""
    if recipe.members:
        return _of_members(recipe, dtype, seed)
    g = torch.Generator().manual_seed(seed)
    options = recipe.views.options
    shapes = [("global", 8)] * min(3, options["num_views"]) + [("local", 6)] * min(2, options.get("num_local", 0))
    frames = (4,) if "num_frames" in options else ()
    samples = 0.5 * torch.randn(BATCH, 3, *frames, 8, 8, generator=g, dtype=torch.float64)
    samples += 2 * torch.randn(BATCH, 3, *(1 for _ in frames), 1, 1, generator=g, dtype=torch.float64)
    views = []
    for role, size in shapes:
        noise = torch.randn(BATCH, 3, *frames, size, size, generator=g, dtype=torch.float64)
        data = samples[..., :size, :size] + 0.5 * noise
        geometry = torch.rand(BATCH, 5, generator=g) * 0.4 + torch.tensor([0.0, 0.0, 0.4, 0.4, 0.0])
        flipped = (geometry[:, 4] > 0.2).float()
        mirrored = torch.stack([torch.zeros(BATCH), flipped], dim=1)
        box = torch.stack([geometry[:, :2], geometry[:, 2:4], mirrored], dim=1)
        views.append(View(data.to(dtype), role=role, is_target=role == "global", aux={"box": box}))
    return Batch(views, torch.randperm(1000, generator=g)[:BATCH])


def _of_members(recipe: Recipe, dtype: torch.dtype, seed: int) -> Batch:
    """Return the views of each member, as those of a recipe for it alone."""
    assert isinstance(recipe.views, PerMember)
    views: list[View] = []
    for number, (member, part) in enumerate(recipe.views.parts.items()):
        alone: Any = SimpleNamespace(views=part, members=())
        own = whole_batch(alone, dtype, 100 * seed + number).views
        views += [replace(view, modality=member) for view in own]
    return Batch(views, torch.arange(BATCH))


def encoder_for(recipe: Recipe) -> nn.Module:
    """Return an encoder without kinks, or one for each member."""
    return MemberEncoders({name: SmoothEncoder() for name in recipe.members}) if recipe.members else SmoothEncoder()


def shard(batch: Batch, rank: int, size: int) -> Batch:
    """Return one process's part of a batch."""
    rows = slice(rank * BATCH // size, (rank + 1) * BATCH // size)
    assert batch.index is not None
    return Batch([view.map(lambda x: x[rows]) for view in batch.views], batch.index[rows])


def train_a_little(recipe: Recipe, dtype: torch.dtype, rank: int, size: int) -> Found:
    """Return losses, terms, gradients and the last buffers of a few steps on one process's shard."""
    torch.manual_seed(0)
    # transformers have no kinks
    encoder = None if recipe.kind == "masked" else encoder_for(recipe)
    method = build(recipe, encoder).to(dtype).train()
    smooth(method)
    module = DistributedDataParallel(method, find_unused_parameters=True) if size > 1 else method
    found: Found = {"loss": [], "terms": [], "gradients": []}
    for number in range(ROUNDS):
        torch.manual_seed(100 * size + rank)  # no result may hang on the global generator
        output = module(shard(whole_batch(recipe, dtype, number), rank, size))
        output.loss.backward()
        found["loss"].append({"loss": collectives.mean(output.loss.detach())})
        found["terms"].append({name: collectives.mean(value.detach()) for name, value in output.terms.items()})
        found["gradients"].append({n: p.grad.clone() for n, p in method.named_parameters() if p.grad is not None})
        with torch.no_grad():
            for weight in method.parameters():
                if weight.grad is not None:
                    weight -= 0.01 * weight.grad / (1 + weight.grad.norm())
                    weight.grad = None
        method.after_step((number + 1) / ROUNDS)
    found["buffers"] = [{name: value.clone() for name, value in method.named_buffers()}]
    found["state"] = {name: value.clone() for name, value in method.state_dict().items()}
    return found


def furthest(ours: Found, theirs: Found, floor: float) -> dict[str, tuple[float, str]]:
    """Return, of loss, terms, gradients and buffers, the largest relative difference and where it is."""
    largest = {}
    for kind in ("loss", "terms", "gradients", "buffers"):
        differences = [(0.0, "")]
        for number, (a, b) in enumerate(zip(ours[kind], theirs[kind], strict=True)):
            assert a.keys() == b.keys(), (kind, a.keys() ^ b.keys())
            least = floor * (max(x.double().norm().item() for x in b.values()) if kind == "gradients" else 1.0)
            for name in a:
                difference = (a[name].double() - b[name].double()).norm().item()
                scale = max(b[name].double().norm().item(), least)
                # A NaN is no number that max() would find.
                worst = difference / scale if difference == difference else float("inf")
                differences.append((worst, f"{name}, round {number}"))
        largest[kind] = max(differences)
    return largest


def unequal(state: dict[str, Tensor], size: int) -> list[str]:
    """Return the weights and buffers that are not the same, bit for bit, in all processes."""
    own = {name: _digest(value) for name, value in state.items()}
    found: list[Any] = [None] * size
    dist.all_gather_object(found, own)
    return [name for name, digest in own.items() if any(digest != each[name] for each in found)]


def _digest(x: Tensor) -> str:
    bits = x.detach().contiguous().flatten().view(torch.uint8).numpy()
    return f"{x.dtype} {tuple(x.shape)} {hashlib.sha256(bits.data).hexdigest()}"


def compare(folder: Path, rank: int, size: int, recipes: dict[str, Recipe], keys: list[Key], known: Path) -> Any:
    """Return {key: (what `furthest` says, what is `unequal`)}, in the first process.

    What one process finds is kept in the file `known`, for groups of another size.
    """
    cases = {(item, name) for item, name, _ in keys} if rank == 0 else set()
    alone: dict[tuple[str, str], Found] = torch.load(known) if rank == 0 and known.exists() else {}
    alone |= {case: train_a_little(recipes[case[0]], getattr(torch, case[1]), 0, 1) for case in cases - alone.keys()}
    if rank == 0:
        torch.save(alone, known)
    meet(folder, rank, size)
    results = {}
    for item, name, wrong in keys:
        dtype = getattr(torch, name)
        with WRONG[wrong](), patch.object(collectives, "SPLIT_FROM", 1 if size in SPLITS else BATCH + 1):
            found = train_a_little(recipes[item], dtype, rank, size)
        differing = unequal(found["state"], size)
        if rank == 0:
            results[item, name, wrong] = furthest(found, alone[item, name], FLOOR[dtype]), differing
    return results


def _without_gradient(x: Tensor) -> Tensor:
    """Gather as torch's all_gather does: only a process's own samples carry gradient."""
    parts = [torch.empty_like(x) for _ in range(collectives.num_processes())]
    dist.all_gather(parts, x.detach().contiguous())
    parts[collectives.rank()] = x
    return torch.cat(parts)


@contextmanager
def _raw_gather() -> Iterator[None]:
    with patch.object(collectives, "gather", _without_gradient):
        yield


@contextmanager
def _no_gather() -> Iterator[None]:
    with patch.object(collectives, "gather", lambda x: x):
        yield


@contextmanager
def _local_norms() -> Iterator[None]:
    with patch("ssl_zoo.methods.build.to_global", lambda module: None):
        yield


@contextmanager
def _nothing() -> Iterator[None]:
    yield


WRONG = {"": _nothing, "raw gather": _raw_gather, "no gather": _no_gather, "local norms": _local_norms}
"""Ways to get it wrong: no gradient from other processes, statistics of the shard, norms of the shard."""

"""Checkpoints of several processes: written, written badly, and loaded by another number of them."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import Tensor

from ssl_zoo.distributed.launch import Processes
from ssl_zoo.distributed.shards import entries, whole
from ssl_zoo.errors import CannotWrite, NotFinite, UserError
from ssl_zoo.runs import checkpoint
from ssl_zoo.runs.checkpoint_writer import CheckpointWriter
from tests.distributed import steps
from tests.tiny import small

METHOD = "byol"


def save(rank: int, size: int, out: Path) -> dict[str, Any]:
    """Write a checkpoint while the training goes on, then fail to write others; return what is known of each."""
    from ssl_zoo.runs import shard_files

    recipe = small(METHOD)
    trainer = steps.trainer_of(recipe, "fsdp", size)
    writer = CheckpointWriter(Processes(steps.CPU, size, dist.new_group(backend="gloo")))
    steps.go(trainer, recipe, rank, size)
    path, finished = out / "last.pt", list[int]()
    writer.write(out / "three.pt", trainer.state())
    writer.write(path, trainer.state(), lambda: finished.append(3))
    at_save, begun = steps.whole_state(trainer), list(finished)
    losses = steps.go(trainer, recipe, rank, size, stop=steps.TOTAL)
    before = path.exists()
    writer.settle()
    found = {
        "begun": begun, "before": before, "finished": finished, "losses": losses,
        "exact": equal(checkpoint.load(path), at_save), "folders": _folders(out),
        "gathered": _gathered(trainer), "entries": same_entries(trainer),
    }  # fmt: skip

    def full(self: Any, plan: Any, planner: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with patch.object(shard_files._Writer, "write_data", full) if rank == size - 1 else patch.dict({}):
        writer.write(path, trainer.state())
        found["full"] = _error(writer.settle)
    found["after full"] = (checkpoint.load(path)["step"], _folders(out))
    writer.write(path, trainer.state())
    writer.settle()
    found["after again"] = (checkpoint.load(path)["step"], _folders(out))
    broken = trainer.state()
    if rank == size - 1:
        next(x for x in broken["method"].values() if hasattr(x, "to_local")).to_local().fill_(torch.nan)
    found["nan"] = _error(lambda: writer.write(path, broken))
    return found


def resume(rank: int, size: int, out: Path) -> dict[str, Any]:
    """Load what other processes have saved into shards; return whether it is the same, and the losses after it."""
    recipe, state = small(METHOD), checkpoint.load(out / "three.pt", parts=True)
    trainer = steps.trainer_of(recipe, "fsdp" if size > 1 else "single", size)
    trainer.load(state)
    exact = equal(checkpoint.load(out / "three.pt"), steps.whole_state(trainer))
    losses = steps.go(trainer, recipe, rank, size, stop=steps.TOTAL)
    return {"exact": exact, "losses": losses, "damaged": _of_damaged(trainer, rank, size, out)}


def _of_damaged(trainer: Any, rank: int, size: int, out: Path) -> str:
    """Return what a process says of a checkpoint of which one file, that one process looks at, is not what it was."""
    bad = out / f"bad {size}"
    if rank == 0:
        shutil.copytree(out / "three.shards-0", bad / "three.shards-0")
        shutil.copy(out / "three.pt", bad)
        part = bad / "three.shards-0" / "__1_0.distcp"
        part.write_bytes(part.read_bytes()[:-1] + b"?")
    if size > 1:
        dist.barrier()
    return _error(lambda: trainer.load(checkpoint.load(bad / "three.pt", parts=True)))


def equal(state: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Return whether weights, buffers and the optimizer's state are the same to the bit."""
    a, b = (steps.tensors({key: each[key] for key in ("method", "optimizer")}) for each in (state, expected))
    return len(a) > 60 and a.keys() == b.keys() and all(torch.equal(a[n], b[n]) and a[n].dtype == b[n].dtype for n in a)


def _gathered(trainer: Any) -> tuple[bool, int]:
    """Return whether the encoder that is gathered has the whole weights, and how many tensors those are."""
    encoder = trainer.method.encoder
    expected = {name: whole(x.detach()) for name, x in encoder.state_dict().items()}
    plain = trainer.strategy.gathered(encoder)
    own: dict[str, Tensor] = plain.state_dict()
    shared = {x.data_ptr() for x in encoder.buffers()} & {x.data_ptr() for x in plain.buffers()}
    mine = own if dist.get_rank() == 0 else expected  # the others may hold anything
    same = mine.keys() == expected.keys() and all(torch.equal(mine[name], x) for name, x in expected.items())
    return same and not shared, len(own)


def same_entries(trainer: Any) -> bool:
    """Return whether the numbers that are watched are those of whole weights."""
    weights = [p for p in trainer.method.parameters() if p.ndim]
    return torch.equal(entries(weights, 7), entries([whole(p.detach()) for p in weights], 7))


def _folders(out: Path) -> list[str]:
    return sorted(path.name for path in out.glob("last*"))


def _error(call: Any) -> str:
    try:
        call()
    except (CannotWrite, NotFinite, UserError) as error:
        return f"{type(error).__name__}: {error}"
    return ""

"""Groups of processes that meet over gloo, for tests."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

needs_sharding = pytest.mark.skipif(
    not hasattr(torch.cpu.Stream, "record_event"), reason=f"torch {torch.__version__} has no fully_shard on a CPU"
)

# Processes are forked from a server that has imported everything once, which takes longer than most groups live.
mp.set_forkserver_preload(
    [
        "tests.distributed.jobs",
        "tests.distributed.noise",
        "tests.distributed.parity",
        "tests.distributed.saved",
        "tests.distributed.steps",
        "tests.distributed.imported_later",
    ]
)


def meet(folder: Path, rank: int, size: int) -> None:
    """Let the processes of a group meet; before, each of them is alone."""
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=size, timeout=timedelta(minutes=5)
    )


def run_group(size: int, job: Callable[..., Any], *args: Any) -> list[Any]:
    """Return what `job(folder, rank, size, *args)` returns in each of `size` processes; it calls `meet` itself."""
    with tempfile.TemporaryDirectory() as name:
        mp.start_processes(_enter, (Path(name), size, job, args), nprocs=size, start_method="forkserver")
        return [torch.load(Path(name) / f"{rank}.pt", weights_only=False) for rank in range(size)]


def _enter(rank: int, folder: Path, size: int, job: Callable[..., Any], args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    result = job(folder, rank, size, *args)
    torch.save(result, folder / f"{rank}.pt")
    if dist.is_initialized():
        dist.destroy_process_group()

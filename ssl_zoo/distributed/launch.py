"""Processes that train together: how many, how they start, agree, and end.

`--devices k` starts them: Lightning Fabric runs the same command k - 1 times more. Or torchrun has started them. All of
them do the same work; the main process alone prints, writes the run folder and evaluates. Why torchrun does not start
them by itself: docs/decisions/0004-own-launcher.md.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from ssl_zoo.distributed import collectives
from ssl_zoo.errors import TrainingFailed, UserError
from ssl_zoo.hardware import Hardware

T = TypeVar("T")

ERROR_DELAY_S = 10.0
"""How long (s) other processes wait before they print an error, so that the launcher can end them first."""

_LONGEST_EVALUATION = timedelta(days=7)
"""How long the other processes wait for the main one, which evaluates alone."""

_LOST = re.compile(r"closed by peer|reset by peer|broken pipe|connection refused|timed out", re.IGNORECASE)
"""Texts of gloo's errors for a peer that has ended; they are plain RuntimeErrors, without a type of their own."""


class ProcessLost(TrainingFailed):
    """Another process has ended, so that this one cannot continue."""


@dataclass(frozen=True)
class Processes:
    """The processes of a run, seen from one of them.

    Attributes:
        device: of this process.
        size: how many there are.
        group: a process group of their own for slow and rare messages on the CPU; None with one process.
        children: the processes that this one has started.
    """

    device: torch.device
    size: int
    group: dist.ProcessGroup | None = None
    children: Sequence[subprocess.Popen[Any]] = ()

    @property
    def is_main(self) -> bool:
        """Whether this is the process that prints, writes and evaluates."""
        return collectives.rank() == 0

    def any(self, flag: bool) -> bool:
        """Return whether the flag is true in any process. All of them must ask."""
        if self.group is None:
            return flag
        flags = torch.tensor(float(flag))
        dist.all_reduce(flags, op=dist.ReduceOp.MAX, group=self.group)
        return bool(flags)

    def broadcast(self, value: T) -> T:
        """Return the main process's value in all processes; the others wait for it, for days if need be."""
        if self.group is None:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self.group)
        return values[0]

    @contextmanager
    def fail_together(self) -> Iterator[None]:
        """A context that no process outlives alone: where one fails, the others fail too.

        Raises:
            ProcessLost: another process has ended.
        """
        try:
            yield
        except BaseException as error:
            for child in self.children:
                child.kill()  # not SIGTERM: a process that waits in a collective does not react to it
            # gloo raises a plain RuntimeError, NCCL a subclass of it.
            lost = isinstance(error, RuntimeError) and not isinstance(error, TrainingFailed)
            if self.size > 1 and lost and _LOST.search(str(error)):
                raise ProcessLost(
                    f"another of the {self.size} processes has ended; its own message says why."
                ) from None
            raise


def count_processes(devices: int | None, hardware: Hardware) -> int:
    """Return how many processes will train together, those of torchrun included.

    Args:
        devices: as the user gave it; None takes what torchrun has started, or else one.
        hardware: of this machine.

    Raises:
        UserError: torchrun has started another number, there are not so many devices, or the program cannot be run
            once more.
    """
    started = collectives.num_processes()
    if started == 1 and "LOCAL_RANK" in os.environ:
        started = int(os.environ.get("WORLD_SIZE", 1))
    if started > 1 and devices not in (None, started):
        raise UserError(f"--devices {devices}: {started} processes have been started already; leave --devices out.")
    size = started if devices is None else devices
    if size > 1 and started == 1 and not hasattr(sys.modules.get("__main__"), "__file__"):
        raise UserError(
            f"devices={size}: each process is started by running the program once more, and a notebook or a "
            "prompt cannot be; put the call into a file and run that, or use ssl-zoo train with --devices."
        )
    there = {"cpu": size, "cuda": torch.cuda.device_count(), "mps": 1}[hardware.accelerator]
    if _on_this_machine(size) > there:
        raise UserError(f"--devices {size}: this machine has {there} of them ({hardware.name}); give at most {there}.")
    return size


def launch(hardware: Hardware, size: int) -> Processes:
    """Start the processes that have not been started yet, and connect all of them."""
    if size == 1:
        return Processes(hardware.device, 1)
    from lightning_fabric import Fabric  # takes twice as long to import as torch, and only several processes need it

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it logs each process that it registers
    here = _on_this_machine(size)
    fabric = Fabric(accelerator=hardware.accelerator, devices=here, num_nodes=size // here, strategy="ddp")
    fabric.launch()
    # Only the launcher that starts processes has them; under torchrun, torchrun ends them.
    children = getattr(fabric.strategy.launcher, "procs", ())
    return Processes(fabric.device, size, _cpu_group(), children)


def _cpu_group() -> dist.ProcessGroup:
    group = dist.new_group(backend="gloo", timeout=_LONGEST_EVALUATION)
    assert isinstance(group, dist.ProcessGroup)  # every process is in it
    return group


def _on_this_machine(size: int) -> int:
    """Return how many of the processes are on this machine: torchrun's number, or else all of them."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", size))


def is_main_process() -> bool:
    """Whether this is the process that prints: the first, or the only one. Known before the processes are connected."""
    if dist.is_available() and dist.is_initialized():
        return collectives.rank() == 0
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", 0))) == 0


def prints_errors(error: Exception) -> bool:
    """Return whether this process is to print an error that ends it.

    The main process is. Where all fail alike, it has printed the error, and the launcher ends the others while they
    wait here. A process still alive after that failed on its own, and prints, unless the cause is a lost peer.
    """
    if is_main_process():
        return True
    if not isinstance(error, ProcessLost):
        time.sleep(ERROR_DELAY_S)
    return not isinstance(error, ProcessLost)

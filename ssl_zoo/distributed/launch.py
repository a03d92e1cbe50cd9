"""Several processes that train together: how many, how they start, agree, and end.

They are started by `--devices k`, through Lightning Fabric, which runs the same command k - 1 times more, or by
torchrun. All of them do the same; the first one alone prints, writes the run folder and evaluates.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from lightning_fabric import Fabric

from ssl_zoo.distributed import collectives
from ssl_zoo.errors import TrainingFailed, UserError
from ssl_zoo.hardware import Hardware

T = TypeVar("T")

ERROR_DELAY_S = 10.0
"""Seconds that a process other than the first waits with its error, to be ended by whoever started the processes."""

_LOST = re.compile(r"closed by peer|reset by peer|broken pipe|connection refused|timed out", re.IGNORECASE)


class ProcessLost(TrainingFailed):
    """Another process has ended, so that this one cannot go on."""


@dataclass(frozen=True)
class Processes:
    """The processes of a run, seen from one of them.

    Attributes:
        fabric: Lightning Fabric, launched.
        size: how many they are.
        group: a group of their own for slow and rare messages on the CPU; None with one process.
    """

    fabric: Fabric
    size: int
    group: Any = None

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
        """Return the value that the first process has; the others wait for it, for days if need be."""
        if self.group is None:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self.group)
        return values[0]

    @contextmanager
    def fail_together(self) -> Iterator[None]:
        """A context in which no process stays behind: where one fails, the others fail too.

        Raises:
            ProcessLost: another process has ended.
        """
        try:
            yield
        except BaseException as error:
            for child in getattr(self.fabric.strategy.launcher, "procs", []):
                child.kill()  # SIGTERM would not do: one that waits for the others in a collective does not react
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
        devices: what the user asked for; None takes what torchrun has started, or else one.
        hardware: what they compute on.

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
    if _local(size) > there:
        raise UserError(f"--devices {size}: this machine has {there} of them ({hardware.name}); give at most {there}.")
    return size


def launch(hardware: Hardware, size: int) -> Processes:
    """Start the processes, where nobody has yet, and let them meet."""
    if size > 1:
        # It tells of each process that it registers; what a user needs to know is in the start banner.
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    fabric = hardware.fabric(_local(size), size // _local(size))
    if size > 1:
        fabric.launch()
    return Processes(fabric, size, dist.new_group(backend="gloo", timeout=timedelta(days=7)) if size > 1 else None)


def _local(size: int) -> int:
    """Return how many of the processes are on this machine: torchrun says so, else it is all of them."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", size))


def is_main_process() -> bool:
    """Whether this is the process that prints: the first, or the only one. Known before the processes have met."""
    if dist.is_available() and dist.is_initialized():
        return collectives.rank() == 0
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", 0))) == 0


def prints_errors(error: Exception) -> bool:
    """Return whether this process is to print an error that ends it.

    The first one is. Where all fail alike, the first has printed it, and whoever started the processes ends the others
    while they wait here. One that is not ended is alone with its error, and prints it, unless it is only that another
    process was lost.
    """
    if is_main_process():
        return True
    if not isinstance(error, ProcessLost):
        time.sleep(ERROR_DELAY_S)
    return not isinstance(error, ProcessLost)

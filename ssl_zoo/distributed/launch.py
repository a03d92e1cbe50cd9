"""Processes that train together: how many, how they start, agree, and end.

`--devices k` starts them by torchrun's agent (`ssl_zoo.distributed.agent`), which runs the same command in each; or
torchrun has started them. All of them do the same work; the main process alone prints, writes the run folder and
evaluates. docs/decisions/0004-own-launcher.md says what is ours beside torchrun.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import NoReturn, TypeVar

import torch
import torch.distributed as dist

from ssl_zoo.distributed import collectives, failure, program
from ssl_zoo.distributed.parent import end_with_parent
from ssl_zoo.errors import TrainingFailed, UserError
from ssl_zoo.hardware import Hardware

T = TypeVar("T")

_LONGEST_EVALUATION = timedelta(days=7)
"""How long the other processes wait for the main one, which evaluates alone."""

LAUNCHER, ATTEMPT, EXIT_CODE = "SSL_ZOO_LAUNCHER", "SSL_ZOO_ATTEMPT", "exit_code"
"""Variables that the agent gives its processes: its folder, and how often they were started before; a file there."""


@dataclass(frozen=True)
class Processes:
    """The processes of a run, seen from one of them.

    Attributes:
        device: of this process.
        size: how many there are.
        group: a process group of their own for slow and rare messages on the CPU; None with one process.
    """

    device: torch.device
    size: int
    group: dist.ProcessGroup | None = None

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

    def joined(self, found: list[T]) -> list[list[T]]:
        """Return the lists of all processes, by rank; this one alone where no list holds anything. All must ask.

        Args:
            found: of this process; its elements that are false count as nothing.
        """
        if self.group is None or not self.any(any(found)):
            return [found]
        lists: list[list[T]] = [[] for _ in range(self.size)]
        dist.all_gather_object(lists, found, group=self.group)
        return lists

    @contextmanager
    def fail_together(self) -> Iterator[None]:
        """A context in which an error is noted at once, before others fail because of it; the agent ends them."""
        try:
            yield
        except Exception as error:
            failure.record(error)
            raise


def count_processes(devices: int | None, hardware: Hardware) -> int:
    """Return how many processes will train together, on all machines.

    Args:
        devices: processes on this machine, as the user gave it; None takes what torchrun has started, or else one.
        hardware: of this machine.

    Raises:
        UserError: torchrun has started another number, or there are not so many devices.
    """
    started = collectives.num_processes()
    if started == 1 and _is_started():
        started = int(os.environ.get("WORLD_SIZE", 1))
    if started > 1:
        here = int(os.environ.get("LOCAL_WORLD_SIZE", started))
        if devices not in (None, here):
            raise UserError(f"--devices {devices}: {here} processes have been started already; leave --devices out.")
    else:
        here = devices or 1
    there = {"cpu": here, "cuda": torch.cuda.device_count(), "mps": 1}[hardware.accelerator]
    if here > there:
        raise UserError(f"--devices {here}: this machine has {there} of them ({hardware.name}); give at most {there}.")
    return started if started > 1 else here * (_machines() if devices is not None else 1)


def _machines() -> int:
    """Return the number of machines, from torchrun's variable; one where it is not set.

    Raises:
        UserError: it is no number.
    """
    text = os.environ.get("PET_NNODES", "1")
    if not (text.isdecimal() and int(text)):
        raise UserError(f"PET_NNODES={text}: give the number of machines; a run has a fixed one, such as 2.")
    return int(text)


def _is_started() -> bool:
    """Return whether this is one of the processes of a run, and not the program that starts them."""
    return "LOCAL_RANK" in os.environ or collectives.num_processes() > 1


def is_to_start(size: int, max_restarts: int = 0) -> bool:
    """Return whether this process has to start those of a run, see `start`.

    Args:
        size: the number of processes, see `count_processes`.
        max_restarts: how often they are started again after a failure.

    Raises:
        UserError: restarts in a process that torchrun has started, or in a notebook.
    """
    if _is_started():
        if max_restarts and LAUNCHER not in os.environ:
            raise UserError("--max-restarts: torchrun has started this process; give --max-restarts to torchrun.")
        failure.record_uncaught()
        return False
    if size == 1 and not max_restarts:
        return False
    if program.command() is None:
        raise UserError(
            f"devices={size}: each process is started by running the program once more, and a notebook or a "
            "prompt cannot be; put the call into a file and run that, or use ssl-zoo train with --devices."
        )
    return True


def start(size: int, max_restarts: int, log: Callable[[str], None]) -> NoReturn:
    """Run this program once more in each process of a run, and end as it ends.

    Args:
        size: the number of processes, see `count_processes`.
        max_restarts: how often all of them are started again after one has failed.
        log: prints a line for the user.

    Raises:
        UserError, TrainingFailed: what the process that failed first has raised.
        SystemExit: in all other cases, with the exit code of the processes.
    """
    from ssl_zoo.distributed.agent import run_agent

    command, machines = program.command(), _machines()
    assert command is not None  # `is_to_start` has made sure of it
    outcome = run_agent(command, size // machines, machines, max_restarts, log)
    why = outcome.failure
    if why is None:
        raise SystemExit(outcome.code)
    if why.kind == "user":
        raise UserError(why.message) from _InProcess(why.trace)
    if why.kind == "silent" and why.exit_code > 0:  # a script that has left with a code of its own
        log(why.message)
        raise SystemExit(why.exit_code)
    failed = ProcessFailed(why.message, why.rank, why.kind == "failed")
    if why.kind == "fault":
        sys.stderr.write(why.trace)
        raise failed
    raise failed from (_InProcess(why.trace) if why.trace else None)


class ProcessFailed(TrainingFailed):
    """One of the processes of a run has failed.

    Args:
        message: one sentence.
        rank: of the process.
        is_told: whether it has said so itself.
    """

    def __init__(self, message: str, rank: int, is_told: bool) -> None:
        super().__init__(message)
        self.rank, self.is_told = rank, is_told


class _InProcess(Exception):
    """The traceback of an error in another process, as the cause of the one that is raised here."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def launch(hardware: Hardware, size: int) -> Processes:
    """Connect the processes of a run, which have been started."""
    if LAUNCHER in os.environ:
        end_with_parent()  # if the agent is killed, nobody else ends its processes
    if size == 1:
        return Processes(hardware.device, 1)
    device = torch.device("cpu")
    if hardware.accelerator == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl")
        atexit.register(_leave_group)
    return Processes(device, size, _cpu_group())


def _leave_group() -> None:
    code = failure.code()
    if code is not None:  # others may be gone; a group of gloo waits for them when Python takes it apart
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    if dist.is_initialized() and not failure.has_begun():
        dist.destroy_process_group()


def _cpu_group() -> dist.ProcessGroup:
    group = dist.new_group(backend="gloo", timeout=_LONGEST_EVALUATION)
    assert isinstance(group, dist.ProcessGroup)  # every process is in it
    return group


def is_main_process() -> bool:
    """Whether this is the process that prints: the first, or the only one. Known before the processes are connected."""
    if dist.is_available() and dist.is_initialized():
        return collectives.rank() == 0
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", 0))) == 0


def is_restarted() -> bool:
    """Return whether the processes of this run were started before, and one of them failed."""
    return any(int(os.environ.get(name, 0)) > 0 for name in (ATTEMPT, "TORCHELASTIC_RESTART_COUNT"))


def exit_code(code: int) -> int:
    """Return what this process is to leave with so that the run leaves with an exit code; all of them must call it.

    torchrun takes every code but 0 for a failure. The agent of `start` reads the code from a file.
    """
    if LAUNCHER in os.environ:
        (Path(os.environ[LAUNCHER]) / EXIT_CODE).write_text(str(code), encoding="utf-8")
        return 0
    return code if is_main_process() else 0

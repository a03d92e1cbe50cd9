"""Running a function in a process of its own, in which it may fork and be killed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp

import tests.distributed.group  # noqa: F401 - says what the server of processes has imported


def in_child(job: Callable[..., None], *args: Any) -> None:
    """Run a job in a fresh process with one thread; its exception is this one's."""
    mp.start_processes(_enter, (job, args), nprocs=1, start_method="forkserver")


def _enter(rank: int, job: Callable[..., None], args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    job(*args)


def exit_code(job: Callable[..., None], *args: Any) -> int:
    """Return the exit code of a job in a fresh process with one thread, negative for a signal."""
    process = mp.get_context("forkserver").Process(target=_enter, args=(0, job, args))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def forked(job: Callable[[], Any]) -> int:
    """Run a job in a fork of this process, which has one thread; return its exit code, negative for a signal."""
    child = os.fork()
    if not child:
        code = 1
        try:
            job()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")


def kill_at(folder: Path, number: int) -> list[str]:
    """Let this process be killed before the change `number` (from 0) that it makes to files below a folder.

    Returns:
        A list that grows by what each change was.
    """
    seen: list[str] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (writes or event in CHANGES) and str(arguments[0]).startswith(str(folder)):
            if len(seen) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            seen.append(f"{event} {arguments[0]}")

    sys.addaudithook(hook)
    return seen

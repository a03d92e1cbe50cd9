"""Several runs at the same time: each in a process of its own, on a device of its own where there are several.

A process is the command `ssl-zoo train` on the resolved recipe, so what it does is what anyone can do by hand. What it
prints goes into a file, and its result is the summary in its run folder.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_zoo.errors import TrainingFailed, UserError
from ssl_zoo.runs import commands
from ssl_zoo.runs.atomic import write_atomically
from ssl_zoo.studies.execute import Found, Job, Log, failed
from ssl_zoo.training.stop import StopRequest

_PAUSE_S = 0.1
"""Seconds between two looks at the processes."""

USAGE = 2
"""The exit code of a command for a mistake of the user."""


@dataclass
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    output: Path
    slot: int
    started: float


def places(parallel: int | None) -> int:
    """Return how many runs go on at the same time: as asked for, else one per CUDA device, else one.

    Raises:
        UserError: more than there are CUDA devices.
    """
    import torch

    devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if parallel is not None and devices and parallel > devices:
        raise UserError(f"--parallel {parallel}: each run has a device of its own, and this machine has {devices}.")
    return parallel or max(1, devices)


def threads_of_each(threads: int | None, parallel: int) -> int | None:
    """Return the threads of the CPU that each run computes with: as asked for, else a fair share; None leaves torch's.

    Args:
        threads: as asked for.
        parallel: runs at the same time.
    """
    import torch

    if threads is None and parallel > 1:
        return max(1, torch.get_num_threads() // parallel)
    return threads


def run_at_once(jobs: Sequence[Job], log: Log, parallel: int, threads: int | None, keep_going: bool) -> Found:
    """Run jobs, `parallel` of them at a time; see `ssl_zoo.studies.execute.run_settings`.

    A signal is passed on to the runs, which save and stop. A run whose process is lost counts as failed and is resumed
    by the next call.

    Raises:
        UserError, TrainingFailed: as `run_settings`.
    """
    summaries = {job.folder.path: job.finished() for job in jobs}
    found: Found = {path: summary for path, summary in summaries.items() if summary is not None}
    waiting = [job for job in jobs if job.folder.path not in found]
    running: list[_Running] = []
    try:
        with StopRequest() as stop:
            told = False
            while running or (waiting and not stop.reason):
                free = [slot for slot in range(parallel) if slot not in {each.slot for each in running}]
                while free and waiting and not stop.reason:
                    running.append(_start(waiting.pop(0), free.pop(0), threads))
                    log(f"--- {running[-1].job.name} started; its output: {running[-1].output}")
                if stop.reason and not told:
                    told = True
                    for each in running:
                        each.process.send_signal(signal.SIGTERM)
                time.sleep(_PAUSE_S)
                for each in [each for each in running if each.process.poll() is not None]:
                    running.remove(each)
                    found[each.job.folder.path] = _ended(each, log, bool(found), keep_going)
            for job in waiting:  # of those that were not begun
                found.setdefault(job.folder.path, {"status": "interrupted", "seed": job.seed})
    finally:
        for each in running:
            each.process.kill()
    return found


def _start(job: Job, slot: int, threads: int | None) -> _Running:
    """Start the process of a run."""
    files = job.out / "processes"
    files.mkdir(parents=True, exist_ok=True)
    recipe, output = (files / f"{job.folder.path.name}{ending}" for ending in (".yaml", ".log"))
    write_atomically(recipe, job.recipe().to_yaml())
    words = ["train", str(recipe), "--out", str(job.folder.path), "--baselines", str(job.baselines)]
    words += ["--resume"] if job.resumes else []
    words += [word for module in commands.imported for word in ("--import", module)]
    with output.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "ssl_zoo.cli.worker", *words],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=_environment(slot, threads),
            start_new_session=True,  # so that Ctrl-C reaches it once: through this process
        )
    return _Running(job, process, output, slot, time.monotonic())


def _environment(slot: int, threads: int | None) -> dict[str, str]:
    """Return the environment of a process: its threads, and its CUDA device among those that this process sees."""
    import torch

    own = dict(os.environ)
    if threads is not None:
        own |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    if torch.cuda.is_available():
        visible = [name for name in own.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        own["CUDA_VISIBLE_DEVICES"] = visible[slot] if slot < len(visible) else str(slot)
    return own


def _ended(each: _Running, log: Log, others: bool, keep_going: bool) -> Any:
    """Return the summary of a run whose process has ended.

    Raises:
        UserError: a mistake of the user, where no run has ended before.
        TrainingFailed: it failed, and the others are not to go on.
    """
    job, code, seconds = each.job, each.process.returncode, time.monotonic() - each.started
    summary = job.folder.read_summary() if code >= 0 and job.folder.summary.is_file() else None
    if summary is not None and code in (0, 3, 75):
        log(f"--- {job.name}: {summary['status']} after {seconds:.0f} s")
        return summary
    reason = _last_error(each.output) if code >= 0 else f"its process was ended by {signal.Signals(-code).name}"
    if code == USAGE and not others:
        raise UserError(reason)
    if not keep_going:
        raise TrainingFailed(f"{job.name}: {reason}")
    log(f"--- {job.name}: failed after {seconds:.0f} s: {reason}")
    return failed(job, reason)


def _last_error(output: Path) -> str:
    """Return what a process said last: its error, if it named one."""
    lines = [line for line in output.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    last = lines[-1] if lines else "it said nothing"
    return last.removeprefix("error: ").removeprefix("failed: ")

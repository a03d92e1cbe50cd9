"""A training as a SLURM job: one file for sbatch, which starts, stops in time, is requeued and resumes itself."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ssl_zoo.errors import UserError
from ssl_zoo.runs.atomic import check_place, write_atomically

_VALUE = re.compile(r"[\w@%+=:,./&|()*\[\]-]+")
"""What a value of an `#SBATCH` line may consist of: it is read by sbatch, and not by a shell."""

_TIME = re.compile(r"\d+|\d+:\d\d(:\d\d)?|\d+-\d+(:\d\d){0,2}")

_SCRIPT = """#!/bin/bash
# Written by ssl-zoo slurm. Submit it by: sbatch {name}
{directives}

{setup}cd -- {folder} || exit 2
out={out}
resume=()
if [ -e "$out/recipe.yaml" ]; then resume=(--resume); fi
{meeting}
# Since SLURM 22.05 srun does not take the CPUs of the job by itself.
if [ -n "${{SLURM_CPUS_PER_TASK:-}}" ]; then export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK; fi
# SLURM sends SIGTERM to the training before the time is over; this script waits until it has saved.
trap : TERM
srun --nodes={nodes} --ntasks-per-node=1 --kill-on-bad-exit=0 {command} "${{resume[@]}}"
code=$?
if [ "$code" -eq 75 ]; then scontrol requeue "$SLURM_JOB_ID" && exit 0; fi
exit "$code"
"""

_MEETING = """
# The agents of all machines meet at the first one, as torchrun's do; the port follows from the number of the job.
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export PET_NNODES={nodes} PET_RDZV_BACKEND=c10d PET_RDZV_ID="$SLURM_JOB_ID.${{SLURM_RESTART_COUNT:-0}}"
export PET_RDZV_ENDPOINT="$first:$((20000 + SLURM_JOB_ID % 20000))"
"""


def slurm(
    words: Sequence[str],
    run: str | Path,
    out: str | Path,
    *,
    nodes: int = 1,
    gpus_per_node: int = 1,
    cpus_per_node: int | None = None,
    devices: int | None = None,
    time: str | None = None,
    grace: int = 300,
    options: Sequence[str] = (),
    setup: Sequence[str] = (),
    submit: bool = False,
) -> dict[str, Any]:
    """Write the file of a SLURM job that trains a recipe, and submit it if asked.

    The job gets SIGTERM before its time is over, or when it is preempted; the run then saves and leaves with exit code
    75, the job is put into the queue again, and goes on where it was. It does not depend on what a shell would make of
    the words: all are quoted.

    Args:
        words: of `ssl-zoo train`: the recipe and options, without `--devices`, `--out` and `--resume`.
        run: the run folder, which all machines see.
        out: the file to write.
        nodes: machines.
        gpus_per_node: GPUs of each; 0 trains on CPUs.
        cpus_per_node: CPUs of each; None leaves it to the cluster, which often gives one.
        devices: processes on each machine; None takes one for each GPU, at least one.
        time: limit of the job, as sbatch takes it: minutes, HH:MM:SS or D-HH:MM:SS; None leaves it to the cluster.
        grace: seconds between SIGTERM and the end of the time, for saving.
        options: more of sbatch's, such as `partition=gpu`.
        setup: lines of shell to run first, such as `module load cuda`; they are taken as they are.
        submit: hand the file to sbatch.

    Returns:
        `out`, the text `script`, and `job`, what sbatch printed, or None.

    Raises:
        UserError: a value that sbatch could misread, there is a file at `out`, or there is no sbatch or it refuses.
    """
    path, folder = Path(out), Path.cwd()
    check_place(path, "--script")
    if path.exists():
        raise UserError(f"--script {path}: exists and is not replaced; remove it, or name another file.")
    if submit and shutil.which("sbatch") is None:
        raise UserError("--submit: there is no sbatch on the PATH; run this on a login node of the cluster.")
    per_node = devices or max(1, gpus_per_node)
    command = [sys.executable, "-m", "ssl_zoo", "train", *words, "--out", str(run), "--devices", str(per_node)]
    script = _SCRIPT.format(
        name=shlex.quote(path.name),
        directives="\n".join(_directives(Path(run), nodes, gpus_per_node, cpus_per_node, time, grace, options)),
        setup="".join(f"{line}\n" for line in setup),
        folder=shlex.quote(str(folder)),
        out=shlex.quote(str(run)),
        meeting=_MEETING.format(nodes=nodes) if nodes > 1 else "",
        nodes=nodes,
        command=shlex.join(command),
    )
    write_atomically(path, script)
    return {"out": str(path), "script": script, "job": _submitted(path) if submit else None}


def _directives(
    run: Path, nodes: int, gpus: int, cpus: int | None, time: str | None, grace: int, options: Sequence[str]
) -> list[str]:
    """Return the lines that sbatch reads.

    Raises:
        UserError: it could misread one.
    """
    if time is not None and not _TIME.fullmatch(time):
        raise UserError(f"--time {time}: give minutes, HH:MM:SS or D-HH:MM:SS, as sbatch takes it.")
    name = re.sub(r"[^\w.-]", "-", run.name) or "ssl_zoo"
    given = {
        "job-name": name,
        "output": f"{name}-%j.out",
        "open-mode": "append",
        "nodes": str(nodes),
        "ntasks-per-node": "1",
        "signal": f"TERM@{grace}",
        "requeue": "",
    }
    given |= {"gpus-per-node": str(gpus)} if gpus else {}
    given |= {"cpus-per-task": str(cpus)} if cpus is not None else {}
    given |= {"time": time} if time is not None else {}
    for option in options:
        key, equals, value = option.removeprefix("--").partition("=")
        if not re.fullmatch(r"[a-z][a-z-]*", key) or (equals and not _VALUE.fullmatch(value)):
            raise UserError(
                f"--sbatch {option}: give an option of sbatch with its value, such as partition=gpu or exclusive, "
                "without spaces and quotes."
            )
        given[key] = value
    return [f"#SBATCH --{key}{f'={value}' if value else ''}" for key, value in given.items()]


def _submitted(path: Path) -> str:
    """Hand a file to sbatch; return what it printed.

    Raises:
        UserError: it refused the job.
    """
    done = subprocess.run(["sbatch", str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        why = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise UserError(f"--submit: sbatch refused {path}: {why}")
    return done.stdout.strip()

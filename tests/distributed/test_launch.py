"""Processes of `--devices` and of torchrun: what they train, how a lost one ends the others, and what is printed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from click.testing import CliRunner

from ssl_zoo.cli import main
from ssl_zoo.runs import checkpoint
from ssl_zoo.runs.folder import RunFolder
from tests.distributed.group import run_group
from tests.distributed.jobs import join

ROOT = Path(__file__).resolve().parents[2]
SELF = [sys.executable, "-m", "ssl_zoo"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "ssl_zoo"]
STEPS = 12


def write_recipes(folder: Path, rank: int, size: int, out: Path) -> None:
    """Write recipes on noise, and train them undisturbed."""
    from ssl_zoo.recipe.load import load_recipe
    from ssl_zoo.training.train import train
    from tests.distributed.noise import on_noise

    join(folder, rank, size)
    if size == 1:
        raw: Any = on_noise("simsiam", max_steps=STEPS, memory_format="contiguous").dump()
        raw["training"]["checkpoint_minutes"] = 1e-6  # after each second step, when the processes agree on it
        raw["evaluation"] = {"protocols": [], "baselines": False}
        lost, one, two = (str(out / f"{name} is done") for name in ("kill", "one", "two"))
        sources: dict[str, dict[str, Any]] = {
            "plain": {"bad_rank": 9},
            "mouldy": {"bad_rank": 1},
            "lost": {"bad_rank": 1, "kill": lost, "stop": f"{lost} and stopped"},
            "stopped 1": {"bad_rank": 0, "stop": one},
            "stopped 2": {"bad_rank": 1, "stop": two},
        }
        for name, options in sources.items():
            source = {"name": "noise", **options}
            raw["data"] = {"cache": "none", "num_workers": 0, "source": source}
            (out / f"{name}.yaml").write_text(yaml.safe_dump(raw))
    train(load_recipe(str(out / "plain.yaml")), out=out / f"by {size}", log=lambda line: None)


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("recipes")
    for size in (1, 2):
        run_group(size, write_recipes, out)
    return out


SCHEDULER = {
    "sbatch": 'exec bash "$1"',
    "scontrol": 'if [ "$1" = show ]; then echo localhost; else echo "$@" >> requeued; fi',
    # The command on each of the machines, at the same time; the exit code is the largest.
    "srun": """
        for option in "$@"; do
            case "$option" in --nodes=*) nodes=${option#*=}; shift;; --*) shift;; *) break;; esac
        done
        for i in $(seq "$nodes"); do "$@" & jobs[$i]=$!; done
        for i in $(seq "$nodes"); do wait "${jobs[$i]}"; code=$?; [ $code -gt "${most:-0}" ] && most=$code; done
        exit "${most:-0}"
    """,
}
"""Commands of SLURM, on this machine."""


@pytest.mark.parametrize("nodes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_job_saves_is_requeued_and_goes_on_to_the_bit(
    recipes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nodes: int
) -> None:
    for name, text in SCHEDULER.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))  # `--import` would, and would leave it there
    run = tmp_path / "a run's $folder"  # which a shell must not take apart
    words = ["--import", "tests.distributed.noise", "--out", str(run), "--nodes", str(nodes), "--gpus-per-node", "0"]
    written = CliRunner().invoke(main, ["slurm", str(recipes / f"stopped {nodes}.yaml"), *words, "--script", "job"])
    assert written.exit_code == 0, written.output
    environment = {
        **os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NODELIST": "machines[1-2]",
    }  # fmt: skip
    for attempt in range(2):
        job = subprocess.run(["sbatch", "job"], capture_output=True, text=True, timeout=240,
                             env={**environment, "SLURM_RESTART_COUNT": str(attempt)})  # fmt: skip
        assert job.returncode == 0, job.stderr
        assert (run / "summary.json").is_file()
        status = json.loads((run / "summary.json").read_text())["status"]
        assert status == ("done" if attempt else "interrupted"), job.stderr
        assert (tmp_path / "requeued").read_text() == f"requeue {os.getpid()}\n"  # once
    undisturbed, resumed = ([each["loss"] for each in RunFolder(path).read_metrics()]
                            for path in (recipes / f"by {nodes}", run))  # fmt: skip
    assert resumed == undisturbed and len(resumed) == STEPS // 2 + 1
    assert torch.equal(weights(run), weights(recipes / f"by {nodes}"))


def command(start: Sequence[str], recipe: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    arguments = ["train", str(recipe), "--import", "tests.distributed.noise", "--out", str(out), *options]
    return subprocess.run([*start, *arguments], capture_output=True, text=True, env=environment, timeout=240)


def weights(run: Path) -> torch.Tensor:
    state = checkpoint.load(run / "checkpoints" / "last.pt")
    assert state["step"] == STEPS
    return torch.cat([value.flatten().double() for value in state["method"].values()])


def test_a_killed_process_is_named_the_restart_stops_at_a_signal_and_torchrun_goes_on_to_the_bit(
    recipes: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = command(SELF, recipes / "lost.yaml", run, "--devices", "2", "--max-restarts", "1")
    assert done.returncode == 75, done.stderr
    assert done.stderr.count("rank 1 of 2 processes was ended by SIGKILL, perhaps for want of memory.") == 1
    assert done.stderr.count("all 2 processes start again from the last checkpoint (restart 1 of 1)") == 1
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr
    (resumed,), (stopped,) = re.findall(r"resumed at step (\d+)", done.stderr), re.findall(r"step (\d+)", done.stdout)
    assert 0 < int(resumed) < int(stopped) < STEPS
    done = command(TORCHRUN, recipes / "lost.yaml", run, "--resume")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("done: ") == 1
    assert done.stderr.count("2 processes, total batch 24") == done.stderr.count(f"resumed at step {stopped}") == 1
    assert "Warning" not in done.stderr
    one, two = weights(recipes / "by 1"), weights(run)
    assert (one - two).norm() <= 1e-4 * one.norm()
    assert torch.equal(two, weights(recipes / "by 2"))


def test_an_error_of_one_process_ends_all_and_is_printed_once(recipes: Path, tmp_path: Path) -> None:
    done = command(SELF, recipes / "mouldy.yaml", tmp_path / "run", "--devices", "2", "--max-restarts", "1")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.count("it is mouldy") == 1 and "restart" not in done.stderr  # it would be mouldy again
    assert f"resume with: ssl-zoo train {tmp_path / 'run'} --resume" in done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "failed" and "it is mouldy" in summary["reason"]

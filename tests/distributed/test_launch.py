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

from ssl_zoo.runs import checkpoint
from tests.distributed.group import run_group
from tests.distributed.jobs import join

ROOT = Path(__file__).resolve().parents[2]
SELF = [sys.executable, "-m", "ssl_zoo"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "ssl_zoo"]
STEPS = 8


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
        for name, options in (("plain", {}), ("lost", {"killed": str(out / "killed")}), ("mouldy", {})):
            source = {"name": "noise", **({} if name == "plain" else {"bad_rank": 1}), **options}
            raw["data"] = {"cache": "none", "num_workers": 0, "source": source}
            (out / f"{name}.yaml").write_text(yaml.safe_dump(raw))
    train(load_recipe(str(out / "plain.yaml")), out=out / f"by {size}", log=lambda line: None)


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("recipes")
    for size in (1, 2):
        run_group(size, write_recipes, out)
    return out


def command(start: Sequence[str], recipe: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    arguments = ["train", str(recipe), "--import", "tests.distributed.noise", "--out", str(out), *options]
    return subprocess.run([*start, *arguments], capture_output=True, text=True, env=environment, timeout=240)


def weights(run: Path) -> torch.Tensor:
    state = checkpoint.load(run / "checkpoints" / "last.pt")
    assert state["step"] == STEPS
    return torch.cat([value.flatten().double() for value in state["method"].values()])


def test_a_killed_process_ends_the_others_is_named_and_the_restart_goes_on_to_the_bit(
    recipes: Path, tmp_path: Path
) -> None:
    done = command(SELF, recipes / "lost.yaml", tmp_path / "run", "--devices", "2", "--max-restarts", "1")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("rank 1 of 2 processes was ended by SIGKILL, perhaps for want of memory.") == 1
    assert done.stderr.count("all 2 processes start again from the last checkpoint (restart 1 of 1)") == 1
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr
    resumed = re.findall(r"resumed at step (\d+)", done.stderr)
    assert len(resumed) == 1 and 0 < int(resumed[0]) < STEPS
    assert done.stdout.count("done: ") == 1
    assert torch.equal(weights(tmp_path / "run"), weights(recipes / "by 2"))


def test_an_error_of_one_process_ends_all_and_is_printed_once(recipes: Path, tmp_path: Path) -> None:
    done = command(SELF, recipes / "mouldy.yaml", tmp_path / "run", "--devices", "2", "--max-restarts", "1")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.count("it is mouldy") == 1 and "restart" not in done.stderr  # it would be mouldy again
    assert f"resume with: ssl-zoo train {tmp_path / 'run'} --resume" in done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "failed" and "it is mouldy" in summary["reason"]


def test_torchrun_trains_what_one_process_does(recipes: Path, tmp_path: Path) -> None:
    done = command(TORCHRUN, recipes / "plain.yaml", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("done: ") == 1
    assert done.stderr.count("2 processes, total batch 24") == 1
    assert "Warning" not in done.stderr
    one, two = weights(recipes / "by 1"), weights(tmp_path / "run")
    assert (one - two).norm() <= 1e-4 * one.norm()
    assert torch.equal(two, weights(recipes / "by 2"))

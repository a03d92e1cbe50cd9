"""Starting several processes from the command line: `--devices` and torchrun, what they print and how they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from ssl_zoo.runs import checkpoint
from ssl_zoo.runs.encoder import load_encoder
from tests.distributed.group import run_group

ROOT = Path(__file__).resolve().parents[2]
SELF = [sys.executable, "-m", "ssl_zoo"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "ssl_zoo"]


def write_recipes(folder: Path, rank: int, size: int, out: Path) -> None:
    """Write recipes on noise, and train two of them in one process."""
    from ssl_zoo.training.train import train
    from tests.distributed.noise import on_noise

    for method in ("simsiam", "barlow_twins"):
        recipe = on_noise(method, max_steps=4)
        (out / f"{method}.yaml").write_text(recipe.to_yaml())
        train(recipe, out=out / f"{method}-alone", log=lambda line: None)
    raw: Any = yaml.safe_load((out / "simsiam.yaml").read_text())
    raw["data"] = {"cache": "none", "num_workers": 0, "source": {"name": "noise", "bad_rank": 1}}
    (out / "mouldy.yaml").write_text(yaml.safe_dump(raw))


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("recipes")
    run_group(1, write_recipes, out)
    return out


def command(start: Sequence[str], recipe: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    arguments = ["train", str(recipe), "--import", "tests.distributed.noise", "--out", str(out), *options]
    return subprocess.run([*start, *arguments], capture_output=True, text=True, env=environment, timeout=240)


@pytest.mark.parametrize(
    ("start", "options", "method"), [(SELF, ("--devices", "2"), "simsiam"), (TORCHRUN, (), "barlow_twins")]
)
def test_two_processes_train_what_one_does(
    recipes: Path, tmp_path: Path, start: list[str], options: tuple[str, ...], method: str
) -> None:
    done = command(start, recipes / f"{method}.yaml", tmp_path / "run", *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("done: ") == 1 and done.stdout.count("trained encoder") == 1
    assert done.stderr.count("2 processes, total batch 24") == 1
    assert "Warning" not in done.stderr
    one, two = (
        checkpoint.load(path / "checkpoints" / "last.pt") for path in (recipes / f"{method}-alone", tmp_path / "run")
    )
    assert one["step"] == two["step"] == 4
    names = [name for name, _ in load_encoder(tmp_path / "run").named_parameters()]
    a, b = (torch.cat([each["method"][f"encoder.{name}"].flatten() for name in names]) for each in (one, two))
    assert (a - b).norm() <= 1e-4 * a.norm()


@pytest.mark.parametrize(("start", "options"), [(SELF, ("--devices", "2")), (TORCHRUN, ())])
def test_a_users_mistake_is_one_sentence(
    recipes: Path, tmp_path: Path, start: list[str], options: tuple[str, ...]
) -> None:
    done = command(start, recipes / "simsiam.yaml", tmp_path / "run", *options, "-s", "training.batch_size=23")
    assert done.returncode == (2 if start is SELF else 1)  # torchrun has a code of its own
    assert done.stderr.count("error: training.batch_size: 23 cannot be cut") == 1
    assert not (tmp_path / "run").exists()


def test_an_error_of_one_process_ends_all(recipes: Path, tmp_path: Path) -> None:
    done = command(SELF, recipes / "mouldy.yaml", tmp_path / "run", "--devices", "2")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.count("it is mouldy") == 1
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())  # as the one who lost the other has it
    assert summary["status"] == "failed" and "another of the 2 processes has ended" in summary["reason"]

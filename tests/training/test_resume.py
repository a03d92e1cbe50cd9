"""Exact resume: 2N steps equal N steps, a kill, a new process and N steps, bit for bit (T20 to T26)."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.recipe.model import Recipe, parse
from ssl_zoo.runs.checkpoint import load
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.training.monitor import Monitor
from ssl_zoo.training.train import train
from tests.killing import exit_code, in_child
from tests.tiny import small

METHODS = ("simsiam", "byol", "barlow_twins", "vicreg", "i_jepa")
RUNS = [*((method, 0) for method in METHODS), ("simsiam", 2), ("i_jepa", 2)]
"""Methods, and the workers that load their samples."""
HALF = 5
"""Steps of the first half; an epoch has 3, so the kill comes in the middle of one."""


def killed(folders: list[Path]) -> None:
    """Train until each run has a checkpoint and two steps more, and be killed."""
    for folder in folders:
        train(str(folder / "wanted.yaml"), out=folder / "run", stop_at=HALF, log=lambda line: None)
    last = Monitor.after_step

    def after_step(self: Monitor, step: Any) -> bool:
        if step.number == HALF + 2:  # two steps after the checkpoint that is gone on from
            raise KeyboardInterrupt
        return last(self, step)

    with patch.object(Monitor, "after_step", after_step):
        for folder in folders:
            with suppress(KeyboardInterrupt):
                train(str(folder / "wanted.yaml"), out=folder / "run", resume=True, log=lambda line: None)
    os.kill(os.getpid(), signal.SIGKILL)


def undisturbed(root: Path) -> None:
    """Train each method from the start to the end."""
    for method in METHODS:
        train(recipe_of(method, 0), out=root / method, log=lambda line: None)


def resumed(folders: list[Path]) -> None:
    """Go on with runs to their ends."""
    for folder in folders:
        summary = train(str(folder / "wanted.yaml"), out=folder / "run", resume=True, log=lambda line: None)
        assert summary["status"] == "done"


def recipe_of(method: str, workers: int) -> Recipe:
    """A short run of a small version, on few digits, so that an epoch is 3 steps."""
    raw = small(method).dump()
    views = {"name": "augment", "channels": 1, "size": 12, "mean": [0.5], "std": [0.5], "blur": 0.2, "solarise": 0.1}
    raw["views"] = views
    raw["data"] = {"source": {"name": "digits", "placements": 1}, "num_workers": workers}
    raw["evaluation"] = {"protocols": ["label_free"], "limit": 50, "baselines": False}
    raw["training"] |= {"batch_size": 400, "max_steps": 2 * HALF, "log_every": 1, "accumulate": 2}
    raw["guard"]["every"] = 2
    return parse(raw, "recipe")


def folder_of(root: Path, method: str, workers: int) -> Path:
    return root / f"{method}-{workers}"


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that were killed in the first process, gone on with in a second, and ended there."""
    root = tmp_path_factory.mktemp("halves")
    folders = [folder_of(root, method, workers) for method, workers in RUNS]
    for folder, (method, workers) in zip(folders, RUNS, strict=True):
        folder.mkdir()
        (folder / "wanted.yaml").write_text(recipe_of(method, workers).to_yaml())
    assert exit_code(killed, folders) == -signal.SIGKILL
    for folder in folders:
        steps = [record["step"] for record in RunFolder(folder / "run").read_metrics()]
        assert steps == list(range(1, HALF + 2)) and load(RunFolder(folder / "run").checkpoint)["step"] == HALF
        assert RunFolder(folder / "run").read_summary()["status"] == "interrupted"
    assert exit_code(resumed, folders) == 0
    return root


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunFolder]:
    root = tmp_path_factory.mktemp("whole")
    in_child(undisturbed, root)
    return {method: RunFolder(root / method) for method in METHODS}


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings and lists by their paths."""
    if not isinstance(value, (dict, list, tuple)):
        return {path: value}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return {key: leaf for name, each in items for key, leaf in flat(each, f"{path}/{name}").items()}


def same(a: Any, b: Any) -> bool:
    return torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else a == b


@pytest.mark.parametrize(("method", "workers"), RUNS)
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    method: str, workers: int, halves: Path, whole: dict[str, RunFolder]
) -> None:
    resumed = RunFolder(folder_of(halves, method, workers) / "run")
    ours, theirs = (flat(load(folder.checkpoint)) for folder in (resumed, whole[method]))
    timing = ("/wall_s", "/seconds", "/recipe/data/num_workers")  # the whole runs have none
    kept = [key for key in theirs if not key.startswith(timing)]
    assert sorted(kept) == sorted(key for key in ours if not key.startswith(timing))
    assert [key for key in kept if not same(ours[key], theirs[key])] == []
    tensors = {key for key in kept if isinstance(theirs[key], Tensor)}
    assert any(key.startswith("/method/encoder") for key in tensors)
    assert any("momentum_buffer" in key or "exp_avg" in key for key in tensors)
    assert theirs["/step"] == 2 * HALF
    if method == "byol":
        rate = theirs["/method/target.rate"]
        assert any("target.network" in key for key in tensors) and rate > 0.996  # it moved, and it was saved


@pytest.mark.parametrize(("method", "workers"), RUNS)
def test_what_is_logged_is_the_same_and_each_step_is_logged_once(
    method: str, workers: int, halves: Path, whole: dict[str, RunFolder]
) -> None:
    resumed = RunFolder(folder_of(halves, method, workers) / "run")
    keys = ("step", "epoch", "loss", "terms", "lr", "embedding")
    ours, theirs = ([{k: r.get(k) for k in keys} for r in f.read_metrics()] for f in (resumed, whole[method]))
    assert [record["step"] for record in ours] == list(range(1, 2 * HALF + 1))
    assert ours == theirs


def test_another_recipe_is_refused_and_leaves_the_run_as_it_is(tmp_path: Path) -> None:
    recipe = recipe_of("simsiam", 0)
    assert train(recipe, out=tmp_path / "run", stop_at=2, log=lambda line: None)["status"] == "interrupted"
    files = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    other = load_recipe(str(tmp_path / "run"), ["training.base_lr=0.07"])
    with pytest.raises(ValueError, match=r"training.base_lr = 0.05, and the recipe now has 0.07"):
        train(other, out=tmp_path / "run", resume=True, log=lambda line: None)
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == files

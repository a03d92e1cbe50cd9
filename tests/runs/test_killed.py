"""A run that is killed before any change it makes to its folder goes on, and ends as if nothing had happened."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_zoo.recipe.model import Recipe, parse
from tests.killing import forked, in_child, kill_at

MOST = 12
"""Kills that are tried, spread over all changes."""


def short_run(**training: Any) -> Recipe:
    """A run of three steps that saves itself after each."""
    from tests.tiny import small

    raw = small("simsiam").dump()
    views = {
        "name": "augment",
        "channels": 1,
        "size": 8,
        "jitter": 0.0,
        "grey": 0.0,
        "blur": 0.0,
        "mean": [0.5],
        "std": [0.5],
    }
    raw |= {"encoder": {"name": "convnet", "widths": [4]}, "views": views}
    raw["data"] = {"source": {"name": "digits", "placements": 1}, "num_workers": 0}
    raw["evaluation"] = {"protocols": ["label_free"], "limit": 20, "baselines": False}
    raw["training"] |= {"batch_size": 16, "max_steps": 3, "log_every": 1, "checkpoint_minutes": 1e-9, **training}
    return parse(raw, "recipe")


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Return the leaves of nested values by their paths, without what tells the time."""
    if path in (".wall_s", ".seconds"):
        return {}
    if isinstance(value, (dict, list, tuple)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: leaf for name, each in items for key, leaf in flat(each, f"{path}.{name}").items()}
    return {path: value}


def same_end(one: Path, other: Path) -> bool:
    """Return whether two runs ended with the same state and the same encoder, bit for bit."""
    from ssl_zoo.runs import checkpoint

    a, b = (flat(checkpoint.load(run / "checkpoints" / "last.pt")) for run in (one, other))
    equal = [torch.equal(a[key], b[key]) if isinstance(b[key], Tensor) else a[key] == b[key] for key in b]
    files = [(run / "encoder.safetensors").read_bytes() for run in (one, other)]
    return a.keys() == b.keys() and all(equal) and files[0] == files[1]


def killed_everywhere(root: Path) -> None:
    from ssl_zoo.runs.folder import RunFolder
    from ssl_zoo.training.train import train

    recipe = short_run()
    changes = kill_at(root / "whole", -1)
    assert train(recipe, out=root / "whole", log=lambda line: None)["status"] == "done"
    num, ways = len(changes), set()
    for number in {place * (num - 1) // (MOST - 1) for place in range(MOST)}:
        run = root / f"killed-{number}"

        def killed(run: Path = run, number: int = number) -> None:
            kill_at(run, number)
            train(recipe, out=run, log=lambda line: None)

        assert forked(killed) == -signal.SIGKILL, (number, changes[number])
        folder = RunFolder(run)
        if folder.recipe.is_file():
            before = folder.read_state(recipe)["step"]
            way = "same command" if before == 0 and number % 2 else "resumed"
        else:
            way = "not yet a run"
        summary = train(recipe, out=run, resume=way == "resumed", log=lambda line: None)
        assert summary["status"] == "done" and summary["metrics"]["label_free"], (number, changes[number])
        assert same_end(run, root / "whole"), (number, changes[number])
        assert [record["step"] for record in folder.read_metrics()] == [1, 2, 3], (number, changes[number])
        assert not [path for path in run.rglob("*") if path.suffix == ".partial" or path.name == ".lock"], number
        ways.add(way)
    assert ways == {"not yet a run", "same command", "resumed"} and num > MOST


def test_a_run_that_is_killed_anywhere_goes_on(tmp_path: Path) -> None:
    in_child(killed_everywhere, tmp_path)

"""The checkpoint of the best evaluation in training, beside the last one."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ssl_zoo.errors import TrainingFailed, UserError
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.recipe.model import parse
from ssl_zoo.runs import checkpoint
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.runs.weights import initial_weights
from ssl_zoo.training.train import train
from tests.tiny import small


def run(out: Path, mode: str, metric: str = "own/label_free.std", **how: Any) -> RunFolder:
    raw = small("simsiam").dump()
    raw["views"] = {"name": "augment", "channels": 1, "size": 12, "mean": [0.5], "std": [0.5], "blur": 0.2}
    raw["data"] = {"source": {"name": "digits", "placements": 1}, "num_workers": 0}
    online = [{"name": "label_free", "metrics": ["std"]}]
    raw["evaluation"] = {"protocols": [], "limit": 60, "every": 1, "online": online, "best": metric, "best_mode": mode}
    raw["training"] |= {"batch_size": 32, "max_steps": 4, "log_every": 1}
    train(parse(raw, "recipe"), out=out, log=lambda line: None, **how)
    return RunFolder(out)


@pytest.mark.parametrize("mode", ["max", "min"])
def test_it_is_the_state_of_the_best_step_and_last_is_kept(tmp_path: Path, mode: str) -> None:
    folder = run(tmp_path / "run", mode)
    found = {each["step"]: each["evaluation"]["own/label_free"]["std"] for each in folder.read_evaluations()}
    best = (max if mode == "max" else min)(found, key=lambda step: found[step])
    assert len(set(found.values())) == 4 and folder.read_summary()["best"] == {
        "metric": "own/label_free.std",
        "step": best,
        "value": found[best],
    }
    assert checkpoint.load(folder.best)["step"] == best and checkpoint.load(folder.checkpoint)["step"] == 4
    if mode == "min":
        return
    stopped = run(tmp_path / "stopped", mode, stop_at=best)
    assert _equal(checkpoint.load(stopped.checkpoint)["method"], checkpoint.load(folder.best)["method"])
    weights = initial_weights(folder.best, ["encoder"])["encoder"]
    assert all(torch.equal(x, checkpoint.load(folder.best)["method"][f"encoder.{n}"]) for n, x in weights.items())
    again = run(tmp_path / "stopped", mode, resume=True)
    assert again.read_summary()["best"] == folder.read_summary()["best"]


def _equal(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> bool:
    return some.keys() == others.keys() and all(torch.equal(x, others[name]) for name, x in some.items())


def test_a_metric_that_is_not_measured_is_told(tmp_path: Path) -> None:
    for best, every in (("own/linear.top1", 1), ("other/knn.top1", 1), ("top1", 1), ("own/knn.top1", "null")):
        with pytest.raises(UserError, match=r"evaluation.*best: .* is not measured in training"):
            load_recipe("simsiam", [f"evaluation.every={every}", f"evaluation.best={best}"])
    with pytest.raises(TrainingFailed, match="own/label_free has no metric 'spread'; it has std"):
        run(tmp_path / "run", "max", metric="own/label_free.spread")

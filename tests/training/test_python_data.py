"""Training on a Python data set: exact resume after an interruption, evaluation, and what a recipe says of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from sklearn.datasets import load_digits
from torch.utils.data import Dataset

import ssl_zoo
from ssl_zoo.cli import main
from ssl_zoo.errors import UserError
from ssl_zoo.recipe.model import Recipe, parse
from ssl_zoo.runs.checkpoint import load
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.training.monitor import Monitor
from tests.tiny import small

NUM, STEPS, HALF = 96, 8, 3
SHOWN = load_digits()


class Pictures(Dataset[Any]):
    """Digits as pictures of Pillow, with their labels."""

    def __init__(self, num: int = NUM, first: int = 0) -> None:
        self.first, self.num = first, num

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, i: int) -> tuple[Image.Image, int]:
        pixels = (SHOWN.images[self.first + i] * 15.9).astype(np.uint8)
        return Image.fromarray(pixels).resize((12, 12)), int(SHOWN.target[self.first + i])


def tensors(num: int = NUM) -> list[torch.Tensor]:
    return [torch.from_numpy(SHOWN.images[i] / 16).float() for i in range(num)]


def recipe(workers: int = 0, cache: str = "none") -> Recipe:
    raw = small("simsiam").dump()
    raw["views"] = {"name": "augment", "channels": 1, "size": 8, "mean": [0.5], "std": [0.5], "blur": 0.1}
    raw["data"] = {"num_workers": workers, "cache": cache}
    raw["evaluation"] = {"protocols": ["knn"], "baselines": False}
    raw["training"] |= {"batch_size": 32, "max_steps": STEPS, "log_every": 1}
    return parse(raw, "recipe")


def silent(line: str) -> None:
    pass


def losses(run: Path) -> list[float]:
    return [record["loss"] for record in RunFolder(run).read_metrics()]


def pictures() -> Pictures:
    return Pictures()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on pictures, interrupted nowhere."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    ssl_zoo.train(recipe(), data=Pictures(), test=Pictures(40, NUM), out=out, log=silent)
    return out


def interrupted(out: Path, make: Any, monkeypatch: Any, workers: int = 0, cache: str = "none") -> Path:
    """Train, cut off two steps after the last checkpoint as by a kill, and go on from that."""
    last = Monitor.after_step

    def killed(self: Any, step: Any) -> bool:
        if step.number == HALF + 2:
            raise KeyboardInterrupt
        return last(self, step)

    ssl_zoo.train(recipe(workers, cache), data=make(), out=out, stop_at=HALF, log=silent)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Monitor, "after_step", killed)
        ssl_zoo.train(recipe(workers, cache), data=make(), out=out, resume=True, log=silent)
    assert load(RunFolder(out).checkpoint)["step"] == HALF
    assert ssl_zoo.train(str(out), data=make(), resume=True, log=silent)["status"] == "done"
    return out


def check_equal(one: Path, two: Path) -> None:
    assert len(losses(one)) == STEPS and losses(one) == losses(two)
    assert RunFolder(one).encoder.read_bytes() == RunFolder(two).encoder.read_bytes()


def test_an_interrupted_run_on_pictures_equals_one_that_was_not(run: Path, tmp_path: Path, monkeypatch: Any) -> None:
    check_equal(run, interrupted(tmp_path / "cut", pictures, monkeypatch, workers=2))


def test_an_interrupted_run_on_tensors_equals_one_that_was_not(tmp_path: Path, monkeypatch: Any) -> None:
    ssl_zoo.train(recipe(cache="auto"), data=tensors(), out=tmp_path / "whole", log=silent)
    check_equal(tmp_path / "whole", interrupted(tmp_path / "cut", tensors, monkeypatch, cache="auto"))


def test_the_recipe_says_that_data_were_given_and_the_command_line_asks_for_them(run: Path, tmp_path: Path) -> None:
    source = ssl_zoo.load_recipe(str(run)).data.source
    assert source is not None and source.name == "python"
    assert source.options["data"].endswith("Pictures of 96 samples")
    (tmp_path / "recipe.yaml").write_text(recipe().to_yaml().replace("source: null", f"source: {source.plain()}"))
    for call in (["eval", run], ["train", tmp_path / "recipe.yaml", "--out", tmp_path / "again"]):
        result = CliRunner().invoke(main, [str(each) for each in call])
        assert isinstance(result.exception, UserError) or result.exit_code == 2
        text = result.output + str(result.exception)
        assert "Pictures of 96 samples), which the command line cannot have: give it again in Python" in text


def test_it_is_evaluated_and_embedded_on_what_is_given(run: Path, tmp_path: Path) -> None:
    summary = RunFolder(run).read_summary()
    assert summary["data"]["test"] == 40 and summary["tested"] == {"knn": 40}
    words = [(image, "odd" if label % 2 else "even") for image, label in (Pictures()[i] for i in range(60))]
    found = ssl_zoo.evaluate(run, ["knn"], data=words, overrides=["evaluation.baselines=false"], log=silent)
    assert 0 < found["encoder"]["knn"]["top1"] <= 1
    ssl_zoo.embed(run, tmp_path / "features.npz", data=tensors(10), log=silent)
    with np.load(tmp_path / "features.npz") as features:
        assert features["vector"].shape[0] == 10 and features["name"][9] == "train sample 9 of list"


def test_other_data_are_noticed_and_named(tmp_path: Path) -> None:
    ssl_zoo.train(recipe(), data=tensors(), out=tmp_path / "run", stop_at=HALF, log=silent)

    def resume(data: Any, **options: Any) -> Any:
        return ssl_zoo.train(recipe(), data=data, out=tmp_path / "run", resume=True, log=lines.append, **options)

    lines: list[str] = []
    with pytest.raises(UserError, match="started with 96 samples to train on, and the data now have 80: 16 gone; give"):
        resume(tensors(80))
    other = [1 - x for x in tensors()]
    with pytest.raises(UserError, match="other contents of its samples: 16 of the 16 that were read to compare them"):
        resume(other)
    assert resume(other, allow_changed_data=True)["status"] == "done"
    assert any("other contents of its samples" in line and "goes on with these" in line for line in lines)

"""Evaluation during a training: the training does not notice it, and its numbers are those of the evaluation after."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.evaluate import evaluate
from ssl_zoo.evaluation.online import measure_online
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.recipe.model import Recipe, parse
from ssl_zoo.runs import checkpoint
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.training import online
from ssl_zoo.training.train import train
from tests.tiny import small

STEPS = 5
PROTOCOLS = [{"name": "knn", "k": 5}, "label_free"]
ONLINE = {"every": 2, "online": PROTOCOLS, "data": {"same": {"name": "digits", "placements": 1}, "other": "digits"}}


def recipe_of(**evaluation: Any) -> Recipe:
    """SimSiam, its encoder with BatchNorm, for 5 steps on few digits."""
    raw = small("simsiam").dump()
    raw["views"] = {"name": "augment", "channels": 1, "size": 12, "mean": [0.5], "std": [0.5], "blur": 0.2}
    raw["data"] = {"source": {"name": "digits", "placements": 1}, "num_workers": 0}
    raw["evaluation"] = {"protocols": PROTOCOLS, "limit": 60, "baselines": False, **evaluation}
    raw["training"] |= {"batch_size": 32, "max_steps": STEPS, "log_every": 1}
    raw["training"]["memory_format"] = "contiguous"  # as an encoder that is loaded
    return parse(raw, "recipe")


def run(out: Path, recipe: Recipe, **how: Any) -> tuple[RunFolder, list[str]]:
    lines: list[str] = []
    train(recipe, out=out, log=lines.append, **how)
    return RunFolder(out), lines


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, RunFolder, list[str]]:
    """A run without, and one with evaluation in training, with what it printed."""
    out = tmp_path_factory.mktemp("online")
    plain, _ = run(out / "plain", recipe_of())
    return plain, *run(out / "online", recipe_of(**ONLINE))


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(value, b[key]) for key, value in a.items())
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else bool(a == b)


def numbers(folder: RunFolder) -> list[dict[str, Any]]:
    """The records of evaluations without their time."""
    return [{k: v for k, v in each.items() if k != "evaluation_s"} for each in folder.read_evaluations()]


def test_the_training_is_bit_for_bit_the_one_without(runs: tuple[RunFolder, RunFolder, list[str]]) -> None:
    plain, watched, _ = runs
    logs = [[(r["step"], r["loss"], r["terms"], r["embedding"]) for r in each.read_metrics()] for each in runs[:2]]
    assert logs[0] == logs[1] and len(logs[0]) == STEPS
    one, two = (checkpoint.load(each.checkpoint) for each in (plain, watched))
    assert any("running_mean" in name for name in one["method"])
    assert same(one["method"], two["method"]) and same(one["optimizer"], two["optimizer"])
    assert plain.encoder.read_bytes() == watched.encoder.read_bytes()


def test_it_is_run_at_its_steps_and_after_the_last_on_each_data_set(
    runs: tuple[RunFolder, RunFolder, list[str]],
) -> None:
    plain, watched, lines = runs
    found = list(watched.read_evaluations())
    assert [each["step"] for each in found] == [2, 4, STEPS] and list(plain.read_evaluations()) == []
    keys = ["same/knn", "same/label_free", "other/knn", "other/label_free"]
    assert all(list(each["evaluation"]) == keys and each["evaluation_s"] > 0 for each in found)
    assert any(line.startswith("step 4: same/knn ") and "other/knn " in line for line in lines)


def test_its_numbers_are_those_of_an_evaluation_of_the_same_weights(
    runs: tuple[RunFolder, RunFolder, list[str]],
) -> None:
    _, watched, _ = runs
    last = list(watched.read_evaluations())[-1]["evaluation"]
    ended = watched.read_summary()["metrics"]
    assert {key: last[f"same/{key}"] for key in ended} == ended
    other = evaluate(watched.path, data="digits", overrides=["data.source.placements=4"], log=lambda line: None)
    assert {key: last[f"other/{key}"] for key in ended} == other["encoder"]


def test_it_is_in_tensorboard(runs: tuple[RunFolder, RunFolder, list[str]]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, watched, _ = runs
    events = EventAccumulator(str(watched.tensorboard))
    events.Reload()
    logged = [(each.step, each.value) for each in events.Scalars("evaluation/other/knn/top1")]
    found = [(each["step"], each["evaluation"]["other/knn"]["top1"]) for each in watched.read_evaluations()]
    assert [step for step, _ in logged] == [step for step, _ in found]
    assert [value for _, value in logged] == pytest.approx([value for _, value in found])


@pytest.mark.parametrize("stop_at", [2, 3])
def test_a_resumed_run_has_the_same_evaluations(
    runs: tuple[RunFolder, RunFolder, list[str]], tmp_path: Path, stop_at: int
) -> None:
    run(tmp_path / "run", recipe_of(**ONLINE), stop_at=stop_at)
    again, _ = run(tmp_path / "run", recipe_of(**ONLINE), resume=True)
    assert numbers(again) == numbers(runs[1])
    assert again.encoder.read_bytes() == runs[0].encoder.read_bytes()


@pytest.mark.parametrize("when", [2, STEPS])
def test_an_evaluation_that_a_signal_stops_is_made_up_for(
    runs: tuple[RunFolder, RunFolder, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: int
) -> None:
    def stopped(recipe: Recipe, *rest: Any) -> Any:
        found = measure_online(recipe, *rest)
        if len(numbers(RunFolder(tmp_path / "run"))) == (0 if when == 2 else 2):
            signal.raise_signal(signal.SIGTERM)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(online, "measure_online", stopped)
        folder, _ = run(tmp_path / "run", recipe_of(**ONLINE))
    assert (folder.read_summary()["status"], folder.read_summary()["steps"]) == ("interrupted", when)
    run(tmp_path / "run", recipe_of(**ONLINE), resume=True)
    assert numbers(folder) == numbers(runs[1]) and folder.read_summary()["status"] == "done"
    assert folder.encoder.read_bytes() == runs[0].encoder.read_bytes()


def test_the_own_data_are_measured_where_no_other_is_named(tmp_path: Path) -> None:
    folder, _ = run(tmp_path / "run", recipe_of(every=3, protocols=[]), stop_at=3)
    assert [list(each["evaluation"]) for each in folder.read_evaluations()] == [["own/knn"]]


def test_data_sets_are_named_on_the_command_line_and_a_path_will_do(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    _picture(tmp_path / "pictures" / "a.png")
    set_it = ["evaluation.every=10", "evaluation.data.more=digits", "evaluation.data.more.placements=2"]
    recipe = load_recipe("simsiam", [*set_it, f"evaluation.data.mine={tmp_path / 'pictures'}"])
    more, mine = recipe.evaluation.data["more"], recipe.evaluation.data["mine"]
    assert (more.name, more.options["placements"]) == ("digits", 2)
    assert mine.options["path"] == str(tmp_path / "pictures")


def _picture(path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (8, 8)).save(path)


def test_mistakes_are_told_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    for name in "ab":
        _picture(tmp_path / "flat" / f"{name}.png")
    wrong = {
        "evaluation.data.x: nowhere: no such file or folder": ["evaluation.every=1", "evaluation.data.x=nowhere"],
        "evaluation.data: 'a b' is no name of a data set": ["evaluation.every=1", "evaluation.data.a b=digits"],
        "evaluation.online: names no protocol": ["evaluation.every=1", "evaluation.online=[]"],
        "evaluation.every: nothing can be measured in training: knn needs labels": [
            "evaluation.every=1",
            f"evaluation.data.flat={tmp_path / 'flat'}",
        ],
    }
    for sentence, overrides in wrong.items():
        with pytest.raises(UserError, match=sentence):
            train(load_recipe("digits/simsiam", overrides), out=tmp_path / "run", log=lambda line: None)
        assert not (tmp_path / "run").exists()

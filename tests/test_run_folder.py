"""The run folder: what may be written where, and what is read back."""

import json
import re

import pytest

from ssl_zoo import run_folder
from ssl_zoo.errors import UserError
from ssl_zoo.recipes import load_recipe
from ssl_zoo.run_folder import RunFolder, first_difference, to_json, write_atomically


@pytest.fixture
def started(tmp_path) -> RunFolder:
    folder = RunFolder(tmp_path / "runs" / "one")
    folder.create(load_recipe("simsiam", ["seed=3"]))
    return folder


def test_the_recipe_that_is_written_is_the_one_that_runs(started):
    assert load_recipe(str(started.path)) == load_recipe("simsiam", ["seed=3"])
    started.check_same(load_recipe("simsiam", ["seed=3"]))


def test_a_new_run_needs_a_free_folder(started, tmp_path):
    RunFolder(tmp_path / "new").check_free()
    (tmp_path / "empty").mkdir()
    RunFolder(tmp_path / "empty").check_free()
    started.checkpoint.parent.mkdir()
    started.checkpoint.touch()
    with pytest.raises(UserError, match=r"--out .*one: holds another run; go on with it by --resume, or name another"):
        started.check_free()
    with pytest.raises(UserError, match=r"--out .*runs: is not empty and holds no run; name a new folder"):
        RunFolder(started.path.parent).check_free()
    for path in (started.recipe, started.recipe / "below" / "it"):
        with pytest.raises(UserError, match=rf"{re.escape(str(started.recipe))} is a file; name a folder"):
            RunFolder(path).check_free()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.base_lr=0.1", "with training.base_lr = 0.05, and the recipe now says 0.1;"),
        ("target=ema", "with target.name = 'stop_gradient', and the recipe now says 'ema';"),
        ("objective.0.weight=2", "with objective = [{'name': 'negative_cosine', 'weight': 1.0}], and the recipe now"),
        ("data.source=digits", "with data.source = None, and the recipe now says {'name': 'digits'"),
        ("encoder.stem=small", "with encoder.stem = 'imagenet', and the recipe now says 'small'"),
    ],
)
def test_resuming_with_another_recipe_names_the_first_difference(started, override, words):
    with pytest.raises(UserError, match=re.escape(words)):
        started.check_same(load_recipe("simsiam", ["seed=3", override]))


def test_resuming_where_there_is_no_run_is_told(tmp_path):
    with pytest.raises(UserError, match=r"--resume: .*nothing holds no run; start one without --resume"):
        RunFolder(tmp_path / "nothing").check_same(load_recipe("simsiam"))


def test_first_difference():
    old = {"a": 1, "b": {"c": [1, 2], "d": None}}
    assert first_difference(old, json.loads(json.dumps(old))) is None
    assert first_difference(old, {"a": 1, "b": {"c": [1, 3], "d": None}}) == ("b.c", [1, 2], [1, 3])
    assert first_difference(old, {"a": 1, "b": {"c": [1, 2]}, "e": 5}) == ("e", None, 5)
    assert first_difference(old, {"a": {"x": 1}, "b": 2}) == ("a", 1, {"x": 1})


def test_metrics_are_read_back_and_rewound(started):
    assert list(started.read_metrics()) == []
    records = [{"step": step, "loss": -step / 7} for step in (1, 2, 3, 4)]
    for record in records:
        started.append_metrics(record)
    assert list(started.read_metrics()) == records
    with started.metrics.open("a") as file:
        file.write('{"step": 5, "lo')  # a kill in the middle of a line
    assert list(started.read_metrics()) == records
    started.rewind_metrics(2)
    assert list(started.read_metrics()) == records[:2]
    started.append_metrics(records[2])
    assert list(started.read_metrics()) == records[:3]


def test_the_summary_is_read_back(started):
    with pytest.raises(UserError, match="holds no finished run"):
        started.read_summary()
    started.write_summary({"status": "done", "metrics": {"knn": {"top1": 0.1}}})
    assert started.read_summary() == {"status": "done", "metrics": {"knn": {"top1": 0.1}}}


def test_a_kill_while_a_file_is_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_atomically(path, "old")

    def killed(source, destination):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_folder.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert path.read_text() == "old"


def test_numbers_that_json_does_not_have_are_null() -> None:
    text = to_json({"a": float("nan"), "b": [float("inf"), 1.5, (2, -float("inf"))], "c": {"d": None, "e": True}})
    assert json.loads(text, parse_constant=pytest.fail) == {
        "a": None, "b": [None, 1.5, [2, None]], "c": {"d": None, "e": True},
    }  # fmt: skip

"""The run folder: what may be written where, and what is read back."""

import json
import os
import re

import pytest

from ssl_zoo.errors import UserError
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.runs.folder import RunFolder, to_json
from ssl_zoo.runs.same_recipe import first_difference

SUMMARY = {
    "status": "done",
    "method": "simsiam",
    "seed": 0,
    "steps": 3,
    "epochs": 0.5,
    "train_s": 2.5,
    "samples_per_s": 10,
    "collapse": {"status": "ok", "reason": None, "step": None, "metrics": {"std": 1.0, "similarity_gap": None}},
    "metrics": {"knn": {"top1": 0.1, "k": 5}},
    "baselines": {"raw": {"knn": {"top1": None}}},
    "environment": {
        key: "x" for key in ("hardware", "precision", "memory_format", "python", "ssl_zoo", "torch", "torchvision")
    },
}


@pytest.fixture
def started(tmp_path) -> RunFolder:
    folder = RunFolder(tmp_path / "runs" / "one")
    folder.path.mkdir(parents=True)
    folder.create(load_recipe("simsiam", ["seed=3"]))
    return folder


def test_the_recipe_that_is_written_is_the_one_that_runs(started):
    assert load_recipe(str(started.path)) == load_recipe("simsiam", ["seed=3"])
    started.check_same(load_recipe("simsiam", ["seed=3"]))


def test_a_new_run_needs_a_free_folder(started, tmp_path):
    recipe = load_recipe("simsiam", ["seed=3"])
    RunFolder(tmp_path / "new").check_free(recipe)
    (tmp_path / "empty").mkdir()
    RunFolder(tmp_path / "empty").check_free(recipe)
    with pytest.raises(UserError, match=r"--out .*runs: is not empty and holds no run; name a new folder"):
        RunFolder(started.path.parent).check_free(recipe)
    for path in (started.recipe, started.recipe / "below" / "it"):
        with pytest.raises(UserError, match=rf"{re.escape(str(started.recipe))} is a file; name a folder"):
            RunFolder(path).check_free(recipe)


def test_a_run_that_has_taken_no_step_is_started_again_by_the_same_recipe(started):
    recipe, other = load_recipe("simsiam", ["seed=3"]), load_recipe("simsiam", ["seed=4"])
    for state in (None, {"step": 0}):  # killed before its first step, with and without its first checkpoint
        started.create(recipe, state)
        started.check_free(recipe)
        with pytest.raises(UserError, match=r"one: holds a run of another recipe that has not begun \(seed = 3, and"):
            started.check_free(other)
    for state in ({"step": 1}, None):  # what cannot be read may be worth something
        if state is None:
            started.checkpoint.write_bytes(b"damaged")
        else:
            started.create(recipe, state)
        with pytest.raises(UserError, match=r"--out .*one: holds another run; resume it by --resume, or name anot"):
            started.check_free(recipe)
    started.checkpoint.unlink()
    started.encoder.touch()  # a run whose checkpoint was removed to save space
    with pytest.raises(UserError, match=r"--out .*one: holds another run"):
        started.check_free(recipe)


def test_what_a_kill_leaves_before_there_is_a_recipe_is_no_hindrance(tmp_path):
    folder = RunFolder(tmp_path / "run")
    (folder.path / "checkpoints").mkdir(parents=True)
    for name in (".lock", "checkpoints/last.pt", "recipe.yaml.partial"):
        (folder.path / name).touch()
    folder.check_free(load_recipe("simsiam"))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.base_lr=0.1", "with training.base_lr = 0.05, and the recipe now has 0.1;"),
        ("target=ema", "with target.name = 'stop_gradient', and the recipe now has 'ema';"),
        ("objective.0.weight=2", "with objective = [{'name': 'negative_cosine', 'weight': 1.0}], and the recipe now"),
        ("data.source=digits", "with data.source = None, and the recipe now has {'name': 'digits'"),
        ("encoder.stem=small", "with encoder.stem = 'imagenet', and the recipe now has 'small'"),
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
    started.write_summary(SUMMARY)
    assert started.read_summary() == SUMMARY


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is cut short or no JSON; remove it and resume the run, which writes it again."),
        (json.dumps(SUMMARY)[:-9], "is cut short or no JSON"),
        ("\xff", "is cut short or no JSON"),
        ("[]", "is not a summary of ssl_zoo;"),
        (json.dumps({**SUMMARY, "status": "fine"}), "is not a summary of ssl_zoo (status: input should be 'done', 'co"),
        (json.dumps({k: v for k, v in SUMMARY.items() if k != "collapse"}), "(collapse: field required)"),
        (
            json.dumps({**SUMMARY, "metrics": {"knn": {"top1": "high"}}}),
            "(metrics.knn.top1: input should be a valid n",
        ),
        (json.dumps({**SUMMARY, "seed": True}), "(seed: input should be a valid integer)"),
    ],
)
def test_a_damaged_summary_is_one_sentence(started, text, words):
    started.summary.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError) as told:
        started.read_summary()
    assert words in str(told.value) and str(told.value).startswith(f"{started.summary}: ")


@pytest.mark.parametrize(
    "line",
    ["", "{", "[]", '{"step": 1}', '{"loss": 0}', '{"step": "1", "loss": 0}', '{"step": 1, "loss": "x"}',
     '{"step": 1, "loss": 0, "embedding": {"std": "x"}}'],
)  # fmt: skip
def test_a_damaged_log_is_one_sentence(started, line):
    started.append_metrics({"step": 1, "loss": 0.5})
    with started.metrics.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(UserError, match=r"metrics.jsonl: line 2 is not a record of a run of ssl_zoo"):
        list(started.read_metrics())
    started.metrics.write_bytes(b"\xff\xfe\n")
    with pytest.raises(UserError, match="metrics.jsonl: is not a text file in UTF-8"):
        list(started.read_metrics())


def test_names_that_cannot_be_read_stay_one_line_each(started):
    bad = {"a\tb.png": "no image", "a\nb.png": "no\nimage", os.fsdecode(b"caf\xe9.png"): "x", "über.png": "ü"}
    started.write_bad_files(bad)
    lines = started.bad_files.read_text(encoding="utf-8").splitlines()
    assert [line.split("\t") for line in lines] == [
        [r"a\tb.png", "no image"], [r"a\nb.png", r"no\nimage"], [r"caf\xe9.png", "x"], ["über.png", "ü"],
    ]  # fmt: skip


def test_numbers_that_json_does_not_have_are_null() -> None:
    text = to_json({"a": float("nan"), "b": [float("inf"), 1.5, (2, -float("inf"))], "c": {"d": None, "e": True}})
    assert json.loads(text, parse_constant=pytest.fail) == {
        "a": None, "b": [None, 1.5, [2, None]], "c": {"d": None, "e": True},
    }  # fmt: skip

"""The guard's policy `rollback`: a VICReg without variance goes back, gets its weight, and ends healthy."""

import json

import pytest
from safetensors.torch import load_file

from ssl_zoo import UserError, train
from ssl_zoo.recipe.change import changed
from ssl_zoo.recipe.load import load_recipe

SMALL = (
    "data={source: {name: digits, placements: 1}, num_workers: 0}",
    "encoder={name: convnet, widths: [4, 8]}",
    "projector.dims=[16, 16]",
    "views={name: augment, size: 12, flip: 0, jitter: 0, grey: 0, blur: 0, solarise: 0, mean: [0.5], std: [0.5]}",
    "training={batch_size: 64, base_lr: 0.02, lr_scaling: none, optimizer: sgd, groups: [], max_steps: 80}",
    "training.log_every=5",
    "training.schedule=constant",
    "evaluation={protocols: [], baselines: false}",
    "objective.variance.weight=0",
)
MENDED = "guard={policy: rollback, change: {objective.variance.weight: 25.0}}"


def run(out, *overrides, **how):
    return train(load_recipe("vicreg", [*SMALL, *overrides]), out=out, log=lambda line: None, **how)


def records(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_it_goes_back_changes_the_setting_and_is_resumed_exactly(tmp_path):
    whole = run(tmp_path / "whole", MENDED)
    (back,) = whole["rollbacks"]
    assert whole["status"] == "done" and whole["collapse"]["status"] == "ok" and whole["steps"] == 80
    assert back["to"] < back["step"] < 80 and back["change"] == {"objective.variance.weight": [0.0, 25.0]}
    assert "have shrunk to almost one point" in back["reason"]
    logged = records(tmp_path / "whole")
    assert [each["step"] for each in logged] == sorted({each["step"] for each in logged}), "each step once"
    assert [each.get("rollbacks", 0) for each in logged] == [int(each["step"] > back["to"]) for each in logged]
    assert load_recipe(str(tmp_path / "whole")).guard.policy == "rollback"
    assert load_recipe(str(tmp_path / "whole")).objective[1].weight == 0, "the recipe stays what the user gave"
    assert not list((tmp_path / "whole" / "checkpoints").glob("healthy*"))

    stopped = run(tmp_path / "parts", MENDED, stop_at=back["to"] + 7)
    assert stopped["status"] == "interrupted"
    again = run(tmp_path / "parts", MENDED, resume=True)
    assert again["rollbacks"] == whole["rollbacks"] and again["collapse"] == whole["collapse"]
    assert [each["loss"] for each in records(tmp_path / "parts")] == [each["loss"] for each in logged]
    one, two = (load_file(tmp_path / name / "encoder.safetensors") for name in ("whole", "parts"))
    assert all(one[name].equal(two[name]) for name in one)


def test_a_change_that_does_not_help_ends_the_run_after_so_many_rollbacks(tmp_path):
    summary = run(tmp_path / "run", "guard={policy: rollback, rollbacks: 1, change: {training.clip_grad: 100.0}}")
    assert summary["status"] == "collapsed" and len(summary["rollbacks"]) == 1


@pytest.mark.parametrize(
    "guard, message",
    [
        ("{policy: rollback}", "needs a setting to change"),
        ("{policy: rollback, change: {encoder.widths: [4]}}", "guard.change"),
        ("{policy: rollback, change: {training.batch_size: 2x}}", "cannot be turned in the middle of a run"),
        ("{policy: rollback, change: {training.clip_grad: 2x}}", "2x of None, which is no number"),
        ("{policy: rollback, change: {training.base_lr: 1x}}", "changes nothing"),
        ("{policy: rollback, change: {training.base_lr: -1}}", "training.base_lr"),
    ],
)
def test_a_change_that_cannot_be_made_is_refused_before_anything_is_written(tmp_path, guard, message):
    with pytest.raises(UserError, match=message):
        run(tmp_path / "run", f"guard={guard}")
    assert not (tmp_path / "run").exists()


def test_factors_multiply_and_values_replace():
    recipe = load_recipe(
        "vicreg", ["guard={policy: rollback, change: {training.base_lr: 0.5x, training.clip_grad: 1}}"]
    )
    once, made = changed(recipe)
    assert made == {"training.base_lr": [0.2, 0.1], "training.clip_grad": [None, 1]}
    twice, _ = changed(once)
    assert (once.training.base_lr, twice.training.base_lr, twice.training.clip_grad) == (0.1, 0.05, 1.0)

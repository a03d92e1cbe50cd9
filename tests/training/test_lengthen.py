"""A run made longer: the longer run where nothing followed its length, else it says so. Kept checkpoints."""

import json

import pytest
import torch

from ssl_zoo.errors import UserError
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.runs import checkpoint
from ssl_zoo.runs.encoder import load_encoder
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.training.train import train
from tests.cli.conftest import TINY, run

CONSTANT = ("training.schedule=constant", "evaluation.protocols=[]", "evaluation.report_samples=0")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of 4 steps made 6 steps long, and one of 6 steps; both keep every second step."""
    folder = tmp_path_factory.mktemp("lengthen")
    (folder / "tiny.yaml").write_text(TINY, encoding="utf-8")
    given = [word for each in (*CONSTANT, "training.keep_every=2") for word in ("-s", each)]
    for name, steps in (("short", 4), ("long", 6)):
        result = run("train", folder / "tiny.yaml", "--out", folder / name, "--max-steps", steps, *given)
        assert result.exit_code == 0, result.output
    result = run("train", folder / "short", "--resume", "--max-steps", 6)
    assert result.exit_code == 0, result.output
    return folder, result.stderr


def test_at_a_constant_rate_it_is_exactly_the_longer_run(runs):
    folder, said = runs
    states = [checkpoint.load(RunFolder(folder / name).checkpoint) for name in ("short", "long")]
    assert all(torch.equal(states[0]["method"][key], value) for key, value in states[1]["method"].items())
    sentence = "made longer at step 4, from 4 to 6 steps: exactly the run that 6 steps from the start would have been."
    assert sentence in said
    summary = json.loads((folder / "short" / "summary.json").read_text(encoding="utf-8"))
    assert summary["steps"] == 6 and summary["lengthened"] == [
        {"step": 4, "from": 4, "to": 6, "as_planned": True, "note": sentence}
    ]
    text = (folder / "short" / "recipe.yaml").read_text(encoding="utf-8")
    assert text.startswith(f"# M{sentence[1:]}\n") and load_recipe(str(folder / "short")).training.max_steps == 6
    assert run("train", folder / "short", "--resume").exit_code == 0  # it is finished, at the new length
    losses = [[each["loss"] for each in RunFolder(folder / name).read_metrics()] for name in ("short", "long")]
    assert losses[0] == losses[1] and len(losses[0]) == 6


def test_kept_checkpoints_are_those_of_their_steps_and_their_encoders_are_used(runs):
    folder, _ = runs
    long = RunFolder(folder / "long")
    assert long.kept_steps() == [2, 4, 6]
    now = load_encoder(f"{folder / 'long'}@step4").state_dict()
    state = checkpoint.load(long.kept(4))["method"]
    assert all(torch.equal(value, state[f"encoder.{key}"]) for key, value in now.items())
    last = load_encoder(f"{folder / 'long'}@last").state_dict()
    assert all(torch.equal(value, last[key]) for key, value in load_encoder(folder / "long").state_dict().items())
    result = run("eval", f"{folder / 'long'}@step2", "--protocol", "knn", "--json")
    assert (
        result.exit_code == 0
        and "the encoder of step 2" in result.stderr
        and "knn" in json.loads(result.stdout)["encoder"]
    )
    with pytest.raises(UserError, match=r"@step3: there is no such checkpoint; there is step2, step4, step6, last"):
        load_encoder(f"{folder / 'long'}@step3")


def test_a_cosine_run_made_longer_is_another_one_and_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY, encoding="utf-8")
    quick = ("-s", "evaluation.protocols=[]", "-s", "evaluation.report_samples=0")
    assert run("train", "tiny.yaml", "--out", "run", "--max-steps", 2, *quick).exit_code == 0
    result = run("train", "run", "--resume", "--max-steps", 1)
    assert result.exit_code == 2 and "was planned for 2 steps, and 1 are asked for" in result.stderr
    said: list[str] = []
    part = train(load_recipe("run", ["training.max_steps=5"]), out="run", resume=True, stop_at=3, log=said.append)
    assert part["status"] == "interrupted"  # its encoder is that of the shorter run until it has finished
    measured = run("eval", "run", "--protocol", "knn").stderr
    assert "run: its encoder is that of step 2; the run is at step 3 now, which is run@last" in measured
    result = run("train", "run", "--resume", "--max-steps", 5)
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))
    (record,) = summary["lengthened"]
    assert summary["steps"] == 5 and not record["as_planned"]
    assert (record["step"], record["from"], record["to"]) == (2, 2, 5)
    words = "this is not the run that 5 steps from the start would have been, since the learning rate so far"
    assert words in record["note"] and record["note"] in said
    result = run("train", "run", "--resume", "-s", "training.base_lr=0.9")
    assert result.exit_code == 2 and "was started with training.base_lr" in result.stderr


def test_a_stopped_runs_encoder_is_that_of_its_last_checkpoint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY, encoding="utf-8")
    assert train(load_recipe("tiny.yaml"), out="run", stop_at=2, log=lambda _: None)["status"] == "interrupted"
    result = run("embed", "run", "--out", "features.npz", "-s", "data.source.placements=1")
    assert result.exit_code == 0 and "run: the encoder of step 2" in result.stderr, result.output
    assert json.loads((tmp_path / "run" / "at-step-2" / "encoder.json").read_text(encoding="utf-8"))["steps"] == 2
    assert run("report", "run", "--out", "page.html", "--no-tsne").exit_code == 0

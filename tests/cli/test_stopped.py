"""Stopped by a signal at any time of its life, a run leaves with 75, says how to go on, and goes on to the bit."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ssl_zoo.training import finish
from ssl_zoo.training import train as api
from ssl_zoo.training.monitor import Monitor
from tests.runs.test_killed import same_end

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def status(run: Path) -> str:
    return json.loads((run / "summary.json").read_text())["status"]


def signalled(function: Callable[..., Any], number: int) -> Callable[..., Any]:
    """Return a function that sends a signal to this process, once, and goes on."""
    sent = []

    def send(*arguments: Any, **options: Any) -> Any:
        if not sent:
            sent.append(number)
            os.kill(os.getpid(), number)
        return function(*arguments, **options)

    return send


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("again", [("run", "--resume"), ("tiny.yaml", "--out", "run")])
def test_while_the_data_are_read(cli, tiny, tmp_path, trained, monkeypatch, number, again):
    monkeypatch.setattr(api, "assemble", signalled(api.assemble, number))
    stopped = cli("train", tiny, "--out", "run")
    assert stopped.exit_code == 75
    assert stopped.stdout == "stopped at step 0; resume with: ssl-zoo train run --resume\n"
    assert status(tmp_path / "run") == "interrupted"
    assert cli("train", *again).exit_code == 0
    assert same_end(tmp_path / "run", trained)


def test_while_the_data_are_read_with_weights_to_start_from(cli, tiny, tmp_path, trained, monkeypatch):
    start = ("--init-from", trained, "--max-steps", 2, "--seed", 1)
    assert cli("train", tiny, "--out", "whole", *start).exit_code == 0
    monkeypatch.setattr(api, "assemble", signalled(api.assemble, signal.SIGTERM))
    assert cli("train", tiny, "--out", "run", *start).exit_code == 75
    resumed = cli("train", "run", "--resume")
    assert resumed.exit_code == 0 and "--init-from: encoder: 12 of 12 tensors taken" in resumed.stderr
    assert same_end(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("number", SIGNALS)
def test_in_the_evaluation_and_after_the_last_step(cli, tiny, tmp_path, trained, monkeypatch, number):
    after_step = Monitor.after_step

    def last(self: Monitor, step: Any) -> bool:
        if step.number == 3:
            os.kill(os.getpid(), number)
        return after_step(self, step)

    for name, patch in {"evaluation": (finish, "measure", signalled(finish.measure, number)),
                        "last": (Monitor, "after_step", last)}.items():  # fmt: skip
        with monkeypatch.context() as patched:
            patched.setattr(*patch)
            stopped = cli("train", tiny, "--out", name)
        assert stopped.exit_code == 75, stopped.output
        assert stopped.stdout == f"stopped at step 3; resume with: ssl-zoo train {name} --resume\n"
        assert f"stopped in the evaluation; {name}/encoder.safetensors is written" in stopped.stderr
        assert status(tmp_path / name) == "interrupted" and (tmp_path / name / "encoder.safetensors").is_file()
        resumed = cli("train", name, "--resume")
        assert resumed.exit_code == 0 and status(tmp_path / name) == "done"
        assert same_end(tmp_path / name, trained)


def test_a_collapse_is_one_after_an_evaluation_that_was_stopped_too(cli, tiny, monkeypatch):
    collapsing = ("-s", "target=shared", "-s", "predictor=identity", "-s", "training.base_lr=3", "-s",
                  "guard={policy: stop, every: 1, patience: 1}", "--max-steps", 200)  # fmt: skip
    with monkeypatch.context() as patched:
        patched.setattr(finish, "measure", signalled(finish.measure, signal.SIGTERM))
        stopped = cli("train", tiny, "--out", "run", *collapsing, "--json")
    assert stopped.exit_code == 75
    resumed = cli("train", "run", "--resume", "--json")
    assert resumed.exit_code == 3
    assert json.loads(resumed.stdout)["steps"] == json.loads(stopped.stdout)["steps"] < 200


SMALL = ("-s", "encoder.widths=[4]", "-s", "projector.dims=[4, 4]", "-s", "predictor.dims=[2, 4]", "-s",
         "training.batch_size=16", "-s", "training.max_steps=2", "-s", "data.source.placements=1",
         "-s", "evaluation.limit=60")  # fmt: skip


@pytest.mark.parametrize("where", ["training", "evaluation"])
@pytest.mark.parametrize("command", [("run", "digits/simsiam"), ("compare", "digits/simsiam"), ("demo",)])
def test_a_study(cli, tmp_path, monkeypatch, command, where):
    with monkeypatch.context() as patched:
        if where == "training":
            patched.setattr(Monitor, "after_step", signalled(Monitor.after_step, signal.SIGTERM))
        else:
            patched.setattr(finish, "measure", signalled(finish.measure, signal.SIGTERM))
        stopped = cli(*command, "--out", "runs", *SMALL)
    assert stopped.exit_code == 75, stopped.output
    assert stopped.stderr.splitlines()[-1] == "interrupted; run the same command again to resume"
    assert "Traceback" not in stopped.output and not list(tmp_path.rglob("RESULTS.md"))


def test_between_two_runs_of_a_study(cli, tmp_path, monkeypatch):
    monkeypatch.setattr("ssl_zoo.studies.entries.load_recipe", signalled(api.load_recipe, signal.SIGTERM))
    stopped = cli("compare", "digits/simsiam", "--out", "runs")
    assert stopped.exit_code == 75 and stopped.stderr == "interrupted; run the same command again to resume\n"

"""On a GPU the numbers of a step are read two steps later: what is written is the same, and a resumed run as well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ssl_zoo import train
from ssl_zoo.errors import TrainingFailed
from ssl_zoo.runs.checkpoint import load
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.training import noted
from tests.collapse.test_guard_in_training import vicreg

TIMES = {"samples_per_s", "data_wait_fraction"}


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(noted.STEPS_LATE, "cpu", noted.STEPS_LATE["cuda"])


def log_of(run: Path, until: int = 10**9) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in each.items() if k not in TIMES} for each in records if each["step"] <= until]


@pytest.fixture(scope="module")
def at_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run that collapses and is stopped, whose numbers are read at once."""
    run = tmp_path_factory.mktemp("late") / "at once"
    return run, train(collapsing(), out=run, log=lambda line: None)


def collapsing() -> Any:
    return vicreg(60, "objective.variance.weight=0", "guard.policy=stop", "training.log_every=7")


def test_a_late_run_writes_the_same_and_stops_two_steps_later(
    late: None, at_once: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """The alarm's line is not one of those that are due anyway, and stands between those that are."""
    (run, first), lines = at_once, list[str]()
    summary = train(collapsing(), out=tmp_path / "run", log=lines.append)
    stopped = first["collapse"]["step"]
    assert stopped == first["steps"] < 60 and stopped % 7 and summary["steps"] == stopped + 2
    assert (summary["status"], summary["collapse"]["reason"]) == ("collapsed", first["collapse"]["reason"])
    assert log_of(tmp_path / "run", stopped) == log_of(run)
    again = train(collapsing(), out=tmp_path / "parts", stop_at=stopped, log=lines.append)
    assert again["status"] == "interrupted" and again["collapse"] == summary["collapse"] | {
        "metrics": again["collapse"]["metrics"]
    }
    again = train(collapsing(), out=tmp_path / "parts", resume=True, log=lines.append)
    assert (again["status"], again["steps"], again["collapse"]) == (
        summary["status"], summary["steps"], summary["collapse"]
    )  # fmt: skip
    assert log_of(tmp_path / "parts") == log_of(tmp_path / "run")
    states = [load(RunFolder(tmp_path / name).checkpoint)["monitor"]["guard"] for name in ("run", "parts")]
    assert states[0] == states[1]


def test_a_loss_that_is_not_finite_is_named_by_its_step(late: None, tmp_path: Path) -> None:
    recipe = vicreg(12, "training.base_lr=1e30", "training.log_every=1", "guard.policy=off")
    with pytest.raises(TrainingFailed, match=r"the loss is not finite at step (\d+)") as error:
        train(recipe, out=tmp_path / "run", log=lambda line: None)
    step = int(str(error.value).split("at step ")[1].split()[0])
    assert [each["step"] for each in log_of(tmp_path / "run")] == list(range(1, step))

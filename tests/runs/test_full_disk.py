"""A full disk at any moment of a run: one sentence, `failed`, and the last good checkpoint goes on to the bit."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from ssl_zoo.errors import CannotWrite, TrainingFailed
from ssl_zoo.runs import checkpoint
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.training import finish
from ssl_zoo.training.monitor import Monitor
from ssl_zoo.training.train import train
from tests.runs.test_atomic import full_disk
from tests.runs.test_killed import same_end, short_run


def quiet(line: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    train(short_run(), out=out, log=quiet)
    return out


def fails(out: Path, words: str) -> None:
    with pytest.raises(TrainingFailed, match=words) as told:
        train(short_run(), out=out, log=quiet)
    assert "\n" not in str(told.value)


def goes_on(out: Path, whole: Path) -> None:
    assert train(short_run(), out=out, resume=True, log=quiet)["status"] == "done"
    assert same_end(out, whole) and not list(out.rglob("*.partial"))


# Room for the summary and the log, not for a checkpoint; and for nothing.
@pytest.mark.parametrize(("room", "file"), [(6000, "last.pt"), (0, "metrics.jsonl")])
def test_a_disk_that_is_full_in_the_training(
    room: int, file: str, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    after_step, folder = Monitor.after_step, RunFolder(tmp_path / "run")
    assert folder_size(RunFolder(whole)) > 6000

    def filled(self: Monitor, step: Any) -> bool:
        if step.number < 2:
            return after_step(self, step)
        with full_disk(room):
            stop = after_step(self, step)
            self.trainer.check()
            checkpoint.save(folder.checkpoint, {"step": 2, "method": self.trainer.state()})
        return stop

    monkeypatch.setattr(Monitor, "after_step", filled)
    fails(
        folder.path,
        rf"^cannot write {folder.path}.*/{file}: File too large\. Step \d is saved; once this is fixed, resume",
    )
    assert folder.read_summary()["status"] == "failed" and folder.read_summary()["resumable"]
    monkeypatch.undo()
    goes_on(folder.path, whole)


def folder_size(folder: RunFolder) -> int:
    return folder.checkpoint.stat().st_size


def test_a_disk_that_is_full_at_the_end_keeps_the_checkpoint(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_encoder = finish.save_encoder

    def filled(*arguments: Any) -> None:
        with full_disk(100):
            save_encoder(*arguments)

    monkeypatch.setattr(finish, "save_encoder", filled)
    out = tmp_path / "run"
    fails(
        out, rf"^{out}/encoder.safetensors could not be written: .* Step 3 is saved; once this is fixed, resume with: "
    )
    assert RunFolder(out).read_summary()["status"] == "failed"
    monkeypatch.undo()
    goes_on(out, whole)


def test_an_evaluation_that_fails_takes_nothing_away(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any, **options: Any) -> None:
        raise ZeroDivisionError("no samples\nat all")

    monkeypatch.setattr(finish, "measure", broken)
    out = tmp_path / "run with space"
    reason = r"could not be evaluated: ZeroDivisionError: no samples\\nat all\. Step 3 is saved; once this is fixed, "
    fails(out, rf"is trained and written, but {reason}resume with: ssl-zoo train '{out}' --resume$")
    summary = RunFolder(out).read_summary()
    assert summary["status"] == "failed" and "could not be evaluated" in summary["problems"][0]
    assert (out / "encoder.safetensors").read_bytes() == (whole / "encoder.safetensors").read_bytes()
    monkeypatch.undo()
    goes_on(out, whole)
    assert RunFolder(out).read_summary()["metrics"].keys() == {"label_free"}


def test_a_list_or_a_board_that_cannot_be_written_is_a_problem_and_no_more(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ssl_zoo.training.event_file import EventFile

    def full(self: EventFile, values: dict[str, float], step: int) -> None:
        with full_disk(1):
            write(self, values, step)

    def unwritable(self: RunFolder, bad: Any) -> None:
        raise CannotWrite(f"cannot write {self.bad_files}: No space left on device.")

    write, lines = EventFile.add_scalars, []
    monkeypatch.setattr(EventFile, "add_scalars", full)
    monkeypatch.setattr(RunFolder, "write_bad_files", unwritable)
    monkeypatch.setattr("ssl_zoo.training.setup.open_recipe_data", with_a_bad_file)
    out = tmp_path / "run"
    summary = train(short_run(), out=out, log=lines.append)
    assert summary["status"] == "done" and same_end(out, whole)
    assert (
        summary["problems"]
        == RunFolder(out).read_summary()["problems"]
        == [
            "the TensorBoard log ends at step 1: File too large.",
            f"cannot write {out}/bad_files.txt: No space left on device.",
        ]
    )
    assert set(summary["problems"]) <= set(lines)


def with_a_bad_file(*arguments: Any, **options: Any) -> Any:
    from dataclasses import replace

    from ssl_zoo.methods.build import open_recipe_data

    return replace(open_recipe_data(*arguments, **options), bad={"caf\udce9.png": "no image"})


def test_a_folder_that_vanishes_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    after_step, out = Monitor.after_step, tmp_path / "run"

    def removed(self: Monitor, step: Any) -> bool:
        shutil.rmtree(out, ignore_errors=True)
        return after_step(self, step)

    monkeypatch.setattr(Monitor, "after_step", removed)
    fails(out, rf"^cannot write {out}/metrics.jsonl: No such file or directory\. ")
    assert not out.exists()

"""Which of the failures of several processes is the one that the others follow from, and what is said of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from ssl_zoo.distributed import failure
from ssl_zoo.distributed.failure import first_failure, record
from ssl_zoo.errors import NotFinite, TrainingFailed, UserError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(failure, "_began", None)
    monkeypatch.setattr(failure, "_code", None)
    return tmp_path


def failed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, rank: int, error: Exception, since: float = 0.0, code: int = 1
) -> ProcessFailure:
    """Return the failure of a process, as torch's agent sees it, that has raised an error."""
    monkeypatch.setenv(failure.ERROR_FILE, str(folder / f"{rank}.json"))
    monkeypatch.setattr(failure, "_began", 1e9 + since)
    record(error)
    return ProcessFailure(rank, 100 + rank, code, str(folder / f"{rank}.json"))


def silent(rank: int, code: int, since: int = 0) -> ProcessFailure:
    """Return the failure of a process that died without a word."""
    found = ProcessFailure(rank, 100 + rank, code, "none")
    found.timestamp = 10**9 + since
    return found


def test_the_earliest_error_is_the_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = failed(folder, monkeypatch, 0, RuntimeError("Connection closed by peer"), 0.5)
    own = failed(folder, monkeypatch, 1, TrainingFailed("the disk is full"), 0.25)
    found = first_failure({0: lost, 1: own, 2: silent(2, -15, 1), 3: silent(3, 75, 1)}, 4)
    assert (found.kind, found.message, found.rank, found.final) == ("failed", "the disk is full", 1, False)
    assert "TrainingFailed: the disk is full" in found.trace


def test_a_process_that_a_signal_ended_comes_before_what_others_wrote(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = failed(folder, monkeypatch, 0, RuntimeError("Connection closed by peer"))
    found = first_failure({0: lost, 1: silent(1, -9)}, 2)
    assert found.message == "rank 1 of 2 processes was ended by SIGKILL, perhaps for want of memory."
    assert (found.kind, found.exit_code, found.final) == ("silent", -9, False)
    found = first_failure({0: lost, 1: silent(1, -11)}, 2)
    assert found.message == "rank 1 of 2 processes was ended by SIGSEGV."
    # Here the agent has killed it, half a minute later, since it did not end by itself.
    assert first_failure({0: lost, 1: silent(1, -9, 31)}, 2).rank == 0
    assert first_failure({0: lost, 1: silent(1, -15)}, 2).rank == 0
    assert first_failure({0: silent(0, 5)}, 2).message == "rank 0 of 2 processes ended with exit code 5 and no message."


def test_an_error_gets_better_words_and_keeps_its_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    early = failed(folder, monkeypatch, 0, OSError("no space"), 0.25)
    monkeypatch.setattr(failure, "_began", 1e9)
    record(TrainingFailed("the disk is full. Resume with: ..."))
    late = ProcessFailure(0, 100, 1, str(folder / "0.json"))
    found = first_failure({0: late}, 2)
    assert found.message == "the disk is full. Resume with: ..." and found.time == 1e9
    assert first_failure({0: early}, 2).kind == "fault" and "OSError: no space" in first_failure({0: early}, 2).message


def test_what_would_come_again_is_known(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caused = TrainingFailed("a sample cannot be read")
    caused.__cause__ = UserError("it is mouldy")
    errors: dict[Exception, bool] = {
        UserError("no"): True, NotFinite("nan"): True, caused: True, TrainingFailed("a reader is lost"): False,
        MemoryError(): False,
    }  # fmt: skip
    for error, final in errors.items():
        assert first_failure({0: failed(folder, monkeypatch, 0, error)}, 2).final == final, error


def test_torchruns_report_has_the_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = failed(folder, monkeypatch, 1, UserError("training.batch_size: 23 cannot be cut"), code=2)
    assert "error: training.batch_size: 23 cannot be cut" in str(ChildFailedError("ssl_zoo", {1: one}))
    assert first_failure({1: one}, 2).kind == "user"


def test_without_an_agent_nothing_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(failure.ERROR_FILE, raising=False)
    record(UserError("no"))
    failure.record_uncaught()
    assert list(folder.iterdir()) == [] and sys.excepthook is sys.__excepthook__ and not failure.has_begun()


def test_an_exception_that_nothing_catches_is_written_and_not_printed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(failure.ERROR_FILE, str(folder / "0.json"))
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    failure.record_uncaught()
    error = ValueError("a script's own")
    sys.excepthook(ValueError, error, None)
    assert json.loads((folder / "0.json").read_text())["ssl_zoo"]["kind"] == "fault"
    assert capsys.readouterr().err == "" and failure.code() == 1

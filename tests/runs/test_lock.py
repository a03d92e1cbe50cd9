"""The lock of a run folder: who holds it is told, and one that a killed process left does not block."""

import os
import signal
import socket
from pathlib import Path

import pytest

from ssl_zoo.errors import UserError
from ssl_zoo.runs import lock
from ssl_zoo.runs.folder import RunFolder
from tests.killing import forked, in_child


def log(line: str) -> None:
    raise AssertionError(line)


def other_processes(folder: Path) -> None:
    host = socket.gethostname()
    held = lock.take(folder, log)

    def refused() -> None:
        with pytest.raises(UserError) as told:
            lock.take(folder, log)
        assert str(told.value) == (
            f"{folder}: process {os.getppid()} on {host} works in this run folder; wait until it has ended, or stop it."
        )

    assert forked(refused) == 0
    assert forked(held.release) == 0 and forked(refused) == 0  # a fork does not give back what is its parent's
    held.release()
    assert not list(folder.iterdir())

    def killed() -> None:
        lock.take(folder, log)
        # As a reader of data would: it lives on for a while, and must not keep the lock.
        reader = os.fork()
        if not reader:
            signal.sigwait({signal.SIGUSR1})
            os._exit(0)
        (folder / "reader").write_text(str(reader))
        os.kill(os.getpid(), signal.SIGKILL)

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    assert forked(killed) == -signal.SIGKILL and (folder / lock.NAME).exists()
    lock.take(folder, log).release()
    os.kill(int((folder / "reader").read_text()), signal.SIGUSR1)


def test_another_process_is_named_and_a_killed_one_does_not_block(tmp_path: Path) -> None:
    in_child(other_processes, tmp_path)


def test_a_process_on_another_machine_is_told(tmp_path: Path) -> None:
    (tmp_path / lock.NAME).write_text("process 12 on elsewhere\n")
    lines: list[str] = []
    held = lock.take(tmp_path, lines.append)
    assert lines == [
        f"{tmp_path}: process 12 on elsewhere left its lock file behind; if it still runs there, stop one of the two"
    ]
    assert (tmp_path / lock.NAME).read_text() == f"process {os.getpid()} on {socket.gethostname()}\n"
    held.release()


def test_a_folder_is_claimed_and_left_as_it_was(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "a" / "b" / "run")
    with folder.claimed(log):
        with pytest.raises(UserError, match="works in this run folder"), RunFolder(folder.path).claimed(log):
            pass
        assert folder.path.is_dir()
    assert not list(tmp_path.iterdir())
    with folder.claimed(log):
        (folder.path / "recipe.yaml").touch()
    assert [path.name for path in folder.path.iterdir()] == ["recipe.yaml"]
    nowhere = RunFolder("/proc/a/run")
    with pytest.raises(UserError, match=r"^--out /proc/a/run: cannot be written: "), nowhere.claimed(log):
        pass

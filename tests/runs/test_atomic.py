"""Files that are replaced: the old one or the new one, and one sentence where a disk does not take it."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ssl_zoo.errors import CannotWrite, UserError
from ssl_zoo.runs import atomic as files
from ssl_zoo.runs.atomic import check_place, replacing, write_atomically


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """A context in which no file grows beyond some bytes, for any user: as on a disk with so much room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_kill_while_a_file_is_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_atomically(path, "old")

    def killed(source, destination):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert path.read_text() == "old"


def test_a_full_disk_leaves_the_old_file_and_no_half_of_the_new_one(tmp_path):
    path = tmp_path / "a.json"
    write_atomically(path, "old")
    with full_disk(100), pytest.raises(CannotWrite, match=rf"^cannot write {path}: File too large\.$"):
        write_atomically(path, "new" * 100)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_gone_is_told(tmp_path):
    path = tmp_path / "gone" / "a.json"
    with pytest.raises(CannotWrite, match=rf"^cannot write {path}: No such file or directory\.$"):
        write_atomically(path, "new")
    assert not path.parent.exists()


def test_what_is_replaced_is_on_the_disk_before(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(files.os, "fsync", lambda number: done.append(os.readlink(f"/proc/self/fd/{number}")))
    with replacing(tmp_path / "a") as file:
        file.write(b"x")
    assert done == [f"{tmp_path}/a.partial", str(tmp_path)]


def test_text_that_utf8_does_not_have_is_escaped(tmp_path):
    write_atomically(tmp_path / "a", os.fsdecode(b"caf\xe9") + " \N{SNOWMAN}")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "caf\\udce9 \N{SNOWMAN}"


def test_places_are_checked_before_work_is_done(tmp_path):
    check_place(tmp_path / "a" / "b", "--out", folder=True)
    check_place(tmp_path / "a.html", "--out")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    for place, folder in ((tmp_path / "file" / "run", True), (tmp_path / "file" / "a.html", False)):
        with pytest.raises(UserError, match=rf"^--out {place}: {tmp_path}/file is a file; name "):
            check_place(place, "--out", folder=folder)
    for place, folder in (("/proc/run", True), ("/proc/report.html", False), ("/dev/fd/x/y", True)):
        with pytest.raises(UserError, match=rf"^--out {place}: cannot be written: "):
            check_place(place, "--out", folder=folder)

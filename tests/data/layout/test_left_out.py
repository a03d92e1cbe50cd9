"""Files of a tree that are left out, and the notes on them."""

import os
import socket
from pathlib import Path

import pytest

from ssl_zoo.data.layout.tree import split_files
from ssl_zoo.data.layout.walk import MOST_WAYS, Walk
from ssl_zoo.errors import UserError


def notes(*paths: str) -> tuple[str, ...]:
    return split_files(paths, extensions={".png", ".jpg"}, labels="auto", where="x").notes


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def walk(root: Path) -> tuple[list[str], list[str]]:
    """Return the files below a folder, and the notes."""
    found = Walk(root, {".png"})
    return sorted(found), list(found.notes("x"))


def test_other_endings_are_counted():
    others = [f"cat/{i}.heic" for i in range(3)] + ["dog/1.avif", "dog/raw", "labels.CSV"]
    assert notes("cat/1.png", "dog/1.png", *others) == (
        "x: 6 files are not used, by the ending: .heic (3), .avif (1), .csv (1), no ending (1); for example "
        "cat/0.heic.",
    )


def test_thumbnails_and_waste_are_left_out_and_told():
    aside = ["@eaDir", ".thumbnails", "__MACOSX", ".ipynb_checkpoints", "#recycle", "$RECYCLE.BIN", "lost+found"]
    paths = [f"cat/{name}/1.jpg/x.jpg" for name in aside]
    found = split_files(["cat/1.jpg", "cat/._1.jpg", "dog/1.jpg", "dog/Thumbs.db", *paths],
                    extensions={".jpg"}, labels="auto", where="x")  # fmt: skip
    assert list(found.splits["train"].paths) == ["cat/1.jpg", "dog/1.jpg"]
    assert found.notes[0] == "x: 1 file is not used, by the ending: .db (1); for example dog/Thumbs.db."
    assert found.notes[1].startswith(
        "x: folders of thumbnails, of deleted or of hidden files are left out: #recycle (1)"
    )
    assert all(f"{name} (1)" in found.notes[1] for name in aside)
    assert found.notes[2].startswith(
        "x: hidden files are left out although they end like the others: 1, for example cat/._"
    )


def test_the_walk_does_not_enter_what_is_set_aside(tmp_path):
    touch(tmp_path / "a/1.png", tmp_path / "a/@eaDir/1.png/thumb.png", tmp_path / "lost+found/2.png")
    assert walk(tmp_path) == (["a/1.png", "a/@eaDir/", "lost+found/"], [])


def test_two_links_to_one_folder_are_both_used_and_told(tmp_path):
    touch(tmp_path / "real/1.png", tmp_path / "root/x.png")
    for name in ("train", "test"):
        (tmp_path / "root" / name).symlink_to(tmp_path / "real")
    paths, [note] = walk(tmp_path / "root")
    assert paths == ["test/1.png", "train/1.png", "x.png"]
    assert note == "x: by links, 1 folder is in it more than once, and so are the files; for example test is train."


def test_a_folder_that_contains_itself_is_entered_once(tmp_path):
    touch(tmp_path / "a/1.png", tmp_path / "b/2.png")
    (tmp_path / "a/up").symlink_to(tmp_path)
    (tmp_path / "b/self").symlink_to(tmp_path / "b")
    paths, [note] = walk(tmp_path)
    assert paths == ["a/1.png", "b/2.png"]
    assert note == "x: left out are links to a folder that they lie in: 2, for example a/up."


def test_links_without_end_are_refused(tmp_path):
    num = 8
    for i in range(num):
        (tmp_path / str(i)).mkdir()
        for j in range(num):
            (tmp_path / str(i) / f"to{j}").symlink_to(tmp_path / str(j))
    with pytest.raises(UserError, match=rf"links lead to \S+ in more than {MOST_WAYS} ways"):
        walk(tmp_path)


def test_only_regular_files_are_listed(tmp_path, monkeypatch):
    touch(tmp_path / "1.png", tmp_path / "other.txt")
    os.mkfifo(tmp_path / "2.png")
    (tmp_path / "3.png").symlink_to("/dev/zero")
    (tmp_path / "4.png").symlink_to(tmp_path / "nowhere.png")  # listed: whoever reads it meets the fault
    (tmp_path / "5.png").symlink_to(tmp_path / "5.png")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "6.png").symlink_to(tmp_path / "1.png")
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("7.png")
        paths, told = walk(tmp_path)
    assert paths == ["1.png", "4.png", "5.png", "6.png", "other.txt"]
    assert told[0] == "x: left out are links that lead nowhere: 1, for example gone."
    assert told[1].startswith("x: left out is what is no regular file: device (1), pipe (1), socket (1); for example ")


def test_names_with_line_breaks_and_foreign_bytes_are_told_escaped():
    [note] = notes("a\n1.png", "b\udce9.heic")
    assert note.endswith("for example b\\xe9.heic.") and note.isprintable()
    with pytest.raises(UserError) as error:
        split_files(["a.png"], extensions={".png"}, labels="folder", where="the folder caf\udce9\n")
    assert "caf\\xe9\\n" in str(error.value) and str(error.value).isprintable()

"""What a user may type after --data."""

import zipfile

import pytest

from ssl_zoo.errors import UserError
from ssl_zoo.recipe.resolve import resolve


def test_names():
    assert resolve("digits", "image") == {"name": "digits"}
    assert resolve("torchvision/CIFAR10", "image") == {"name": "torchvision/CIFAR10"}


def test_paths_find_the_source_that_reads_them(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "train.parquet").touch()
    with zipfile.ZipFile(tmp_path / "a.ZIP", "w"):
        pass
    for name, path in [("folder", "folder"), ("parquet", "rows"), ("parquet", "rows/train.parquet"), ("zip", "a.ZIP")]:
        assert resolve(str(tmp_path / path), "image") == {"name": name, "path": str(tmp_path / path)}


def test_a_name_wins_over_a_path_and_the_home_folder_is_known(tmp_path, monkeypatch):
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve("digits", "image") == {"name": "digits"}
    assert resolve("./digits", "image") == {"name": "folder", "path": "digits"}
    assert resolve("~/digits", "image") == {"name": "folder", "path": str(tmp_path / "digits")}
    (tmp_path / "folder").mkdir()  # the name of a source that says nothing without a path
    assert resolve("folder", "image") == {"name": "folder", "path": "folder"}


def test_neither_name_nor_path(tmp_path):
    with pytest.raises(UserError, match=r"--data digit: no such file or folder, .* did you mean 'digits'"):
        resolve("digit", "image")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(
        UserError, match=r"reads it as data of the modality 'image'; .* are: folder, huggingface, list, parquet, "
    ):
        resolve(str(tmp_path / "notes.txt"), "image")

"""What tells the data of a run from others: number, names below the root, labels; not where they lie."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from ssl_zoo.data import MemorySplit, Split, Strings, load
from ssl_zoo.data.identity import check_identity, identity
from ssl_zoo.errors import UserError
from tests.tiny import image_source


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for kind in ("cat", "dog"):
        (root / "here" / kind).mkdir(parents=True)
        for i in range(3):
            Image.new("L", (4, 4), 9 * i).save(root / "here" / kind / f"{i}.png")
    (root / "elsewhere").symlink_to(root / "here")
    return root


def train_split(path: Path) -> Split:
    return image_source("folder", 1, path=str(path)).split("train")


def test_a_moved_folder_is_the_same_in_memory_or_not(folder: Path) -> None:
    lazy, moved = train_split(folder / "here"), train_split(folder / "elsewhere")
    found = [
        identity(split)
        for split in (lazy, moved, load(moved, "memory"), load(moved, "none", on_error="skip", bad_budget=0.5))
    ]
    assert found[0]["samples"] == 6 and all(each == found[0] for each in found)


def test_other_samples_names_or_labels_are_told() -> None:
    def split(names: str, labels: list[int] | None) -> MemorySplit:
        return MemorySplit(
            torch.zeros(len(names), 1), torch.tensor(labels) if labels else None, None, Strings(f"x/{n}" for n in names)
        )

    then = identity(split("abc", [0, 1, 1]))
    check_identity(then, identity(split("abc", [0, 1, 1])), "run")
    for names, labels, words in (
        ("abcd", [0, 1, 1, 1], "run was started with 3 samples to train on, and the data now have 4; give the same"),
        ("abd", [0, 1, 1], "run was started with other names of its samples; give the same data"),
        ("acb", [0, 1, 1], "run was started with other names"),
        ("abc", [0, 1, 0], "run was started with other labels"),
        ("abc", None, "run was started with other labels"),
    ):
        with pytest.raises(UserError, match=f"^--resume: {words}"):
            check_identity(then, identity(split(names, labels)), "run")


def test_names_that_are_not_utf8_and_data_without_names() -> None:
    odd = MemorySplit(torch.zeros(2, 1), None, None, Strings(["a\udce9", "b"]))
    assert identity(odd) != identity(MemorySplit(torch.zeros(2, 1), None, None, Strings(["a", "b"])))
    assert identity(MemorySplit(torch.zeros(2, 1)))["samples"] == 2

"""A test split by the names of samples, of folders, archives and parquet files."""

import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ssl_zoo.data.layout.by_name import held_out
from ssl_zoo.errors import UserError
from tests.data.sources.test_parquet import png
from tests.tiny import image_source

NAMES = [f"{digit}_{speaker}_{n}.png" for digit in (0, 1) for speaker in ("ann", "bob") for n in range(3)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        path = tmp_path / "digits" / f"class{name[0]}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(path)
    return tmp_path / "digits"


def archived(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, str(file.relative_to(folder)))
    return path


def table(folder: Path, paths: bool = True) -> Path:
    path = folder.with_suffix(".parquet")
    images = [{"bytes": png(i), **({"path": name} if paths else {})} for i, name in enumerate(NAMES)]
    pq.write_table(pa.table({"image": images, "label": [int(name[0]) for name in NAMES]}), path)
    return path


@pytest.mark.parametrize("kind, make", [("folder", lambda f: f), ("zip", archived), ("parquet", table)])
def test_samples_whose_names_fit_are_the_test(folder, kind, make):
    data = image_source(kind, path=str(make(folder)), test=["*_0.png", "*_bob_[12].png"])
    assert data.splits == ("train", "test")
    train, test = (data.split(name) for name in data.splits)
    assert (len(train), len(test)) == (4, 8)
    assert train.labels.tolist() == [0, 0, 1, 1] and test.labels.tolist() == [0] * 4 + [1] * 4
    assert train.class_names == test.class_names
    if kind != "parquet":
        assert sorted(Path(train.name(i)).name for i in range(4)) == [
            f"{d}_ann_{n}.png" for d in (0, 1) for n in (1, 2)
        ]
        return
    kept = [i for i, name in enumerate(NAMES) if "ann" in name and "_0." not in name]
    assert [train.name(i) for i in range(4)] == [f"row {i} of digits.parquet" for i in kept]
    whole = image_source(kind, path=str(make(folder))).split("train")
    assert all(np.array_equal(train.read(i), whole.read(row)) for i, row in enumerate(kept))


@pytest.mark.parametrize(
    "patterns, splits, message",
    [
        (["*.wav"], ["train"], r"data\.source\.test: '\*\.wav' fits no name in here, such as 0_ann_0\.png\.$"),
        (["*"], ["train"], r"fits all names in here; nothing is left to train on\.$"),
        (["*_0.png"], ["train", "test"], r"^here has a test split; leave data\.source\.test out"),
    ],
)
def test_patterns_that_make_no_two_splits_are_refused(patterns, splits, message):
    with pytest.raises(UserError, match=message):
        held_out(NAMES, patterns, splits, "here")


def test_rows_without_names_cannot_be_held_out(folder):
    with pytest.raises(UserError, match=r"has no names of samples, a field path next to their bytes\.$"):
        image_source("parquet", path=str(table(folder, paths=False)), test=["*_0.png"])

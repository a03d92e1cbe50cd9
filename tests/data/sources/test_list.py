"""A list of files in a table: columns, labels, splits; what is wrong with it is counted and named."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from ssl_zoo.data import Split
from ssl_zoo.data.layout import table
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.image.modality import ImageModality
from ssl_zoo.recipe.resolve import resolve
from tests.tiny import image_source


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("listed")
    (root / "in").mkdir()
    for i in range(6):
        Image.new("L", (4, 4), 10 * i).save(root / "in" / f"{i}.png")
    (root / "in" / "sound.wav").write_bytes(b"RIFF")
    return root


def written(root: Path, text: str, name: str = "list.csv") -> str:
    (root / name).write_text(text, encoding="utf-8")
    return str(root / name)


def train(path: str, **options: Any) -> Split:
    return image_source("list", 1, path=path, **options).split("train")


def test_rows_are_samples_in_their_order(root: Path) -> None:
    split = train(written(root, "path,label\nin/3.png,owl\n\nin/0.png,emu\nin/1.png,\n"))
    assert [int(split.read(i)[0, 0, 0]) for i in range(3)] == [30, 0, 10]
    assert split.labels is not None and split.labels.tolist() == [1, 0, -1] and split.class_names == ["emu", "owl"]
    assert split.name(0) == str(root / "in/3.png") and split.names is not None and split.names[0] == "in/3.png"


def test_other_columns_root_and_absolute_paths(root: Path) -> None:
    text = f"where\tkind\n{root}/in/1.png\t10\n2.png\t9\n"
    split = train(written(root, text, "list.tsv"), column="where", label="kind", root=str(root / "in"))
    assert [int(split.read(i)[0, 0, 0]) for i in range(2)] == [10, 20]
    assert split.class_names == ["9", "10"] and split.labels is not None and split.labels.tolist() == [1, 0]
    assert train(written(root, "path,label\nin/0.png,3\n"), label=None).labels is None


def test_splits(root: Path) -> None:
    lines = [f"in/{i}.png,{split},{i % 2}" for i, split in enumerate(["train", "Training", "val", "val", "extra"])]
    source = image_source("list", 1, path=written(root, "\n".join(["file,split,class", *lines])))
    assert {name: len(source.split(name)) for name in source.splits} == {"train": 2, "test": 2}
    assert source.split("test").class_names == ["0", "1"] and len(source.notes) == 2
    held = image_source("list", 1, path=written(root, "path\nin/0.png\nin/1.png\n"), test=["*1.png"])
    assert list(held.split("test").names) == ["in/1.png"]


def test_a_parquet_list_of_paths(root: Path) -> None:
    path = root / "list.parquet"
    pq.write_table(pa.table({"path": ["in/1.png", "in/2.png"], "label": [4, 4], "vector": [[0.5], [0.5]]}), path)
    assert resolve(str(path), "image") == {"name": "list", "path": str(path)}
    split = train(str(path))
    assert split.class_names == ["4"] and int(split.read(1)[0, 0, 0]) == 20
    encoded = root / "encoded.parquet"
    pq.write_table(pa.table({"path": ["a"], "image": [(root / "in/1.png").read_bytes()]}), encoded)
    assert resolve(str(encoded), "image")["name"] == "parquet"
    assert not table.names_files(encoded, ImageModality)


def test_a_list_is_found_by_what_it_is(root: Path) -> None:
    path = written(root, "path\nin/0.png\n")
    assert resolve(path, "image") == {"name": "list", "path": path}


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("", "its first line names the columns none; name one of them path"),
        ("path,label\n", "names no file: there is no row below the first line"),
        ("a,b\n1,2\n", r"names the columns a, b; name one of them path, or give -s data.source.column=COLUMN"),
        ("path\nin/0.png\nx.png\ny.png\nz.png\nw.png\n", r"4 of the 5 files that it names do not exist, the first are "
         r"\S+/x.png, \S+/y.png, \S+/z.png; correct the list"),
        ("path\nin/0.png\nin/sound.wav\n", r"1 file of 2 are not read as image, by the ending: .wav \(1\)"),
        ("path,label\nin/0.png,a\nin/./0.png,b\n", "names in/./0.png twice, with the labels 'a' and 'b'"),
        ("path,split\nin/0.png,train\nin/0.png,test\n", "twice, with the splits 'train' and 'test'"),
        ("path,split\nin/0.png,fold3\n", "the split 'fold3' is none of train, test and val"),
        ("path,split\nin/0.png,test\n", "has no row of the split train"),
        ("path,label\nin/0.png\n", "row 2 has 1 columns, and the first line names 2"),
        ("path,label\n,a\n", "row 2 names no file"),
        ("path\nin/0.png\0\n", r"by the ending: .png.x00"),
        (f"path\n{'x' * 200_000}\n", "field larger than field limit"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_sentence(root: Path, text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        train(written(root, text))


def test_bytes_that_are_no_text(root: Path) -> None:
    (root / "odd.csv").write_bytes(b"path\n\xff\xfe.png\n")
    with pytest.raises(UserError, match="cannot read .*odd.csv as a table: .*utf-8"):
        train(str(root / "odd.csv"))


def test_rows_that_come_again_and_files_that_are_gone_may_be_left_out(root: Path) -> None:
    path = written(root, "path,label\nin/0.png,a\nin/0.png,a\ngone.png,b\n")
    source = image_source("list", 1, path=path, missing="skip")
    assert len(source.split("train")) == 1 and source.split("train").class_names == ["a"]
    assert any("1 rows come again" in note for note in source.notes)
    assert any("1 of the 2 files" in note and "are left out" in note for note in source.notes)


def test_a_large_list_is_read_as_a_stream(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(b"")
    (tmp_path / "list.csv").write_text("path,other\n" + f"0.png,{'x' * 100}\n" * 5000)
    rows = table.Table(tmp_path / "list.csv").rows(["path"])
    assert next(rows) == ("0.png",)
    split = train(str(tmp_path / "list.csv"))
    assert len(split) == 1 and torch.equal(torch.tensor(list(split.sizes() or ())), torch.tensor([0]))

"""Labels of parquet files as they come."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ssl_zoo.errors import UserError
from tests.tiny import image_source


def write(path: Path, labels, names=None, column="label", num=None) -> None:
    """Write rows of bytes that stand for images, their labels (None: no column) and the names of the labels."""
    images = pa.array([b"image"] * (len(labels) if num is None else num), pa.binary())
    table = pa.table({"image": images, **({} if labels is None else {column: labels})})
    if names is not None:
        described = names if isinstance(names, bytes) else json.dumps(
            {"info": {"features": {column: {"names": names, "_type": "ClassLabel"}}}}
        )  # fmt: skip
        table = table.replace_schema_metadata({"huggingface": described})
    pq.write_table(table, path)


def source(path: Path, **options):
    return image_source("parquet", 1, path=str(path), **options)


def labels(found) -> dict[str, list[int] | None]:
    splits = {name: found.split(name).labels for name in found.splits}
    return {name: None if each is None else each.tolist() for name, each in splits.items()}


def test_hidden_labels_are_none(tmp_path):
    write(tmp_path / "train-0.parquet", [0, 1, -1], ["cat", "dog"])
    write(tmp_path / "test-0.parquet", [-1, -1], ["cat", "dog"])
    found = source(tmp_path)
    assert labels(found) == {"train": [0, 1, -1], "test": None}
    assert found.split("train").class_names == ["cat", "dog"] and found.split("test").class_names is None
    assert found.notes == (
        f"{tmp_path}: a label below 0 means none: 1 train rows.",
        f"{tmp_path}: a label below 0 means none: 2 test rows.",
    )


@pytest.mark.parametrize("kind", ["int64", "uint64"])
def test_long_ids_are_made_dense_over_all_splits(tmp_path, kind):
    write(tmp_path / "train-0.parquet", pa.array([2_000_000_011, 1_000_000_007, 5], kind))
    write(tmp_path / "test-0.parquet", pa.array([2_000_000_011, 30], kind))
    found = source(tmp_path)
    assert labels(found) == {"train": [3, 2, 0], "test": [3, 1]}
    assert found.split("train").class_names == ["5", "30", "1000000007", "2000000011"]
    assert found.split("test").class_names == found.split("train").class_names


@pytest.mark.parametrize(
    ("column", "expected", "names"),
    [
        (pa.array(["dog", "cat", None]), [1, 0, -1], ["cat", "dog"]),
        (pa.array(["dog", "cat", "dog"]).dictionary_encode(), [1, 0, 1], ["cat", "dog"]),
        (pa.array([7, 3, 7]).dictionary_encode(), [1, 0, 1], ["3", "7"]),
        (pa.array([2.0, float("nan"), 1.0]), [1, -1, 0], ["1", "2"]),
        (pa.array([2.0, None, -1.0]), [0, -1, -1], ["2"]),
        (pa.array([True, False, None]), [1, 0, -1], ["False", "True"]),
        (pa.nulls(3), None, None),
    ],
)
def test_types_that_are_classes(tmp_path, column, expected, names):
    write(tmp_path / "a.parquet", column)
    split = source(tmp_path / "a.parquet").split("train")
    assert (None if split.labels is None else split.labels.tolist()) == expected and split.class_names == names


def test_names_in_another_order_are_matched(tmp_path):
    write(tmp_path / "train-0.parquet", [0, 1, 2], ["cat", "dog", "eel"])
    write(tmp_path / "test-0.parquet", [1, 0], ["dog", "cat"])
    found = source(tmp_path)
    assert labels(found) == {"train": [0, 1, 2], "test": [0, 1]}
    assert found.notes == (f"{tmp_path}: its files number their classes in different ways; they are matched by name.",)
    write(tmp_path / "train-1.parquet", [0])
    with pytest.raises(UserError, match=r"number their classes in different ways, and train-1\.parquet does not say"):
        source(tmp_path)


def test_words_are_compared_as_they_look(tmp_path):
    write(tmp_path / "train-0.parquet", ["caf\u00e9", "Zoo"])
    write(tmp_path / "test-0.parquet", ["cafe\u0301", "zoo"])
    found = source(tmp_path)
    assert labels(found) == {"train": [1, 0], "test": [1, 0]} and len(found.notes) == 2


def test_files_without_names_take_the_others(tmp_path):
    write(tmp_path / "train-0.parquet", [1, 0], ["cat", "dog"])
    write(tmp_path / "train-1.parquet", [1])
    found = source(tmp_path)
    assert labels(found) == {"train": [1, 0, 1]} and found.split("train").class_names == ["cat", "dog"]
    assert "1 file without class names, for example train-1.parquet; the numbers are taken as in tr" in found.notes[0]


def test_shards_must_agree(tmp_path):
    write(tmp_path / "train-0.parquet", None, num=2)
    write(tmp_path / "train-1.parquet", [0, 1])
    with pytest.raises(UserError, match=r"train-1\.parquet has a column 'label' and train-0\.parquet of the same"):
        source(tmp_path)
    assert labels(source(tmp_path, label=None)) == {"train": None}
    write(tmp_path / "train-0.parquet", ["a"])
    with pytest.raises(UserError, match=r"the labels of train-0\.parquet are words and those of train-1\.parquet "):
        source(tmp_path)
    (tmp_path / "train-0.parquet").rename(tmp_path / "test-0.parquet")
    write(tmp_path / "test-0.parquet", None, num=1)
    assert labels(source(tmp_path)) == {"train": [0, 1], "test": None}


def test_no_class_is_told(tmp_path):
    write(tmp_path / "a.parquet", [0.5, 1.0])
    with pytest.raises(UserError, match=r"'label' of .*a\.parquet holds 0\.5, which is no class"):
        source(tmp_path / "a.parquet")
    write(tmp_path / "a.parquet", [0, 1], ["x", "y"], column="fine_label")
    [note] = source(tmp_path / "a.parquet").notes
    assert note.endswith("columns of classes are fine_label: choose one by -s data.source.label=COLUMN.")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (b"{", "the description by Hugging Face is no JSON"),
        (b"\xff\xfe", "the description by Hugging Face is no JSON"),
        (b"[" * 100_000, "the description by Hugging Face is no JSON"),
        ([1, 2], "the class names are no list of words but [1, 2]"),
        ({"0": "a"}, "the class names are no list of words"),
        (["a"], "it has names for 1 classes, and a label 1"),
        (["a", "a"], "a class name comes twice"),
    ],
)
def test_class_names_that_are_garbage_are_told_and_numbers_stand(tmp_path, names, words):
    write(tmp_path / "a.parquet", [0, 1], names)
    found = source(tmp_path / "a.parquet")
    assert labels(found) == {"train": [0, 1]} and found.split("train").class_names == ["0", "1"]
    assert found.notes[0].startswith(f"{tmp_path}/a.parquet: the class names of a.parquet are of no use: {words}")


@pytest.mark.parametrize("described", [b"[]", b"3", b'{"info": []}', b'{"info": {"features": [1]}}',
                                       b'{"info": {"features": {"label": "x"}}}'])  # fmt: skip
def test_descriptions_of_another_shape_log_nothing(tmp_path, described):
    write(tmp_path / "a.parquet", [0, 1], described)
    found = source(tmp_path / "a.parquet")
    assert found.notes == () and found.split("train").class_names == ["0", "1"]


def test_as_many_classes_as_rows_are_asked_about(tmp_path):
    write(tmp_path / "a.parquet", [f"patient {i}" for i in range(30)])
    assert source(tmp_path / "a.parquet").notes == (
        f"{tmp_path}/a.parquet: 30 classes for 30 samples; if they are no classes, leave labels out: "
        "-s data.source.label=null.",
    )


def test_no_rows(tmp_path):
    for column in (pa.array([], "int64"), pa.array([], "string"), None):
        write(tmp_path / "a.parquet", column, num=0)
        split = source(tmp_path / "a.parquet").split("train")
        assert len(split) == 0 and split.labels is None

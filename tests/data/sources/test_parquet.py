"""Images in parquet files."""

import io
import json
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from ssl_zoo.data import BadSample, Split
from ssl_zoo.errors import UserError
from tests.tiny import image_source


def pixels(i: int) -> np.ndarray:
    return np.random.default_rng(i).integers(0, 256, (4, 5, 3), dtype=np.uint8)


def png(i: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels(i)).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, rows: range, *, image="image", struct=True, labels=None, names=None, bad=()) -> None:
    blobs = [None if i in bad else png(i) for i in rows]
    column = [{"bytes": blob, "path": f"{i}.png"} for i, blob in zip(rows, blobs, strict=True)] if struct else blobs
    table = pa.table({"other": pa.array(range(len(rows))), image: pa.array(column)})
    if labels is not None:
        table = table.append_column("label", pa.array(labels))
    if names is not None:
        features = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    pq.write_table(table, path, row_group_size=3)


def source(path: Path, channels: int = 3, **options):
    return image_source("parquet", channels, path=str(path), **options)


@pytest.mark.parametrize("image, struct", [("image", True), ("img", True), ("image", False)])
def test_shards_are_one_split(tmp_path, image, struct):
    layout = {"image": image, "struct": struct, "names": ["a", "b"]}
    write(tmp_path / "train-0.parquet", range(0, 7), labels=[0, 1, 1, 0, 1, 0, 1], **layout)
    write(tmp_path / "train-1.parquet", range(7, 9), labels=[1, 0], **layout)
    write(tmp_path / "test.parquet", range(9, 11), labels=[0, 0], **layout)
    data = source(tmp_path)
    assert data.splits == ("train", "test") and len(data.split("test")) == 2
    split = data.split("train")
    assert isinstance(split, Split) and len(split) == 9 and split.class_names == ["a", "b"]
    assert split.labels.tolist() == [0, 1, 1, 0, 1, 0, 1, 1, 0]
    for i in range(9):
        assert torch.equal(split.read(i), torch.from_numpy(pixels(i)).permute(2, 0, 1))
    assert split.name(6) == "row 6 of train-0.parquet" and split.name(7) == "row 0 of train-1.parquet"
    small = pickle.dumps(split)
    assert len(small) < 1000 and torch.equal(pickle.loads(small).read(8), split.read(8))


def test_splits_follow_from_file_names(tmp_path):
    write(tmp_path / "b.parquet", range(2, 4))
    write(tmp_path / "a.parquet", range(0, 2))
    data = source(tmp_path)
    assert data.splits == ("train",) and data.split("train").labels is None and data.split("train").class_names is None
    assert torch.equal(data.split("train").read(2), torch.from_numpy(pixels(2)).permute(2, 0, 1))
    assert len(source(tmp_path / "a.parquet").split("train")) == 2
    write(tmp_path / "validation-0.parquet", range(4, 5))
    with pytest.raises(UserError, match=r"has validation-0\.parquet but no train\*\.parquet"):
        source(tmp_path)
    write(tmp_path / "train.parquet", range(5, 8))
    assert [len(source(tmp_path).split(name)) for name in ("train", "test")] == [3, 1]


def test_labels_may_be_named_or_left_out(tmp_path):
    write(tmp_path / "a.parquet", range(3), labels=[2, 0, 1])
    assert source(tmp_path / "a.parquet").split("train").labels.tolist() == [2, 0, 1]
    assert source(tmp_path / "a.parquet", label="other").split("train").labels.tolist() == [0, 1, 2]
    assert source(tmp_path / "a.parquet", label=None).split("train").labels is None
    with pytest.raises(UserError, match=r"no column 'labels' for label; did you mean 'label'"):
        source(tmp_path / "a.parquet", label="labels")
    write(tmp_path / "b.parquet", range(2), labels=[["cat"], ["dog"]])
    with pytest.raises(UserError, match=r"the label column 'label' of .*b\.parquet holds list<.*, not numbers"):
        source(tmp_path / "b.parquet")


def test_a_row_without_an_image_is_a_bad_sample(tmp_path):
    write(tmp_path / "a.parquet", range(3), bad=(1,))
    split = source(tmp_path / "a.parquet").split("train")
    with pytest.raises(BadSample, match=r"row 1 of a\.parquet: the row holds no sample"):
        split.read(1)
    assert split.read(2).shape == (3, 4, 5)


def test_what_cannot_be_opened_is_told(tmp_path):
    (tmp_path / "bad.parquet").write_text("no parquet")
    (tmp_path / "empty").mkdir()
    pq.write_table(pa.table({"text": ["a"], "image": ["b"]}), tmp_path / "text.parquet")
    for name, message in [
        ("nothing", "nothing does not exist"),
        ("empty", r"empty has no \*\.parquet file"),
        ("bad.parquet", r"cannot read .*bad\.parquet as a parquet file"),
        ("text.parquet", r"no column image or img .* its columns are text \(string\), image \(string\)"),
    ]:
        with pytest.raises(UserError, match=message):
            source(tmp_path / name)


def test_the_real_files(shared_data):
    data = source(shared_data / "cifar10")
    train, test = data.split("train"), data.split("test")
    assert (len(train), len(test)) == (50_000, 10_000) and train.class_names[3] == "cat"
    assert train.labels.bincount().tolist() == [5000] * 10 and test.labels.bincount().tolist() == [1000] * 10
    assert test.read(17).shape == (3, 32, 32) and test.name(17) == "row 17 of test.parquet"

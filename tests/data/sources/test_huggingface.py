"""Data sets of Hugging Face: saved on disk, with splits and labels; by name, where no network is one sentence."""

import io
import pickle
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from PIL import Image

from ssl_zoo.data import BadSample
from ssl_zoo.errors import UserError
from ssl_zoo.recipe.resolve import resolve
from tests.tiny import image_source


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (4, 4), value).save(file, "PNG")
    return file.getvalue()


def made(values: list[int]) -> Any:
    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=["emu", "owl"]))
    rows = {"image": [{"bytes": png(v), "path": None} for v in values], "label": [v % 2 for v in values]}
    return datasets.Dataset.from_dict(rows, features=features)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("saved")
    datasets.disable_progress_bars()
    made([1, 2, 3]).save_to_disk(str(root / "one"))
    datasets.DatasetDict(train=made([1, 2]), validation=made([7])).save_to_disk(str(root / "both"))
    return root


def test_a_saved_data_set_is_found_and_read(saved: Path) -> None:
    for name in ("one", "both"):
        assert resolve(str(saved / name), "image") == {"name": "huggingface", "path": str(saved / name)}
    split = image_source("huggingface", 1, path=str(saved / "one")).split("train")
    assert [int(split.read(i)[0, 0, 0]) for i in range(3)] == [1, 2, 3] and split.class_names == ["emu", "owl"]
    assert split.labels is not None and split.labels.tolist() == [1, 0, 1]
    assert split.name(2) == f"row 2 of train of {saved / 'one'}"
    assert torch.equal(pickle.loads(pickle.dumps(split)).read(1), split.read(1))
    both = image_source("huggingface", 1, path=str(saved / "both"))
    assert int(both.split("test").read(0)[0, 0, 0]) == 7 and "validation is used for it" in both.notes[0]


def test_columns_by_kind_and_rows_without_a_sample(tmp_path: Path) -> None:
    features = datasets.Features(picture=datasets.Image(), other=datasets.Value("int64"))
    rows = {"picture": [{"bytes": png(5), "path": None}, None], "other": [3, 4]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "odd"))
    source = image_source("huggingface", 1, path=str(tmp_path / "odd"), label="other")
    split = source.split("train")
    assert int(split.read(0)[0, 0, 0]) == 5 and split.class_names == ["3", "4"] and "start at 3" in source.notes[0]
    with pytest.raises(BadSample, match="the row holds no sample"):
        split.read(1)
    for options, words in (({"column": "img"}, "no column 'img'"), ({"label": "x"}, "no column 'x'")):
        with pytest.raises(UserError, match=words):
            image_source("huggingface", 1, path=str(tmp_path / "odd"), **options)


def test_what_cannot_be_loaded_is_one_sentence(saved: Path, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "state.json").write_text("{")
    (tmp_path / "dataset_info.json").write_text("{}")
    with pytest.raises(UserError, match="cannot read .* as a data set that save_to_disk wrote"):
        image_source("huggingface", 1, path=str(tmp_path))

    def offline(*arguments: Any, **options: Any) -> Any:
        raise ConnectionError("Couldn't reach 'x/y' on the Hub (OfflineModeIsEnabled)")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(UserError, match="huggingface/x/y cannot be loaded from the hub: .* by save_to_disk.FOLDER."):
        image_source("huggingface/x/y", 1)
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **o: made([4]))
    assert int(image_source("huggingface/x/y", 1).split("train").read(0)[0, 0, 0]) == 4
    assert resolve("huggingface/x/y", "image") == {"name": "huggingface/x/y"}

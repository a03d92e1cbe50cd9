"""Embeddings as a file: they are the encoder's features, every sample once, whatever cannot be read named."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import ssl_zoo
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation import embed as embedding
from ssl_zoo.evaluation.embed import embed

SMALL = [
    "encoder={name: convnet, widths: [4, 6]}", "projector.dims=[8, 8]", "predictor.dims=[4, 8]", "views.size=8",
    "training.batch_size=8", "training.max_steps=2", "evaluation.protocols=[]", "data.num_workers=0",
]  # fmt: skip


def photos(folder: Path, num: int = 20, classes: int = 0) -> Path:
    source = np.random.default_rng(0)
    for i in range(num):
        path = folder / (f"c{i % classes}" if classes else "") / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(source.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embed")
    data = str(photos(folder / "photos"))
    ssl_zoo.train(ssl_zoo.load_recipe("simsiam", SMALL, data=data), out=folder / "run", log=lambda line: None)
    return folder / "run"


def test_the_vectors_are_the_encoders_features_in_the_order_of_the_names(run, tmp_path) -> None:
    found = embed(run, tmp_path / "x" / "features.parquet", log=print)
    table = pq.read_table(found["out"])
    assert table.column_names == ["name", "split", "vector"]  # no labels, and so no column of them
    assert found["num"] == table.num_rows == 20 and found["dims"] == {"vector": 6} and not found["bad"]
    assert set(table["split"].to_pylist()) == {"train"}
    assert json.loads(table.schema.metadata[b"ssl_zoo"])["steps"] == 2
    encoder, card = ssl_zoo.load_encoder(run), json.loads((run / "encoder.json").read_text())
    mean, std = (torch.tensor(card["input"][key]).view(-1, 1, 1) for key in ("mean", "std"))
    for name, vector in zip(table["name"].to_pylist(), table["vector"].to_pylist(), strict=True):
        pixels = torch.from_numpy(np.array(Image.open(run.parent / "photos" / Path(name).name))).permute(2, 0, 1)
        with torch.no_grad():
            h = encoder(((pixels / 255 - mean) / std)[None])[0]
        torch.testing.assert_close(torch.tensor(vector), h, rtol=1e-4, atol=1e-5)


def test_other_data_with_labels_and_an_npz_are_the_same_numbers(run, tmp_path, monkeypatch) -> None:
    data = str(photos(tmp_path / "classes", 12, classes=3))
    monkeypatch.setattr(embedding, "BATCH", 5)  # several chunks
    table = pq.read_table(embed(run, tmp_path / "a.parquet", data=data)["out"])
    arrays = np.load(embed(run, tmp_path / "a.npz", data=data)["out"])
    assert table["class"].to_pylist() == [Path(name).parent.name for name in table["name"].to_pylist()]
    assert arrays["classes"][arrays["label"]].tolist() == table["class"].to_pylist()
    for key in ("name", "split", "label"):
        assert arrays[key].tolist() == table[key].to_pylist()
    assert np.array_equal(arrays["vector"], np.array(table["vector"].to_pylist(), dtype=np.float32))


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_samples_that_cannot_be_read_stop_it_or_are_listed(run, tmp_path, cache) -> None:
    data = photos(tmp_path / "some")
    (data / "05.png").write_bytes(b"no picture")
    out = tmp_path / "features.parquet"
    with pytest.raises(UserError, match="05.png"):
        embed(run, out, data=str(data), overrides=[f"data.cache={cache}"])
    assert not list(tmp_path.glob("features*"))  # nothing half-written
    allowed = [f"data.cache={cache}", "data.on_error=skip", "data.bad_budget=0.1"]
    lines: list[str] = []
    found = embed(run, out, data=str(data), overrides=allowed, log=lines.append)
    assert found["num"] == 19 and len(found["bad"]) == 1 and "1 samples" in lines[0]
    assert "05.png" in (tmp_path / "features.bad_files.txt").read_text()
    (data / "05.png").unlink()
    embed(run, out, data=str(data))
    assert not (tmp_path / "features.bad_files.txt").exists()


@pytest.mark.parametrize("name", ["features.csv", "features"])
def test_another_ending_is_refused_before_anything_is_read(run, tmp_path, name) -> None:
    with pytest.raises(UserError, match=r"\.parquet or \.npz"):
        embed(run, tmp_path / name)
    with pytest.raises(UserError, match="holds no run"):
        embed(tmp_path, tmp_path / "a.parquet")


def test_an_npz_that_does_not_fit_into_memory_is_refused(run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(embedding, "free_bytes", lambda: 100)
    with pytest.raises(UserError, match=r"name a \.parquet file"):
        embed(run, tmp_path / "a.npz")

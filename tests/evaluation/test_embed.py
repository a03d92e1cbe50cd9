"""Embeddings as a file: they are the encoder's features, every sample once, whatever cannot be read named."""

import csv
import importlib
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import ssl_zoo
from ssl_zoo.distributed import collectives
from ssl_zoo.distributed.launch import Processes
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation import encoding
from ssl_zoo.evaluation.embed import embed
from ssl_zoo.evaluation.feature_parts import Parts

embedding = importlib.import_module("ssl_zoo.evaluation.embed")

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
    monkeypatch.setattr(encoding, "BATCH", 5)  # several chunks
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
    with pytest.raises(UserError, match="exists and is not replaced"):
        embed(run, out, data=str(data), overrides=allowed)
    out.unlink()
    (data / "05.png").unlink()
    embed(run, out, data=str(data))
    assert not (tmp_path / "features.bad_files.txt").exists()


@pytest.mark.parametrize("name", ["features.csv", "features"])
def test_another_ending_is_refused_before_anything_is_read(run, tmp_path, name) -> None:
    with pytest.raises(UserError, match=r"\.parquet, \.npz, \.npy"):
        embed(run, tmp_path / name)
    with pytest.raises(UserError, match="holds no run"):
        embed(tmp_path, tmp_path / "a.parquet")


def test_an_npy_is_a_memory_map_with_the_rest_beside_it(run, tmp_path) -> None:
    data = str(photos(tmp_path / "classes", 12, classes=3))
    table = pq.read_table(embed(run, tmp_path / "a.parquet", data=data)["out"])
    x = np.load(embed(run, tmp_path / "b.npy", data=data)["out"], mmap_mode="r")
    assert x.dtype == np.float32 and np.array_equal(x, np.array(table["vector"].to_pylist(), dtype=np.float32))
    rows = list(csv.DictReader((tmp_path / "b.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == table["name"].to_pylist()
    assert [row["class"] for row in rows] == table["class"].to_pylist()
    about = json.loads((tmp_path / "b.json").read_text())["about"]
    assert about == json.loads(table.schema.metadata[b"ssl_zoo"])
    assert about["sha256"] == json.loads((run / "encoder.json").read_text())["sha256"]


@pytest.mark.parametrize("ending", [".parquet", ".npz", ".npy"])
def test_an_interrupted_run_goes_on_and_the_file_is_the_same_to_the_bit(run, tmp_path, monkeypatch, ending) -> None:
    monkeypatch.setattr(encoding, "BATCH", 4)
    data = photos(tmp_path / "some")
    (data / "05.png").write_bytes(b"no picture")
    given = {"data": str(data), "overrides": ["data.on_error=skip", "data.bad_budget=0.1"]}
    embed(run, tmp_path / f"whole{ending}", **given)
    real, out, lines = encoding.Encoding.encode, tmp_path / f"part{ending}", []

    def killed(self, piece):
        if piece.start == 12:
            raise KeyboardInterrupt
        return real(self, piece)

    monkeypatch.setattr(encoding.Encoding, "encode", killed)
    with pytest.raises(KeyboardInterrupt):
        embed(run, out, **given)
    assert not out.exists() and (tmp_path / f"part{ending}.parts").is_dir()
    monkeypatch.setattr(encoding.Encoding, "encode", real)
    found = embed(run, out, **given, log=lines.append)
    assert "3 of 5 parts" in lines[0] and found["num"] == 19 and list(found["bad"]) == [str(data / "05.png")]
    assert out.read_bytes() == (tmp_path / f"whole{ending}").read_bytes()
    assert not (tmp_path / f"part{ending}.parts").exists()


def test_what_an_interrupted_run_left_is_not_mixed_with_other_vectors(run, tmp_path, monkeypatch) -> None:
    def killed(self, piece):
        raise KeyboardInterrupt

    out, data = tmp_path / "a.parquet", photos(tmp_path / "some", 4)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(encoding.Encoding, "encode", killed)
        embed(run, out, data=str(data))
    state = tmp_path / "a.parquet.parts" / "state.json"
    left = state.read_text()
    for key, word in (("sha256", "another encoder"), ("views", r"other settings \(views\)")):
        state.write_text(json.dumps({**json.loads(left), key: "0"}))
        with pytest.raises(UserError, match=f"{word}.*not mixed.*remove .*a.parquet.parts"):
            embed(run, out, data=str(data))
    state.write_text(left[:50])
    with pytest.raises(UserError, match="state.json: is damaged; remove"):
        embed(run, out, data=str(data))
    state.write_text(left)
    with pytest.raises(UserError, match="other data"):
        embed(run, out, data=str(photos(tmp_path / "more", 5)))
    (tmp_path / "a.parquet.parts" / "00000.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match="00000.npz: is damaged"):
        embed(run, out, data=str(data))
    (tmp_path / "a.parquet.parts" / "00000.npz").unlink()
    assert embed(run, out, data=str(data))["num"] == 4


def test_processes_share_the_pieces_and_the_file_is_that_of_one(run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(encoding, "BATCH", 3)
    embed(run, tmp_path / "one.npz")
    done: dict[int, list[int]] = {0: [], 1: []}
    write = Parts.write
    for rank in done:  # one after the other, and so the first does not find what the second one is to do
        with monkeypatch.context() as patch:
            patch.setattr(embedding, "launch", lambda hardware, size: Processes(torch.device("cpu"), 2))
            patch.setattr(collectives, "rank", lambda rank=rank: rank)
            patch.setattr(Parts, "write", lambda self, i, part, to=done[rank]: (to.append(i), write(self, i, part)))
            if rank == 0:
                with pytest.raises(UserError, match="00001.npz: cannot be read"):
                    embed(run, tmp_path / "two.npz")
            else:
                assert embed(run, tmp_path / "two.npz") == {}
    assert done == {0: [0, 2, 4, 6], 1: [1, 3, 5]}
    embed(run, tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()

"""Shards: what is written is what is read, in one order however it is read, whatever breaks off; damage is named."""

import io
import json
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import Tensor

from ssl_zoo.batch import InputSpec, ViewSpec
from ssl_zoo.data import BadSample, Loader, load
from ssl_zoo.data.bad_samples import BadData
from ssl_zoo.data.contents import contents_of
from ssl_zoo.data.identity import identity
from ssl_zoo.data.layout.array_cell import pack, unpack
from ssl_zoo.data.open import build_source
from ssl_zoo.data.paired import PairedModality
from ssl_zoo.data.source import Split, ViewPolicy
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation import split_shards
from ssl_zoo.evaluation.data_report import check_data
from ssl_zoo.evaluation.sharding import shard_data
from ssl_zoo.evaluation.split_shards import Layout
from ssl_zoo.methods.build import make_modality
from ssl_zoo.recipe.resolve import open_encoded, open_source, resolve
from tests.tiny import image_source

NUM, SHARDS, ROWS = 2000, 10, 20
STEPS = NUM // 48 + 19
"""Into the second epoch."""


def picture(i: int) -> bytes:
    """Return a grey image of 2 x 2 pixels whose first two say its number."""
    file = io.BytesIO()
    Image.fromarray(np.array([[i // 256, i % 256], [7, 9]], np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    for i in range(NUM + 100):
        path = root / ("train" if i < NUM else "test") / f"class-{i % 5}" / f"{i:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(i))
    return root


@pytest.fixture(scope="module")
def shards(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shards") / "out"
    report = shard_data(str(folder), out, modality="image", layout=Layout(shards=SHARDS, row_group=ROWS))
    assert report["splits"]["train"] | {"bytes": 0} == {"samples": NUM, "shards": 10, "row_groups": 100, "bytes": 0}
    assert report["left_out"] == {}
    return out


def opened(path: Any, split: str = "train", **options: Any) -> Any:
    return image_source("shards", 1, path=str(path), **options).split(split)


def number(sample: Tensor) -> int:
    return 256 * int(sample[0, 0, 0]) + int(sample[0, 0, 1])


class Numbers(ViewPolicy):
    """The number in each image, and one that is drawn."""

    def draw(self, generator: torch.Generator, num: int) -> dict[str, Tensor]:
        return {"u": torch.rand(num, generator=generator)}

    def collate(self, samples: Any, params: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"number": torch.tensor([number(sample) for sample in samples]), **params}


def stream(split: Split, start: int = 0, stop: int = STEPS, **options: Any) -> list[list[tuple[int, float]]]:
    """Return for each step the numbers of the images and what was drawn for them."""
    loader = Loader(split, Numbers(), **{"batch_size": 48, "seed": 0, **options})
    return [
        [pair for batch in step for pair in zip(*(batch.payload[key].tolist() for key in ("number", "u")), strict=True)]
        for step in loader.iterate(start, stop)
    ]


@pytest.fixture(scope="module")
def whole(shards: Path) -> list[list[tuple[int, float]]]:
    return stream(opened(shards))


# ---- what is written -------------------------------------------------------------------------------------------------


def test_samples_labels_and_names_are_those_of_the_source(folder: Path, shards: Path) -> None:
    assert resolve(str(shards), "image") == {"name": "shards", "path": str(shards)}
    for name, num in (("train", NUM), ("test", 100)):
        split, source = opened(shards, name), image_source("folder", 1, path=str(folder)).split(name)
        assert len(split) == num and split.class_names == source.class_names
        found = [number(split.read(i)) for i in range(num)]
        assert sorted(found) == [number(source.read(i)) for i in np.argsort([int(Path(p).stem) for p in source.names])]
        assert split.labels.tolist() == [each % 5 for each in found]
        assert [Path(split.name(i)).stem for i in range(num)] == [f"{each:04d}" for each in found]
        assert len({split.name(i) for i in range(num)}) == num
    assert found != sorted(found)  # in a random order
    copy = pickle.loads(pickle.dumps(split))
    assert torch.equal(copy.read(7), split.read(7)) and len(pickle.dumps(split)) < 20_000


def test_files_are_those_of_hugging_face_with_bytes_as_they_were(shards: Path) -> None:
    files = sorted(shards.glob("train-*.parquet"))
    assert [file.name for file in files] == [f"train-{i:05d}.parquet" for i in range(SHARDS)]
    table = pq.read_table(files[3])
    rows = table.column("image").to_pylist()
    for row, label in zip(rows, table.column("label").to_pylist(), strict=True):
        i = int(Path(row["path"]).stem)
        assert row["bytes"] == picture(i) and label == i % 5
    assert pq.ParquetFile(files[3]).metadata.num_row_groups == NUM // SHARDS // ROWS
    shutil.copy(files[3], shards.parent / "train-alone.parquet")
    alone = image_source("parquet", 1, path=str(shards.parent / "train-alone.parquet")).split("train")
    assert alone.class_names == [f"class-{i}" for i in range(5)] and number(alone.read(0)) == int(
        Path(rows[0]["path"]).stem
    )


def test_an_interrupted_one_goes_on_and_gives_the_same_files(
    folder: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, calls = Layout(shards=SHARDS, row_group=ROWS), []

    def describe(path: Path) -> dict[str, Any]:
        calls.append(path.name)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return split_shards_describe(path)

    split_shards_describe = split_shards.describe_shard
    monkeypatch.setattr(split_shards, "describe_shard", describe)
    with pytest.raises(KeyboardInterrupt):
        shard_data(str(folder), tmp_path / "out", modality="image", layout=layout)
    part = tmp_path / "out.part"
    assert not (tmp_path / "out").exists() and part.is_dir()
    with pytest.raises(UserError, match=r"out\.part: is what an interrupted `data shard` with another layout left"):
        shard_data(str(folder), tmp_path / "out", modality="image", layout=Layout(shards=SHARDS))
    calls[:] = ["", "", "", "", "", ""]
    shard_data(str(folder), tmp_path / "out", modality="image", layout=layout)
    assert calls[6] == "train-00004.parquet" and len(calls) == 6 + 16  # of 20 shards, 4 were there
    assert not part.exists()
    names = sorted(file.name for file in shards.iterdir())
    assert names == sorted(file.name for file in (tmp_path / "out").iterdir()) and len(names) == 23
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (shards / name).read_bytes(), name
    with pytest.raises(UserError, match="exists; name a new folder"):
        shard_data(str(folder), tmp_path / "out", modality="image", layout=layout)


def test_by_size_with_the_order_of_the_source_and_a_sample_left_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "few.zip", "w") as archive:
        for i in range(60):
            archive.writestr(f"class-{i % 2}/{i:04d}.png", picture(i))
    data = (tmp_path / "few.zip").read_bytes()
    place = data.index(picture(7))
    (tmp_path / "few.zip").write_bytes(data[: place + 20] + b"?" + data[place + 21 :])
    layout = Layout(shard_bytes=15 * len(picture(0)), row_group=4, seed=None)
    with pytest.raises(UserError, match="cannot read .*0007.png: damaged in the archive"):
        shard_data(str(tmp_path / "few.zip"), tmp_path / "out", modality="image", layout=layout)
    layout = replace(layout, on_error="skip")
    report = shard_data(str(tmp_path / "few.zip"), tmp_path / "skipped", modality="image", layout=layout)
    assert list(report["left_out"]) == [str(tmp_path / "few.zip/class-1/0007.png")]
    assert report["splits"]["train"]["shards"] == 4 and report["splits"]["train"]["samples"] == 59
    source = image_source("shards", 1, path=str(tmp_path / "skipped"))
    split = source.split("train")
    found = [number(split.read(i)) for i in range(59)]
    assert found == [*range(0, 60, 2), *(i for i in range(1, 60, 2) if i != 7)]
    assert split.labels.tolist() == [each % 2 for each in found]
    assert "1 samples of the source could not be read" in source.notes[-1]


@pytest.mark.parametrize("stored", [["one", "two words"] * 30, [["a", "b"], ["c"]] * 30, [b"bytes", b"of it"] * 30])
def test_texts(stored: list[Any], tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": stored, "label": [i % 3 for i in range(60)]}), tmp_path / "texts.parquet")
    shard_data(
        str(tmp_path / "texts.parquet"), tmp_path / "out", modality="text", layout=Layout(compression="zstd", seed=3)
    )
    split = open_source(str(tmp_path / "out"), (), None, "text")[0].split("train")
    source = open_source(str(tmp_path / "texts.parquet"), (), None, "text")[0].split("train")
    assert sorted(map(str, (split.read(i) for i in range(60)))) == sorted(map(str, (source.read(i) for i in range(60))))
    rows = [int(split.name(i).rpartition("row ")[2].split()[0]) for i in range(60)]
    assert [str(split.read(i)) for i in range(60)] == [str(source.read(row)) for row in rows]
    assert split.labels.tolist() == [row % 3 for row in rows]


def test_shards_of_shards(shards: Path, tmp_path: Path) -> None:
    shard_data(str(shards), tmp_path / "again", modality="image", layout=Layout(shards=3, seed=9))
    split = opened(tmp_path / "again")
    assert sorted(number(split.read(i)) for i in range(NUM)) == list(range(NUM))


def test_tensors(tmp_path: Path) -> None:
    few = {"placements": 1, "canvas": 8, "min_size": 8.0, "max_size": 8.0}
    how = [f"data.source.{key}={value}" for key, value in few.items()]
    shard_data("digits", tmp_path / "out", how, channels=1, layout=Layout(shards=2, seed=None))
    digits = image_source("digits", 1, **few)
    for name in ("train", "test"):
        split, source = opened(tmp_path / "out", name), digits.split(name)
        assert len(split) == len(source) and torch.equal(split.labels, source.labels)
        assert all(torch.equal(split.read(i), source.read(i)) for i in range(0, len(source), 50))
    encoded = open_encoded(str(tmp_path / "out"), (), "image")[0].split("train")
    assert torch.equal(encoded.read(0), digits.split("train").read(0))


def test_arrays_come_back_as_they_were_and_nothing_else_is_read() -> None:
    for x in (
        torch.arange(6.0).reshape(2, 3).T,
        torch.tensor(7),
        torch.zeros(0, 4, dtype=torch.int16),
        torch.ones(2) > 0,
    ):
        back = unpack(pack(x, "x"), "x")
        assert torch.equal(back, x) and back.dtype == x.dtype
    with pytest.raises(UserError, match="x: is of torch.bfloat16"):
        pack(torch.zeros(2, dtype=torch.bfloat16), "x")
    file = io.BytesIO()
    np.save(file, np.array([{}], dtype=object), allow_pickle=True)
    good = pack(torch.zeros(4), "x")
    for lie in (b"", b"\x93NUMPY", file.getvalue(), good[:-1], good + b"x", good.replace(b"(4,)", b"(-4,)"[:4] + b" ")):
        with pytest.raises(BadSample, match="x: "):
            unpack(lie, "x")


class Pairs:
    """Images with texts, of which one image cannot be decoded."""

    members = {"image": "image", "text": "text"}

    def __init__(self, root: Path) -> None:
        for i in range(40):
            folder = root / "pairs" / ("train" if i < 30 else "test") / f"class-{i % 2}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{i:02d}.png").write_bytes(picture(i) if i != 4 else b"none")
            (folder / f"{i:02d}.txt").write_text(f"number {i}")
        layout = Layout(shards=2, row_group=5)
        shard_data(str(root / "pairs"), root / "out", modality="image,text", layout=layout)
        self.path = root / "out"

    def modality(self) -> PairedModality:
        image, text = (InputSpec(name, (ViewSpec("global", (1, 2, 2)),)) for name in self.members)
        spec = InputSpec("image + text", (*image.views, *text.views), members=(("image", image), ("text", text)))
        return PairedModality(spec, {"image": make_modality(image, {}), "text": make_modality(text, {})})

    def split(self, name: str = "train") -> Any:
        return build_source("shards", {"path": str(self.path)}, self.modality()).split(name)


def test_pairs(tmp_path: Path) -> None:
    pairs = Pairs(tmp_path)
    assert resolve(str(pairs.path), Pairs.members) == {"name": "shards", "path": str(pairs.path)}
    split = pairs.split()
    assert len(split) == 30 and len(pairs.split("test")) == 10 and split.class_names == ["class-0", "class-1"]
    bad = [i for i in range(30) if "/04." in split.name(i)]
    found = {}
    for i in set(range(30)) - set(bad):
        sample = split.read(i)
        found[number(sample["image"])] = sample["text"]
        assert split.labels[i] == number(sample["image"]) % 2
    assert found == {i: (f"number {i}",) for i in range(30) if i != 4} and len(bad) == 1
    with pytest.raises(BadSample, match=r"cannot read \S+train-0000\d.parquet/.*04.*: image: "):
        split.read(bad[0])
    assert pickle.loads(pickle.dumps(split)).read(0)["text"] == split.read(0)["text"]
    alone = opened(pairs.path)  # one member of them
    assert torch.equal(alone.read(bad[0] - 1), split.read(bad[0] - 1)["image"]) and alone.name(3) == split.name(3)
    shard_data(str(pairs.path), tmp_path / "again", modality="image,text", layout=Layout(shards=1, seed=2))
    assert len(list((tmp_path / "again").glob("train-*.parquet"))) == 1
    for asked, words in (
        ("audio", r"holds samples of image \(image\) and text \(text\), and the views are of 'audio'"),
        ("image,audio", "the views have the member 'audio' of the modality 'audio'"),
        ("image,image", "names 'image' twice"),
        ("image,txt", "there is no modality 'txt'; did you mean 'text'"),
    ):
        with pytest.raises(UserError, match=words):
            shard_data(str(pairs.path), tmp_path / "no", modality=asked)
    assert not list(tmp_path.glob("no*"))


# ---- the order -------------------------------------------------------------------------------------------------------


def test_one_two_and_four_processes_read_the_same_samples_in_the_same_order(shards: Path, whole: Any) -> None:
    for k in (2, 4):
        ranks = [stream(opened(shards), rank=rank, num_ranks=k) for rank in range(k)]
        for step, parts in enumerate(zip(*ranks, strict=True)):
            assert [each for part in parts for each in part] == whole[step]
    assert stream(opened(shards), 0, 20, num_workers=2) == whole[:20]
    for first in (0, NUM // 48):
        epoch = [number for step in whole[first : first + NUM // 48] for number, _ in step]
        assert len(set(epoch)) == len(epoch)


def _train(path: str, start: int, sent: Any) -> None:
    """Send each step, until this process is killed."""
    for step, pairs in enumerate(stream_of(path, start), start):
        sent.send((step, pairs))


def stream_of(path: str, start: int) -> Any:
    loader = Loader(opened(path), Numbers(), batch_size=48, seed=0)
    for [batch] in loader.iterate(start, STEPS):
        yield list(zip(*(batch.payload[key].tolist() for key in ("number", "u")), strict=True))


def test_killed_at_random_points_and_resumed_it_reads_the_same_samples(shards: Path, whole: Any) -> None:
    points = random.Random(1).sample(range(1, STEPS), 20)
    context = multiprocessing.get_context("fork")
    for point in points[:2]:
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_train, args=(str(shards), 0, there))
        process.start()
        there.close()
        for step in range(point):
            assert here.recv() == (step, whole[step])
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        here.close()
        assert process.exitcode == -signal.SIGKILL
        assert stream(opened(shards), point) == whole[point:]
    for point in points[2:]:
        assert stream(opened(shards), point, point + 2) == whole[point : point + 2]


def test_moved_shards_are_the_same_and_others_are_not(shards: Path, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(shards, tmp_path / "moved")
    shard_data(str(folder), tmp_path / "other", modality="image", layout=Layout(shards=SHARDS, row_group=ROWS, seed=1))
    one, moved, other = (
        identity(split, contents_of(split))
        for split in (opened(each) for each in (shards, tmp_path / "moved", tmp_path / "other"))
    )
    assert one == moved and one != other and one["samples"] == NUM
    kept = load(opened(shards), "memory")
    assert identity(kept, contents_of(opened(shards))) == one
    assert stream(kept, 0, 5) == stream(opened(shards), 0, 5)


def test_memory_is_bounded_by_what_is_stated(shards: Path) -> None:
    source = image_source("shards", 1, path=str(shards), streams=2, held=1)
    assert "holds up to 5" in source.notes[0]
    split, before = source.split("train"), pa.total_allocated_bytes()
    group = max(pq.ParquetFile(file).metadata.row_group(0).total_byte_size for file in shards.glob("train-*.parquet"))
    most = 0
    for _ in Loader(split, Numbers(), batch_size=40, seed=0).iterate(0, NUM // 40):
        most = max(most, pa.total_allocated_bytes() - before)
    assert 0 < most <= 5 * 2 * group


# ---- damage ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def copy(shards: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shards, tmp_path / "copy"))


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0xFF
    path.write_bytes(data)


def group_of(path: Path, shard: str, place: int) -> list[int]:
    index = json.loads((path / "shards.json").read_text())
    return next(each for each in index["splits"]["train"]["shards"] if each["file"] == shard)["groups"][place]


def test_a_row_group_with_a_wrong_checksum_is_named_and_skipped(copy: Path, whole: Any) -> None:
    rows, start, size, _ = group_of(copy, "train-00004.parquet", 3)
    flip(copy / "train-00004.parquet", start + size // 2)
    split = opened(copy)
    bad = {i for i in range(NUM) if split.name(i).startswith("row ")}
    assert bad == set(range(4 * 200 + 60, 4 * 200 + 80)) and rows == ROWS
    with pytest.raises(
        BadSample,
        match=r"cannot read row 60 of \S+/train-00004.parquet: row group 3 of train-00004.parquet: its checksum is",
    ):
        split.read(860)
    how: Any = {"batch_size": 48, "seed": 0, "on_error": "skip", "bad_budget": 0.01}
    loader = Loader(load(split, "none", "skip", 0.01), Numbers(), **how)
    seen = [batch.payload["number"].tolist() for [batch] in loader.iterate(0, NUM // 48)]
    assert 0 < len(loader.bad) <= 20 and all("train-00004.parquet" in name for name in loader.bad)
    good = [[number for number, _ in step] for step in whole[: NUM // 48]]
    others = [(one, other) for pair in zip(seen, good, strict=True) for one, other in zip(*pair, strict=True)]
    assert sum(one != other for one, other in others) == len(loader.bad)  # each in its place, and nothing else
    first = next(step for step, pair in enumerate(zip(seen, good, strict=True)) if pair[0] != pair[1])
    ranks = [stream(opened(copy), first, first + 4, rank=rank, num_ranks=2, **how) for rank in (0, 1)]
    parts = [[number for part in parts for number, _ in part] for parts in zip(*ranks, strict=True)]
    assert parts == seen[first : first + 4]
    for how in ({"on_error": "raise"}, {"on_error": "skip", "bad_budget": 0.001}):
        with pytest.raises(BadData, match="row group 3 of train-00004.parquet: its checksum is wrong"):
            for _ in Loader(opened(copy), Numbers(), batch_size=48, seed=0, **how).iterate(0, NUM // 48):  # type: ignore[arg-type]
                pass
    report, _ = check_data(str(copy), (), channels=1, modality="image")
    assert report["train"]["num_bad"] == 20 and report["test"]["num_bad"] == 0


@pytest.mark.parametrize("fault", ["gone", "cut", "footer"])
def test_a_shard_that_is_missing_or_cut_short(copy: Path, fault: str) -> None:
    file = copy / "train-00007.parquet"
    if fault == "gone":
        file.unlink()
    elif fault == "cut":
        file.write_bytes(file.read_bytes()[:1000])
    else:
        flip(file, file.stat().st_size - 20)
    reason = {
        "gone": "it is not there",
        "cut": "it has 1000 bytes, and should have",
        "footer": "its checksum is wrong",
    }[fault]
    if fault != "footer":
        note = image_source("shards", 1, path=str(copy)).notes[-1]
        assert f"1 of the 10 shards of train cannot be read, for example train-00007.parquet: {reason}" in note
        with pytest.raises(BadData, match=f"cannot read row 0 of .*train-00007.parquet: {reason}.*; correct or"):
            load(opened(copy), "none")
        with pytest.raises(BadData, match="2 of 2000 samples cannot be read and data.bad_budget=0.0005 allows 1"):
            load(opened(copy), "none", "skip", 0.0005)
    loaded = load(opened(copy), "memory", "skip", 0.1)
    assert len(loaded) == NUM - 200 and len(loaded.bad) == 200 and loaded.blocks.sizes.sum() == len(loaded)
    assert all("train-00007.parquet" in name and (reason in why or fault in why) for name, why in loaded.bad.items())


def test_a_pipe_is_not_waited_for(copy: Path) -> None:
    (copy / "train-00000.parquet").unlink()
    os.mkfifo(copy / "train-00000.parquet")
    with pytest.raises(BadSample, match="row group 0 of train-00000.parquet: it is no regular file"):
        opened(copy).read(3)


def lies() -> dict[str, Any]:
    def change(*keys: Any) -> Any:
        def apply(index: Any, value: Any) -> None:
            for key in keys[:-1]:
                index = index[key]
            index[keys[-1]] = value

        return apply

    shard = "splits", "train", "shards", 0
    return {
        "rows": (change(*shard, "groups", 0, 0), 10**9),
        "many": (change(*shard, "groups", 0, 0), 99_999),
        "start": (change(*shard, "groups", 1, 1), 2**61),
        "size": (change(*shard, "groups", 0, 2), 2**40),
        "negative": (change(*shard, "groups", 0, 1), -5),
        "sum": (change(*shard, "rows"), 7),
        "samples": (change("splits", "train", "samples"), 10**15),
        "bytes": (change(*shard, "bytes"), True),
        "elsewhere": (change(*shard, "file"), "../../etc/passwd"),
        "twice": (change(*shard, "file"), "train-00001.parquet"),
        "labels": (change("splits", "train", "labels"), {"file": "train-00000.parquet", "crc32": 1}),
        "no train": (change("splits"), {}),
        "kind": (change("kind"), "pickle"),
        "classes": (change("classes"), [1, 2]),
        "few classes": (change("classes"), ["a"]),
        "modality": (change("modality"), "audio"),
        "version": (change("version"), 2),
        "format": (change("format"), "tar"),
        "group": (change(*shard, "groups", 0), [1, 2]),
        "float": (change("left_out"), 1.5),
    }


@pytest.mark.parametrize("lie", lies())
def test_an_index_that_lies(copy: Path, lie: str) -> None:
    change, value = lies()[lie]
    index = json.loads((copy / "shards.json").read_text())
    change(index, value)
    (copy / "shards.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"shards\.json|trainlabels\.npy|train-00000\.parquet|modality|copy") as error:
        image_source("shards", 1, path=str(copy))
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


def test_an_index_with_other_counts_than_the_shards(copy: Path) -> None:
    """It fits in itself and not to the files."""
    index = json.loads((copy / "shards.json").read_text())
    group = index["splits"]["train"]["shards"][0]["groups"]
    group[0][0], group[1][0] = 19, 21
    (copy / "shards.json").write_text(json.dumps(index))
    split = opened(copy)
    for i, rows in ((0, 19), (30, 21)):
        with pytest.raises(BadSample, match=f"it has 20 rows, not {rows}"):
            split.read(i)


@pytest.mark.parametrize("text", ["", "[", "[]", "{}", "[" * 100_000, '{"format": "ssl_zoo shards", "version": 1}'])
def test_an_index_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "shards.json").write_text(text)
    with pytest.raises(UserError, match=r"shards\.json"):
        image_source("shards", 1, path=str(tmp_path))

"""Tar archives: groups by name, labels in them, splits by their names, random access, archives that are damaged."""

import io
import os
import pickle
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from ssl_zoo.data import BadSample, Loader, load
from ssl_zoo.data.layout.shards import expand
from ssl_zoo.data.source import ViewPolicy
from ssl_zoo.errors import UserError
from ssl_zoo.recipe.resolve import resolve
from tests.tiny import image_source


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (4, 4), value).save(file, "PNG")
    return file.getvalue()


def archive(path: Path, members: dict[str, bytes], mode: Any = "w") -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def shard(path: Path, first: int, num: int = 3, label: bool = True) -> Path:
    members: dict[str, bytes] = {}
    for i in range(first, first + num):
        members[f"{i:04d}.png"] = png(i)
        members[f"{i:04d}.txt"] = b"a caption"
        if label:
            members[f"{i:04d}.cls"] = str(i % 2 + 1).encode()
    return archive(path, members)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shards")
    for number in range(2):
        shard(root / f"birds-train-{number:03d}.tar", 10 * number)
    shard(root / "birds-val-000.tar", 50, 2)
    return root


def values(split: Any) -> list[int]:
    return [int(split.read(i)[0, 0, 0]) for i in range(len(split))]


def test_a_folder_of_archives(root: Path) -> None:
    assert resolve(str(root), "image") == {"name": "webdataset", "path": str(root)}
    source = image_source("webdataset", 1, path=str(root))
    train, test = source.split("train"), source.split("test")
    assert values(train) == [0, 1, 2, 10, 11, 12] and values(test) == [50, 51]
    assert train.labels.tolist() == [0, 1, 0, 0, 1, 0] and train.class_names == ["1", "2"]
    assert (
        train.name(4) == str(root / "birds-train-001.tar/0011.png") and train.names[4] == "birds-train-001.tar/0011.png"
    )
    assert list(train.sizes())[0] == len(png(0))
    copy = pickle.loads(pickle.dumps(train))
    assert torch.equal(copy.read(5), train.read(5))


def test_braces(root: Path) -> None:
    path = str(root / "birds-train-{000..001}.tar")
    assert resolve(path, "image") == {"name": "webdataset", "path": path}
    source = image_source("webdataset", 1, path=path, test=["*/00?2.png"])
    assert values(source.split("train")) == [0, 1, 10, 11] and values(source.split("test")) == [2, 12]
    assert expand("a-{08..11}.{x,y}") == [f"a-{n}.{e}" for n in ("08", "09", "10", "11") for e in "xy"]
    with pytest.raises(UserError, match=r"3 of the 5 archives .* do not exist: \S+002.tar, \S+003.tar, \S+004.tar"):
        image_source("webdataset", 1, path=str(root / "birds-train-{000..004}.tar"))
    for text, words in (("{0..999999999}.tar", "more than 100000 files"), ("{5..2}.tar", "count backwards")):
        with pytest.raises(UserError, match=words):
            expand(text)


def test_one_archive_of_a_folder(tmp_path: Path) -> None:
    members = {
        f"{split}/{kind}/{i}.png": png(i) for split in ("train", "test") for kind in ("owl", "emu") for i in (1, 2)
    }
    source = image_source("webdataset", 1, path=str(archive(tmp_path / "birds.tar", members)))
    assert source.splits == ("train", "test") and source.split("test").class_names == ["emu", "owl"]
    assert source.split("train").name(0) == str(tmp_path / "birds.tar/train/emu/1.png")
    pattern = image_source("webdataset", 1, path=str(tmp_path / "birds.tar"), label_pattern=r"(?P<label>\d)")
    assert pattern.split("train").class_names == ["1", "2"]


def test_labels_in_json_and_hidden_files(tmp_path: Path) -> None:
    members = {"a.png": png(1), "a.json": b'{"label": 7}', "b.png": png(2), "b.json": b"[", "._b.png": b"mac",
               "a.jpg": png(9), "c.cls": b"3"}  # fmt: skip
    source = image_source("webdataset", 1, path=str(archive(tmp_path / "x.tar", members)))
    split = source.split("train")
    assert split.labels.tolist() == [0, -1] and split.class_names == ["7"] and values(split) == [1, 2]
    assert any("1 files are not used" in note for note in source.notes)


@pytest.mark.parametrize("inside", [False, True])
def test_an_archive_that_is_cut_short(tmp_path: Path, inside: bool) -> None:
    """In a file, which is a bad sample then; or in a header, before which all is there."""
    path = archive(tmp_path / "cut.tar", {f"{i}.png": png(i) for i in range(9)})
    step = 1024  # a header, and a file of less than a block
    path.write_bytes(path.read_bytes()[: 5 * step + (512 + 20 if inside else 100)])
    source = image_source("webdataset", 1, path=str(path))
    split = source.split("train")
    assert len(split) == 5 + inside and any("cut short" in note and str(path) in note for note in source.notes)
    if inside:
        with pytest.raises(BadSample, match="the archive is cut short in it"):
            split.read(5)
        kept = load(split, "memory", on_error="skip", bad_budget=0.2)
        assert len(kept) == 5 and list(kept.bad) == [str(path / "5.png")]


def test_what_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_bytes(b"no archive" * 100)
    archive(tmp_path / "packed.tar", {"a.png": png(1)}, "w:gz")
    archive(tmp_path / "none.tar", {"a.txt": b"a"})
    for name, words in (
        ("text.tar", "cannot be read as a tar archive"),
        ("packed.tar", "without compression .*unpack it by gunzip"),
        ("none.tar", "no archive holds a file of the modality 'image'"),
    ):
        with pytest.raises(UserError, match=words):
            image_source("webdataset", 1, path=str(tmp_path / name))
    with pytest.raises(UserError, match="the data path does not exist: gone.tar"):
        image_source("webdataset", 1, path="gone.tar")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two archives of as many samples as it takes for an index to be kept."""
    folder = tmp_path_factory.mktemp("large")
    for number in range(2):
        members = {f"{i:04d}.png": png(i % 256) for i in range(1000 * number, 1000 * (number + 1))}
        archive(folder / f"train-{number}.tar", members)
    return folder


@pytest.mark.parametrize("keep", ["cache", "beside"])
def test_the_index_of_an_archive_is_kept(
    large: Path, tmp_path: Path, keep: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "copy"
    shutil.copytree(large, folder)
    first = image_source("webdataset", 1, path=str(folder), index=keep).split("train")
    at = folder if keep == "beside" else tmp_path / "cache"
    kept = sorted(at.rglob("*.json"))
    assert len(kept) == 2
    file = folder / "train-1.tar"
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    data = bytearray(file.read_bytes())
    data[:512] = b"?" * 512  # its first header: it can no longer be indexed
    file.write_bytes(data)
    with pytest.raises(UserError, match="cannot be read as a tar archive"):
        image_source("webdataset", 1, path=str(folder), index=keep)  # it was changed
    os.utime(file, ns=times)
    again = image_source("webdataset", 1, path=str(folder), index=keep).split("train")
    assert list(again.names) == list(first.names) and len(again) == 2000
    assert [int(again.read(i)[0, 0, 0]) for i in (0, 999, 1000, 1999)] == [0, 999 % 256, 1000 % 256, 1999 % 256]
    for broken in (b"", b"[", kept[1].read_bytes().replace(b'"offsets": [', b'"offsets": [-7, ', 1)):
        kept[1].write_bytes(broken)
        kept[0].write_bytes(broken)
        with pytest.raises(UserError, match="cannot be read as a tar archive"):  # the index is not believed
            image_source("webdataset", 1, path=str(folder), index=keep)
    with pytest.raises(UserError, match="cannot be read as a tar archive"):
        image_source("webdataset", 1, path=str(folder), index="none")


def test_blocks_of_an_archive(large: Path) -> None:
    def indices(start: int, stop: int, **options: Any) -> list[list[int]]:
        split = image_source("webdataset", 1, path=str(large), index="none", **options).split("train")
        made = Loader(split, Nothing(), batch_size=100, seed=0)
        return [batch.index.tolist() for [batch] in made.iterate(start, stop)]

    whole = indices(0, 25, block=64, streams=4)
    assert sorted(i for batch in whole[:20] for i in batch) == list(range(2000))
    assert indices(13, 25, block=64, streams=4) == whole[13:]
    blocks = image_source("webdataset", 1, path=str(large), index="none", block=64).split("train").blocks
    assert blocks.sizes.sum() == 2000 and 1000 in blocks.sizes.cumsum() and blocks.sizes.max() <= 64
    assert max(len({i // 64 for i in batch}) for batch in whole) <= 4 * 3 * 2
    assert max(len({i // 64 for i in batch}) for batch in indices(0, 1)) > 28  # without blocks, anywhere


class Nothing(ViewPolicy):
    def draw(self, generator: torch.Generator, num: int) -> dict[str, torch.Tensor]:
        return {}

    def collate(self, samples: Any, params: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {}

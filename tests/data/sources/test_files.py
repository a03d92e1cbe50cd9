"""Images in folders and zip archives."""

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_zoo.data import BadSample, Loader, MemorySplit, Split, check_source, load
from ssl_zoo.data.source import ViewPolicy
from ssl_zoo.errors import UserError
from tests.tiny import image_modality, image_source

KINDS = {"grey": ("L", ".png"), "colour": ("RGB", ".JPG"), "clear": ("RGBA", ".png"), "deep": ("I;16", ".tif")}


class Corner(ViewPolicy):
    """A policy that keeps the upper left pixel."""

    def draw(self, generator, num):
        return {"u": torch.rand(num, generator=generator)}

    def collate(self, samples, params):
        return {"corner": torch.stack([sample[:, 0, 0] for sample in samples]), **params}


def draw(path: Path, seed: int, mode: str = "L", size: tuple[int, int] = (6, 5)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = np.random.default_rng(seed)
    depth = {"L": (), "RGB": (3,), "RGBA": (4,), "I;16": ()}[mode]
    high, dtype = (65536, np.uint16) if mode == "I;16" else (256, np.uint8)
    Image.fromarray(numbers.integers(0, high, (*size, *depth), dtype=dtype)).save(path)


@pytest.fixture
def mixed(tmp_path) -> Path:
    """Two classes and two splits of images of all kinds and sizes, and some files that are no images."""
    root = tmp_path / "images"
    for s, split in enumerate(("train", "test")):
        for c, label in enumerate(("cat", "dog")):
            for k, (kind, (mode, extension)) in enumerate(KINDS.items()):
                draw(root / split / label / f"{kind}{extension}", 100 * s + 10 * c + k, mode, (4 + k, 7 - c))
    (root / "README.txt").write_text("not an image")
    (root / "train" / ".hidden.png").touch()
    return root


def zipped(root: Path, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    path = root.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in root.rglob("*"):
            archive.write(file, file.relative_to(root.parent))
    return path


def source(name: str, path: Path, channels: int = 3, **options):
    return image_source(name, channels, path=str(path), **options)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_folder_of_all_kinds_of_images(mixed, channels):
    data = source("folder", mixed, channels)
    assert data.splits == ("train", "test")
    split = data.split("train")
    assert isinstance(split, Split) and len(split) == 8
    assert split.class_names == ["cat", "dog"] and split.labels.tolist() == [0] * 4 + [1] * 4
    assert split.labels.dtype == torch.int64
    for i in range(8):
        image = split.read(i)
        with Image.open(split.name(i)) as file:
            assert image.shape == (channels, file.height, file.width) and image.dtype == torch.uint8
    assert Path(split.name(0)) == mixed / "train/cat/clear.png"
    assert check_source(split, image_modality())["num_bad"] == 0


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_equals_its_folder(mixed, compression):
    archive, folder = source("zip", zipped(mixed, compression)), source("folder", mixed)
    assert archive.splits == folder.splits
    for name in folder.splits:
        a, b = archive.split(name), folder.split(name)
        assert len(a) == len(b) and torch.equal(a.labels, b.labels) and a.class_names == b.class_names
        for i in range(len(a)):
            assert torch.equal(a.read(i), b.read(i))
            assert a.name(i).split(".zip/")[1] == str(Path(b.name(i)).relative_to(mixed.parent))


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_workers_read_what_this_process_reads(mixed, kind):
    """A zip that was opened before the fork must not share its position in the file with the workers."""
    split = source(kind, mixed if kind == "folder" else zipped(mixed)).split("train")
    split.read(0)
    here = [list(Loader(split, Corner(), batch_size=3, seed=0, num_workers=n).iterate(0, 6)) for n in (0, 2)]
    for [a], [b] in zip(*here, strict=True):
        assert torch.equal(a.index, b.index) and torch.equal(a.payload["corner"], b.payload["corner"])


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_split_pickles(mixed, kind):
    split = source(kind, mixed if kind == "folder" else zipped(mixed)).split("train")
    first = split.read(0)
    again = pickle.loads(pickle.dumps(split))
    assert torch.equal(again.read(0), first) and again.name(7) == split.name(7)


def test_an_unlabelled_folder_of_any_depth(tmp_path):
    draw(tmp_path / "1.png", 1)
    draw(tmp_path / "a" / "b" / "2.png", 2)
    data = source("folder", tmp_path)
    split = data.split("train")
    assert data.splits == ("train",) and len(split) == 2 and split.labels is None and split.class_names is None
    loaded = load(split)
    assert isinstance(loaded, MemorySplit) and loaded.data.shape == (2, 3, 6, 5) and loaded.labels is None


def test_links_are_followed_and_circles_are_not(tmp_path):
    draw(tmp_path / "elsewhere" / "3.png", 3)
    draw(tmp_path / "root" / "a" / "1.png", 1)
    draw(tmp_path / "root" / "b" / "2.png", 2)
    (tmp_path / "root" / "c").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "a" / "up").symlink_to(tmp_path / "root")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "root" / "b")
    split = source("folder", tmp_path / "root").split("train")
    names = [os.path.relpath(split.name(i), tmp_path / "root") for i in range(len(split))]
    assert names == ["a/1.png", "b/2.png", "c/3.png", "c/back/2.png"] and split.class_names == ["a", "b", "c"]


def test_labels_may_be_left_out(mixed):
    assert source("folder", mixed, labels="none").split("train").labels is None
    with pytest.raises(UserError, match="labels"):
        source("folder", mixed, labels="some")


def test_damaged_files_are_named_with_their_reason(mixed):
    (mixed / "train" / "cat" / "empty.png").touch()
    (mixed / "train" / "cat" / "text.jpg").write_text("hello")
    draw(mixed / "train" / "dog" / "cut.jpg", 0, "RGB", (64, 64))
    os.truncate(mixed / "train" / "dog" / "cut.jpg", 2000)
    (mixed / "train" / "dog" / "lost.png").symlink_to(mixed / "nowhere.png")
    split = source("folder", mixed).split("train")
    report = check_source(split, image_modality())
    reasons = {Path(name).name: reason for name, reason in report["bad"].items()}
    assert report["num_samples"] == 12 and reasons.keys() == {"empty.png", "text.jpg", "cut.jpg", "lost.png"}
    assert reasons["empty.png"] == "the file is empty" and "not an image" in reasons["text.jpg"]
    assert "truncated" in reasons["cut.jpg"] and reasons["lost.png"] == "No such file or directory"
    with pytest.raises(UserError, match=r"cannot read .*/images/train/.*; correct or remove it"):
        list(Loader(split, Corner(), batch_size=12, seed=0, num_workers=2).iterate(0, 1))
    loader = Loader(split, Corner(), batch_size=12, seed=0, num_workers=2, on_error="skip", bad_budget=0.4)
    [[batch]] = loader.iterate(0, 1)
    assert len(batch.payload["corner"]) == 12 and loader.bad == report["bad"]


def test_a_damaged_member_is_a_bad_sample(mixed):
    path = zipped(mixed, zipfile.ZIP_STORED)
    data = path.read_bytes()
    image = (mixed / "train" / "cat" / "grey.png").read_bytes()
    assert data.count(image) == 1
    path.write_bytes(data.replace(image, image[:-20] + bytes(20)))
    split = source("zip", path).split("train")
    [i] = [i for i in range(len(split)) if split.name(i).endswith("cat/grey.png")]
    with pytest.raises(BadSample, match=r"images\.zip/images/train/cat/grey\.png: damaged in the archive \(Bad CRC-32"):
        split.read(i)


def test_what_cannot_be_opened_is_told(tmp_path):
    (tmp_path / "file.png").touch()
    (tmp_path / "bad.zip").write_text("no archive")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text" / "deep").mkdir(parents=True)
    (tmp_path / "text" / "deep" / "a.txt").touch()
    with zipfile.ZipFile(tmp_path / "text.zip", "w") as archive:
        archive.write(tmp_path / "text" / "deep" / "a.txt", "a.txt")
    for kind, name, message in [
        ("folder", "nothing", r"nothing does not exist"),
        ("folder", "file.png", r"file\.png is a file, not a folder"),
        ("folder", "empty", r"empty is empty"),
        ("folder", "text", r"text has 1 file but none to read: their endings are \.txt \(1\)"),
        ("zip", "nothing.zip", r"nothing\.zip does not exist"),
        ("zip", "bad.zip", r"cannot open .*bad\.zip as a zip archive: File is not a zip file"),
        ("zip", "text.zip", r"text\.zip has 1 file but none to read"),
    ]:
        with pytest.raises(UserError, match=message):
            source(kind, tmp_path / name)


def test_the_real_zip(shared_data):
    data = source("zip", shared_data / "cifar10-small.zip")
    train, test = data.split("train"), data.split("test")
    assert (len(train), len(test)) == (5000, 1000) and train.class_names == test.class_names
    assert train.labels.bincount().tolist() == [500] * 10 and test.labels.bincount().tolist() == [100] * 10
    assert test.read(0).shape == (3, 32, 32)

"""Folders of images as videos."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.open import build_source
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.video.sources.frames import natural
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.recipe.resolve import open_source
from tests.modalities.video.conftest import modality, policy


def write_frames(folder: Path, num: int = 12, size: tuple[int, int] = (20, 16)) -> None:
    """Write frames `0.png` to `11.png`; the value of all pixels of frame i is 10 i."""
    folder.mkdir(parents=True)
    for i in range(num):
        Image.new("RGB", size, (10 * i,) * 3).save(folder / f"{i}.png")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("train/left/a", "train/left/b", "train/right/a", "test/left/c", "test/right/d"):
        write_frames(tmp_path / name)
    (tmp_path / "train" / "notes.txt").write_text("x", encoding="utf-8")
    return tmp_path


def test_each_folder_is_a_video_with_the_label_of_the_one_above(tree: Path) -> None:
    source = build_source("frames", {"path": str(tree), "fps": 8}, modality())
    assert source.splits == ("train", "test") and any("notes.txt" in note for note in source.notes)
    train, test = source.split("train"), source.split("test")
    assert train.labels is not None and train.labels.tolist() == [0, 0, 1] and train.class_names == ["left", "right"]
    assert len(test) == 2 and train.name(1) == str(tree / "train/left/b")
    video = train.read(2)
    assert (video.num_frames, video.duration, video.whole) == (12, 1.5, (16, 20))
    assert video.at([11, 2])[:, 0, 0, 0].tolist() == [110, 20]  # in the order of numbers, not of letters
    assert video.shown([0.0, 0.25, 0.37, 9.0])[:, 0, 0, 0].tolist() == [0, 20, 20, 110]


def test_views_are_those_of_the_frames_in_memory(tree: Path) -> None:
    source, made = build_source("frames", {"path": str(tree), "fps": 8}, modality(size=8)), policy(size=8, rate=4)
    video = source.split("train").read(0)
    assert video.size == (9, 11) and torch.equal(video.some(5), video.decoded().frames[::3])
    params = made.draw(torch.Generator().manual_seed(0), 1)
    for a, b in zip(*(made(made.collate([each], params)) for each in (video, video.decoded())), strict=True):
        assert torch.equal(a.tensor, b.tensor)


def test_a_test_split_by_name(tmp_path: Path) -> None:
    for name in ("left/a1", "left/b1", "right/a2", "right/b2"):
        write_frames(tmp_path / name, 2)
    source = build_source("frames", {"path": str(tmp_path), "fps": 8, "test": ["*/b?"]}, modality())
    assert [list(source.split(name).names or ()) for name in ("train", "test")] == [
        ["left/a1", "right/a2"], ["left/b1", "right/b2"]
    ]  # fmt: skip


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    write_frames(tmp_path / "a", 2)
    write_frames(tmp_path / "b", 1)
    Image.new("RGB", (9, 9)).save(tmp_path / "b" / "1.png")
    (tmp_path / "a" / "2.png").write_bytes(b"no image")
    split = build_source("frames", {"path": str(tmp_path), "fps": 8}, modality()).split("train")
    with pytest.raises(BadSample, match=r"a/2.png: not an image"):
        split.read(0).at([2])
    with pytest.raises(BadSample, match=r"b/1.png is 9x9, and the first frame is 16x20"):
        split.read(1).decoded()
    for path, words in ((tmp_path / "a", "images at its top, such as "), (tmp_path / "none", "is no folder")):
        with pytest.raises(UserError, match=words):
            build_source("frames", {"path": str(path), "fps": 8}, modality())


def test_it_is_named_as_other_sources_are(tree: Path) -> None:
    overrides = [f"data.source.path={tree}", "data.source.fps=8"]
    source, made = open_source("frames", overrides, channels=3)
    assert made.spec.modality == "video" and len(source.split("train")) == 3
    recipe = load_recipe("simsiam", ["views=clips", "encoder=tiny_r2plus1d", *overrides], data="frames")
    assert recipe.data.source is not None and recipe.data.source.options["fps"] == 8


def test_natural_order() -> None:
    names = ["f10.png", "f2.png", "f1.png", "g1.png", "10.png", "9.png"]
    assert sorted(names, key=natural) == ["9.png", "10.png", "f1.png", "f2.png", "f10.png", "g1.png"]

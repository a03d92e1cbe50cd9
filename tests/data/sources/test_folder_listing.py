"""Which files of a folder are images, end to end."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from ssl_zoo.data import check_source
from tests.tiny import image_modality, image_source


def draw(path: Path, value: int = 9, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (value, value, value)).save(path, **options)


def source(path: Path):
    return image_source("folder", path=str(path))


def test_usual_endings_are_read_and_others_told(tmp_path):
    for name in ("a.jpg", "b.jp2", "c.tga", "d.dib", "e.webp", "f.png"):
        draw(tmp_path / name)
    Image.new("1", (8, 8)).save(tmp_path / "g.pbm")
    for ending in (".jfif", ".jpe", ".JPE", ".heic", ".avif", ""):
        shutil.copy(tmp_path / "a.jpg", tmp_path / f"x{ending}")
    found = source(tmp_path)
    report = check_source(found.split("train"), image_modality())
    assert report["num_samples"] == 10 and report["bad"] == {}
    assert found.notes == (
        f"the folder {tmp_path}: 3 files are not used, by the ending: .avif (1), .heic (1), no ending (1); for example "
        f"{found.notes[0].rpartition(' ')[2]}",
    )


@pytest.mark.parametrize("kind", ["splits", "classes"])
def test_links_to_one_folder_are_counted_as_often_as_they_are_there(tmp_path, kind):
    for name in ("real/cat/1.png", "real/dog/2.png"):
        draw(tmp_path / name)
    (tmp_path / "root").mkdir()
    for link in ("train", "test") if kind == "splits" else ("a", "b"):
        (tmp_path / "root" / link).symlink_to(tmp_path / "real" / ("" if kind == "splits" else "cat"))
    found = source(tmp_path / "root")
    if kind == "splits":
        assert [found.split(name).labels.tolist() for name in found.splits] == [[0, 1], [0, 1]]
    else:
        assert found.split("train").class_names == ["a", "b"] and found.split("train").labels.tolist() == [0, 1]
    assert "more than once" in found.notes[0]

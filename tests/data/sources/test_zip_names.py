"""Archives as Windows, careless programs and passwords leave them."""

import io
import stat
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from ssl_zoo.errors import UserError
from tests.tiny import image_source


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (2, 2), value).save(buffer, "PNG")
    return buffer.getvalue()


def archive(path: Path, *names: str | zipfile.ZipInfo) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for value, name in enumerate(names):
            file.writestr(name, png(value))
    return path


def source(path: Path):
    return image_source("zip", 1, path=str(path))


def test_backslashes_leading_slashes_and_dots(tmp_path):
    names = (r"train\cat\0.png", "/train/dog/1.png", "./test/cat/2.png", "../../test/../test/dog/3.png", r"C:\a.txt")
    raw = []
    for name in names:
        raw.append(zipfile.ZipInfo("x"))
        raw[-1].filename = name  # as written: the constructor would mend it on Windows
    found = source(archive(tmp_path / "a.zip", *raw))
    for s, name in enumerate(("train", "test")):
        split = found.split(name)
        assert split.class_names == ["cat", "dog"] and split.labels.tolist() == [0, 1]
        assert [split.name(i).split("a.zip/")[1] for i in (0, 1)] == [
            f"{name}/cat/{2 * s}.png",
            f"{name}/dog/{2 * s + 1}.png",
        ]
        assert [int(split.read(i)[0, 0, 0]) for i in (0, 1)] == [2 * s, 2 * s + 1]
    assert found.notes == (
        f"the archive {tmp_path}/a.zip: 1 file is not used, by the ending: .txt (1); for example a.txt.",
    )


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_members_with_one_path_the_last_counts(tmp_path):
    found = source(archive(tmp_path / "a.zip", "0.png", "1.png", "0.png"))
    split = found.split("train")
    assert len(split) == 2 and torch.equal(split.read(0), torch.full((1, 2, 2), 2, dtype=torch.uint8))
    assert found.notes == (f"the archive {tmp_path}/a.zip: 1 file in it more than once; the last of each counts.",)


def test_a_link_in_an_archive_is_left_out(tmp_path):
    link = zipfile.ZipInfo("1.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    found = source(archive(tmp_path / "a.zip", "0.png", link))
    assert len(found.split("train")) == 1 and "1 links and the like, for example 1.png" in found.notes[0]


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (8, 1, "1 file is encrypted, for example 1.png; unpack it with its password"),
        (10, 9, "packed otherwise than by"),
    ],
)
def test_what_cannot_be_unpacked_is_told_at_once(tmp_path, place, value, words):
    data = bytearray(archive(tmp_path / "a.zip", "0.png", "1.png").read_bytes())
    data[data.rindex(b"PK\x01\x02") + place] = value  # the flags, or the method, of the last member in the directory
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(UserError) as error:
        source(tmp_path / "a.zip")
    assert words in str(error.value)

"""What lies under an image's name is not waited for, not executed, and takes no more memory than is allowed."""

import io
import os
import socket
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from ssl_zoo.data import BadSample, Split, check_source
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.image.decode import Decoding, decode
from tests.tiny import image_modality, image_source


def png(size: tuple[int, int] = (8, 6), mode: str = "L") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, 7).save(buffer, "PNG")
    return buffer.getvalue()


def split_of(kind: str, folder: Path, files: dict[str, bytes], **options) -> Split:
    """The train split of these files as a folder, zip or parquet."""
    path = folder
    for name, data in files.items():
        (folder / name).write_bytes(data)
    if kind == "zip":
        path = folder / "all.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    if kind == "parquet":
        path = folder / "all.parquet"
        pq.write_table(pa.table({"image": [{"bytes": data} for data in files.values()]}), path)
    return image_source(kind, 1, path=str(path), **options).split("train")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes and sockets with a place among the files")
def test_only_regular_files_are_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    split = split_of("folder", tmp_path, {f"{name}.png": png() for name in "abcdefg"})
    for name in "abcde":
        (tmp_path / f"{name}.png").unlink()
    os.mkfifo("a.png")
    Path("b.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("c.png")
    Path("d.png").symlink_to("d.png")
    Path("e.png").mkdir()
    Path("f.png").unlink()
    Path("f.png").symlink_to("g.png")  # a link to an image is one
    reasons = [None] * 7
    for i in range(7):
        try:
            assert split.read(i).shape == (1, 6, 8)
        except BadSample as error:
            reasons[i] = error.reason
    assert reasons[:3] == [f"{what}, not a regular file" for what in ("a pipe", "a device", "a socket")]
    assert "symbolic links" in reasons[3] and reasons[4] == "a folder, not a regular file"
    assert reasons[5:] == [None, None]


@pytest.mark.parametrize("kind", ["folder", "zip", "parquet"])
def test_an_encoded_file_has_a_limit_that_can_be_raised(kind, tmp_path):
    """With `max_pixels` of 8 x 6 a file may have 384 bytes."""
    large = png() + bytes(400)  # what follows the end of a PNG is not looked at
    files = {"a.png": large, "b.png": png()}
    split = split_of(kind, tmp_path, files, max_pixels=48)
    with pytest.raises(BadSample, match="0 MiB, more than the 0 MiB that are allowed; raise data.decode.max_pixels"):
        split.read(0)
    assert split.read(1).shape == (1, 6, 8)
    assert split_of(kind, tmp_path, files, max_pixels=100).read(0).shape == (1, 6, 8)


@pytest.mark.parametrize("kind", ["folder", "zip", "parquet"])
def test_an_image_has_a_limit_on_its_pixels_that_can_be_raised(kind, tmp_path):
    split = split_of(kind, tmp_path, {"a.png": png((90, 50))}, max_pixels=4499)
    with pytest.raises(BadSample, match="4500 pixels, more than the 4499 that .* -s data.decode.max_pixels=4500"):
        split.read(0)
    assert split_of(kind, tmp_path, {"a.png": png((90, 50))}, max_pixels=4500).read(0).shape == (1, 50, 90)


def test_pillows_own_limit_neither_warns_nor_forbids(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # warnings are errors here
    assert decode(png((60, 30)), 1, "x").shape == (1, 30, 60)
    assert decode(png((90, 50)), 1, "x").shape == (1, 50, 90)
    assert Image.MAX_IMAGE_PIXELS == 1000
    with pytest.raises(BadSample, match="200 pixels, more than the 99 that are allowed"):
        Decoding(1, max_pixels=99).decode(png((20, 10)), "x")
    with pytest.raises(UserError, match="max_pixels"):
        image_source("folder", 1, path=".", max_pixels=0)


def test_a_large_image_takes_little_more_than_itself_to_decode_and_to_check(tmp_path):
    """Pillow's own memory is not seen here; what it gives as bytes, and numbers made of them, are."""
    data = png((4000, 3000), "RGB")
    tracemalloc.start()
    try:
        image = decode(data, 3, "x")
        assert tracemalloc.get_traced_memory()[1] < 2.2 * image.nbytes  # the image, and a part of it
        del image
        tracemalloc.reset_peak()
        report = check_source(split_of("folder", tmp_path, {"a.png": data}), image_modality())
        assert tracemalloc.get_traced_memory()[1] < 3 * 4000 * 3000 and report["sizes"] == {"3000x4000": 1}
    finally:
        tracemalloc.stop()


def test_a_member_of_an_archive_is_not_unpacked_beyond_the_limit(tmp_path):
    files = {"bomb.png": bytes(40_000_000), "lies.png": bytes(40_000_000), "z.png": png()}
    split = split_of("zip", tmp_path, files, max_pixels=1000)
    path = tmp_path / "all.zip"
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\x01\x02", data.rindex(b"PK\x01\x02", 0, data.rindex(b"lies.png")))
    assert struct.unpack_from("<I", data, place + 24) == (40_000_000,)
    struct.pack_into("<I", data, place + 24, 1000)  # the header claims less than comes out
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(BadSample, match="38 MiB, more than the 0 MiB"):
            split.read(0)
        with pytest.raises(BadSample, match="damaged in the archive"):
            split.read(1)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert split.read(2).shape == (1, 6, 8)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_that_cannot_be_unpacked_in_pieces_is_refused(tmp_path, method):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.png", png())
    with pytest.raises(UserError, match="1 file is packed otherwise than by deflate, for example a.png"):
        image_source("zip", 1, path=str(path))


def test_other_formats_under_an_images_name_are_not_opened():
    """An EPS would be handed to Ghostscript."""
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 6\n%%EndComments\nshowpage\n%%EOF\n"
    with pytest.raises(BadSample, match="not an image that Pillow can read as PNG, JPEG"):
        decode(eps, 3, "x.png")
    icon = io.BytesIO()
    Image.new("RGB", (16, 16)).save(icon, "ICO")
    with pytest.raises(BadSample, match="not an image"):
        decode(icon.getvalue(), 3, "x.png")


def with_exif(payload: bytes) -> bytes:
    """A JPEG of 8 x 6 whose EXIF block is `payload`."""
    buffer = io.BytesIO()
    Image.new("L", (8, 6), 7).save(buffer, "JPEG")
    block = b"Exif\0\0" + payload
    return buffer.getvalue()[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + buffer.getvalue()[2:]


def entry(tag: int, form: int, count: int, value: bytes) -> bytes:
    return struct.pack("<HHI", tag, form, count) + value.ljust(4, b"\0")


def ifd(*entries: bytes) -> bytes:
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + bytes(4)


ODD = {
    "garbage": b"garbage",
    "empty": b"",
    "no orientation of that number": ifd(entry(0x112, 3, 1, b"\x09\0")),
    "an orientation of 0": ifd(entry(0x112, 3, 1, b"\0\0")),
    "an orientation in letters": ifd(entry(0x112, 2, 2, b"6\0")),
    "an orientation with a fraction": ifd(entry(0x112, 5, 1, struct.pack("<I", 200))),
    "an offset beyond the end": ifd(entry(0x8769, 4, 1, struct.pack("<I", 10**6))),
    "a resolution divided by nothing": ifd(entry(0x11A, 5, 1, struct.pack("<I", 8))),
    "cut": ifd(entry(0x112, 3, 1, b"\1\0"))[:14],
}


@pytest.mark.parametrize("payload", ODD.values(), ids=ODD)
def test_odd_metadata_do_not_refuse_a_picture_nor_warn(payload):
    assert decode(with_exif(payload), 1, "x").shape == (1, 6, 8)


def test_the_orientation_is_applied_beside_odd_metadata():
    """Pillow's way is to write the metadata anew, which odd ones do not survive."""
    odd = [entry(0x112, 3, 1, b"\6\0"), entry(0x11A, 5, 1, struct.pack("<I", 10**6)), entry(0x9999, 2, 1, b"\xff")]
    assert decode(with_exif(ifd(*odd)), 1, "x").shape == (1, 8, 6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations(orientation):
    picture = torch.arange(48, dtype=torch.uint8).view(6, 8)
    exif = Image.Exif()
    exif[0x112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(picture.numpy()).save(buffer, "PNG", exif=exif)
    shown = {1: picture, 2: picture.flip(1), 3: picture.flip(0, 1), 4: picture.flip(0), 5: picture.T,
             6: picture.rot90(-1), 7: picture.T.flip(0, 1), 8: picture.rot90(1)}  # fmt: skip
    assert torch.equal(decode(buffer.getvalue(), 1, "x")[0], shown[orientation])


def test_warnings_of_pillow_are_not_a_users_to_read():
    palette = Image.new("P", (4, 3))
    palette.putpalette([10, 20, 30] * 256)
    buffer = io.BytesIO()
    palette.save(buffer, "PNG", transparency=bytes([0] * 256))
    assert decode(buffer.getvalue(), 3, "x").unique().tolist() == [255]
    twice = with_exif(ifd(entry(0x112, 3, 2, b"\6\0\6\0")))
    with pytest.warns(UserWarning, match="too many entries"), Image.open(io.BytesIO(twice)) as image:
        image.getexif().get(0x112)
    assert decode(twice, 1, "x").shape == (1, 8, 6)


def test_data_that_end_early_are_damaged_also_where_the_header_is_huge():
    head = struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    with pytest.raises(BadSample, match="damaged image"):
        decode(b"\x89PNG\r\n\x1a\n" + chunk + png()[33:], 3, "x")

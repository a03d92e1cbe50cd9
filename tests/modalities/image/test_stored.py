"""Pixels of more than 8 bits, with signs, with more bands, in other orders: understood, or refused in one sentence."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from ssl_zoo.data import BadSample
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.image.decode import Decoding

RAMP = np.linspace(0, 255, 48).reshape(6, 8).round().astype(np.uint8)
RGB = np.stack([RAMP, RAMP[::-1], 255 - RAMP], -1)
FULL = RAMP.astype(np.uint16) * 257


def tiff(pixels: np.ndarray, photometric: int = 1, kind: int = 1, extra: int | None = None, order: str = "<",
         packed: bool = False) -> bytes:  # fmt: skip
    """A plain TIFF; kind 1 is unsigned, 2 signed, 3 float. Pillow writes hardly any of these."""
    (height, width), bits = pixels.shape[:2], 8 * pixels.itemsize
    bands = pixels.shape[2] if pixels.ndim == 3 else 1
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    data = zlib.compress(data) if packed else data
    data += bytes(len(data) % 2)
    places = (8 + len(data), 8 + len(data) + 2 * bands)  # of the lists of bits and of kinds
    both = struct.pack(f"{order}{2 * bands}H", *[bits] * bands, *[kind] * bands)
    tags = {256: (3, 1, width), 257: (3, 1, height), 258: (3, bands, bits if bands == 1 else places[0]),
            259: (3, 1, 8 if packed else 1), 262: (3, 1, photometric), 273: (4, 1, 8), 277: (3, 1, bands),
            278: (3, 1, height), 279: (4, 1, len(data)),
            339: (3, bands, kind if bands == 1 else places[1])}  # fmt: skip
    if bands == 2:
        tags |= {258: (3, 2, bits * 65537), 339: (3, 2, kind * 65537)}  # both fit in the entry itself
    if extra is not None:
        tags[338] = (3, 1, extra)
    body = b""
    for tag, (form, count, value) in sorted(tags.items()):
        short = form == 3 and count == 1
        body += struct.pack(f"{order}HHI", tag, form, count)
        body += struct.pack(f"{order}HH", value, 0) if short else struct.pack(f"{order}I", value)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", places[0] + len(both))
    return head + data + both + struct.pack(f"{order}H", len(tags)) + body + bytes(4)


def png16(pixels: np.ndarray, colour: int) -> bytes:
    """A PNG of 16 bits a channel; colour 2 is RGB, 4 grey with alpha, 6 RGBA."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    (height, width), rows = pixels.shape[:2], [b"\0" + row.astype(">u2").tobytes() for row in pixels]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b"")


def pgm(pixels: np.ndarray, top: int) -> bytes:
    return f"P5 8 6 {top}\n".encode() + pixels.astype(">u2").tobytes()


def read(data: bytes, channels: int = 1, **options) -> np.ndarray:
    return Decoding(channels, **options).decode(data, "x").numpy()


def remarks(data: bytes, **options) -> tuple[str, ...]:
    return Decoding(3, **options).remarks(data, "x")


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
def test_16_bits_of_either_byte_order(order):
    assert np.array_equal(read(tiff(FULL, order=order))[0], RAMP) and not remarks(tiff(FULL, order=order))


@pytest.mark.parametrize(
    "data",
    [tiff(65535 - FULL, photometric=0), tiff(255 - RAMP, photometric=0)],
    ids=["16 bit", "8 bit"],
)
def test_white_is_zero_is_not_inverted(data):
    assert np.array_equal(read(data)[0], RAMP)


@pytest.mark.parametrize(
    "data, value_range",
    [
        (tiff(RAMP.astype(np.uint16) * 16), (0, 4080)),
        (tiff(RAMP.astype(np.uint32)), (0, 255)),
        (tiff(RAMP.astype(np.uint32) << 24), (0, 255 << 24)),  # Pillow has them as negative numbers
        (tiff(RAMP.astype(np.int32), kind=2), (0, 255)),
        (tiff(RAMP.astype(np.int16) * 8 - 1024, kind=2), (-1024, 1016)),
        (tiff(RAMP.astype(np.int16) * 8 - 1024, kind=2, order=">"), (-1024, 1016)),
        (tiff((RAMP.astype(np.int16) - 128).astype(np.int8), kind=2), (-128, 127)),
        (tiff(RAMP.astype(np.float32) / 255, kind=3), (0, 1)),
        (tiff(1 - RAMP.astype(np.float32) / 255, kind=3, photometric=0), (0, 1)),
        (pgm(RAMP.astype(int) * 16, 4095), (0, 4080)),
        (pgm(RAMP.astype(int) * 16, 65535), (0, 4080)),
        (b"Pf\n8 6\n-1.0\n" + RAMP[::-1].astype("<f4").tobytes(), (0, 255)),
    ],
    ids=["12 in 16", "8 in 32", "unsigned 32", "signed 32", "CT", "CT big", "signed 8", "float", "float inverted",
         "PGM 4095", "PGM 65535", "PFM"],
)  # fmt: skip
def test_a_value_range_is_in_the_files_own_numbers(data, value_range):
    assert np.array_equal(read(data, value_range=value_range)[0], RAMP)
    assert np.array_equal(read(data, 3, value_range=value_range)[1], RAMP)
    assert remarks(data, value_range=value_range) == ()


def test_what_lies_beyond_the_value_range_is_cut_off_and_told_where_it_is_most():
    data = tiff(RAMP.astype(np.int16) * 8 - 1024, kind=2)
    window = read(data, value_range=(0, 512))[0]
    assert window.min() == 0 and window.max() == 255
    assert window[RAMP == 255] == 255 and (window[RAMP < 128] == 0).all()
    assert remarks(data, value_range=(900, 1016)) == (
        "more than half of the values lie outside data.decode.value_range",
    )


def test_signed_values_without_negative_ones_have_the_range_of_their_type():
    result = read(tiff(RAMP.astype(np.int16) * 128, kind=2))[0]
    assert np.abs(result.astype(int) - RAMP).max() <= 1  # not half as bright
    assert read(tiff((RAMP // 2).astype(np.int8), kind=2)).max() == 255


@pytest.mark.parametrize(
    "data, reason",
    [
        (tiff(RAMP.astype(np.int16) * 8 - 1024, kind=2), r"signed 16-bit pixels with negative values \(-1024\)"),
        (tiff(RAMP.view(np.int8), kind=2), r"signed 8-bit pixels with negative values \(-126\)"),
        (tiff(RAMP.astype(np.uint32)), "32-bit pixels have no known range; .* -s 'data.decode.value_range="),
        (
            tiff(RAMP.astype(np.int32), kind=2),
            "signed 32-bit pixels have no known range; .* -s 'data.decode.value_range=",
        ),
        (
            tiff(RAMP.astype(np.float32), kind=3),
            "floating-point pixels have no known range; .* -s 'data.decode.value_range=",
        ),
        (tiff(RGB, photometric=8), "CIELAB pixels; save as RGB"),
    ],
)
def test_what_has_no_known_range_is_refused_and_not_called_damaged(data, reason):
    with pytest.raises(BadSample, match=reason) as caught:
        read(data)
    assert "damaged" not in str(caught.value)


def test_pixels_that_are_no_numbers_are_refused():
    with pytest.raises(BadSample, match="no numbers"):
        read(tiff(np.full((6, 8), np.nan, np.float32), kind=3), value_range=(0, 1))


@pytest.mark.parametrize("value_range", [(5, 5), (1, 0)])
def test_an_empty_value_range_is_refused(value_range):
    with pytest.raises(UserError, match=r"value_range: \[\d, \d\] is empty"):
        Decoding(1, value_range)


@pytest.mark.parametrize("scale, value_range", [(257, None), (16, (0, 4080))], ids=["16 bit", "12 bit"])
@pytest.mark.parametrize("kind", ["png", "little", "big", "packed", "packed big", "with alpha"])
def test_colours_of_16_bits_are_not_cut_to_their_upper_bytes(kind, scale, value_range):
    colours = RGB.astype(np.uint16) * scale
    opaque = np.full((6, 8, 1), 65535, np.uint16)
    data = {
        "png": png16(colours, 2),
        "little": tiff(colours, 2),
        "big": tiff(colours, 2, order=">"),
        "packed": tiff(colours, 2, packed=True),
        "packed big": tiff(colours, 2, order=">", packed=True),
        "with alpha": png16(np.concatenate([colours, opaque], 2), 6),
    }[kind]
    assert np.array_equal(read(data, 3, value_range=value_range), RGB.transpose(2, 0, 1))
    assert len(remarks(data)) == (scale == 16) and remarks(data, value_range=value_range or (0, 65535)) == ()


def test_where_only_the_upper_bytes_can_be_read_it_is_told():
    data = png16(np.stack([FULL, np.full_like(FULL, 65535)], -1), 4)
    assert np.array_equal(read(data)[0], RAMP)
    assert remarks(data) == ("16 bits per channel, of which the upper 8 are read",)
    inks = np.concatenate([255 - RGB, np.zeros((6, 8, 1), np.uint8)], 2).astype(np.uint16) * 257
    assert np.array_equal(read(tiff(inks, 5), 3), RGB.transpose(2, 0, 1))


@pytest.mark.parametrize("scale", [1, 257], ids=["8 bit", "16 bit"])
@pytest.mark.parametrize("extra", [None, 0], ids=["unnamed", "unspecified"])
def test_a_fourth_band_is_no_transparency_unless_the_file_says_so(extra, scale):
    infrared = np.concatenate([RGB, RAMP[..., None] // 3], 2).astype(np.uint8 if scale == 1 else np.uint16) * scale
    data = tiff(infrared, 2, extra=extra)
    assert np.array_equal(read(data, 3), RGB.transpose(2, 0, 1))
    assert remarks(data) == ("4 bands, of which the first 3 are used",)
    clear = tiff(infrared, 2, extra=2)  # this is the transparency, and all is well
    assert read(clear, 3).min() >= 170 and remarks(clear) == ()


def test_a_second_band_of_grey_and_grey_that_is_multiplied_by_its_alpha():
    two = np.stack([RAMP, np.full_like(RAMP, 7)], -1)
    assert np.array_equal(read(tiff(two, extra=0))[0], RAMP)
    assert remarks(tiff(two, extra=0)) == ("2 bands, of which the first is used",)
    multiplied = tiff(np.stack([RAMP, np.full_like(RAMP, 255)], -1), extra=1)
    assert np.array_equal(read(multiplied)[0], RAMP) and np.array_equal(read(multiplied, 3)[2], RAMP)


def test_a_range_that_is_hardly_used_is_told_and_8_bits_beside_a_value_range():
    [remark] = remarks(tiff(RAMP.astype(np.uint16) * 16))
    assert "16-bit values that fit in 12 bits" in remark and "-s 'data.decode.value_range=[0, 4095]'" in remark
    assert remarks(tiff(RAMP), value_range=(0, 4095)) == ("8 bits, to which data.decode.value_range does not apply",)
    assert np.array_equal(read(tiff(RAMP), value_range=(0, 4095))[0], RAMP)


def saved(pages: list[Image.Image], format: str, **options) -> bytes:
    buffer = io.BytesIO()
    pages[0].save(buffer, format, save_all=True, append_images=pages[1:], **options)
    return buffer.getvalue()


@pytest.mark.parametrize("format, what", [("TIFF", "pages"), ("GIF", "frames"), ("PNG", "frames"), ("WEBP", "frames")])
def test_of_several_pages_the_first_is_used_and_that_is_told(format, what):
    pages = [Image.new("RGB", (8, 6), (value, 0, 0)) for value in (250, 0, 100)]
    data = saved(pages, format, **({"lossless": True} if format == "WEBP" else {}))
    assert remarks(data) == (f"3 {what}, of which the first is used",)
    assert (read(data, 3)[0] == 250).all() and remarks(saved(pages[:1], format)) == ()


def test_small_versions_of_a_page_are_no_pages():
    large, small = Image.new("L", (8, 6), 9), Image.new("L", (4, 3), 9)
    small.encoderinfo = {"tiffinfo": {254: 1}}
    assert remarks(saved([large, small], "TIFF")) == ()
    first = saved([small, large], "TIFF", tiffinfo={254: 1})
    assert remarks(first)[0].startswith("the first page is marked as a small version of another")

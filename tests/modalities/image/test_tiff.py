"""TIFF of any channels and types: every way to store 13 bands gives the same tensor, and what is unclear is refused."""

import io
import struct
import sys
import zlib

import numpy as np
import pytest
import tifffile
import torch

from ssl_zoo.data import BadSample
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.image.bands import Bands
from tests.modalities.image.test_stored import tiff

RNG = np.random.default_rng(0)
BANDS = RNG.integers(0, 65536, (13, 48, 40)).astype(np.uint16)
GREY = {"photometric": "minisblack"}


def written(pixels: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def bands(channels: int = 13, dtype: str = "stored", max_pixels: int = 10**6) -> Bands:
    return Bands(channels, dtype, None, max_pixels)


def read(data: bytes, channels: int = 13, **options) -> torch.Tensor:
    return bands(channels, **options).decode(data, "x.tif")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd"])
@pytest.mark.parametrize("layout", ["planes", "interleaved", "tiles", "tiles of planes", "pages", "big-endian"])
def test_every_way_to_store_bands_gives_the_same(layout, compression, dtype):
    pixels = (BANDS.astype(np.float32) / 7 if dtype == np.float32 else BANDS >> (8 if dtype == np.uint8 else 0)).astype(
        dtype
    )
    data = {
        "planes": lambda: written(pixels, planarconfig="separate", compression=compression, **GREY),
        "interleaved": lambda: written(
            pixels.transpose(1, 2, 0), compression=compression, planarconfig="contig", **GREY
        ),
        "tiles": lambda: written(
            pixels.transpose(1, 2, 0), compression=compression, planarconfig="contig", tile=(16, 32), **GREY
        ),
        "tiles of planes": lambda: written(
            pixels, planarconfig="separate", compression=compression, tile=(16, 32), **GREY
        ),
        "pages": lambda: written(pixels, compression=compression, metadata=None),
        "big-endian": lambda: written(
            pixels, byteorder=">", planarconfig="separate", compression=compression, predictor=bool(compression), **GREY
        ),
    }[layout]()
    result = read(data)
    assert result.is_contiguous() and result.dtype == getattr(torch, np.dtype(dtype).name)
    assert np.array_equal(result.numpy(), pixels)
    expected = ("13 pages, taken for the channels",) if layout == "pages" else ()
    assert bands().remarks(data, "x") == expected


@pytest.mark.parametrize("kind", [{"imagej": True}, {"ome": True}])
def test_an_axis_that_the_file_calls_channels_is_theirs(kind):
    data = written(BANDS, metadata={"axes": "CYX"}, **kind)
    assert np.array_equal(read(data).numpy(), BANDS) and bands().remarks(data, "x") == ()
    stack = written(np.stack([BANDS, BANDS + 1]), metadata={"axes": "TCYX"}, **kind)
    assert np.array_equal(read(stack).numpy(), BANDS)
    assert bands().remarks(stack, "x") == ("2 pages, of which the first is used",)
    with pytest.raises(BadSample, match="more than are allowed"):
        read(stack, max_pixels=2 * BANDS.size // 8 + BANDS.size // 8)  # the stack takes twice what a picture does


def test_of_pages_that_are_not_as_many_as_the_channels_the_first_is_used():
    data = written(BANDS, metadata=None)
    assert np.array_equal(read(data, 1).numpy(), BANDS[:1])
    assert bands(1).remarks(data, "x") == ("13 pages, of which the first is used",)
    colours = written(np.stack([BANDS[:3].transpose(1, 2, 0)] * 3), photometric="rgb")
    assert np.array_equal(read(colours, 3).numpy(), BANDS[:3])
    with pytest.raises(
        BadSample, match=r"it has 1 channel \(13 pages, of which the first is used\), not the 4 of views"
    ):
        read(data, 4)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 32])
def test_channels_are_those_of_the_file_alpha_or_not(channels):
    pixels = RNG.integers(0, 65536, (channels, 9, 7)).astype(np.uint16)
    planes = {"planarconfig": "separate", "photometric": "rgb" if channels in (3, 4) else "minisblack"}
    data = written(pixels, metadata=None, **(planes if channels > 1 else {}))
    assert np.array_equal(read(data, channels).numpy(), pixels)
    with pytest.raises(BadSample, match=f"it has {channels} channels?, not the {channels + 1} of views.channels"):
        read(data, channels + 1)


@pytest.mark.parametrize("pixels, dtype, expected", [
    (np.array([[0, 255]], np.uint8), "uint16", [0, 65535]),
    (np.array([[0, 51]], np.uint8), "float32", [0, 0.2]),
    (np.array([[0, 13107]], np.uint16), "float32", [0, 0.2]),
    (np.array([[0, 13107]], np.uint16), "uint8", [0, 51]),
    (np.array([[0, 65535]], np.uint16), "uint8", [0, 255]),
    (np.array([[-7, 300]], np.int16), "stored", [-7, 300]),
    (np.array([[5, 2**31]], np.uint32), "stored", [5, 2**31]),
    (np.array([[1e-3, 0.5]], np.float64), "stored", [np.float32(1e-3), 0.5]),
])  # fmt: skip
def test_types_are_kept_or_scaled_by_their_range(pixels, dtype, expected):
    result = Bands(2, dtype, None, 100).decode(written(np.stack([pixels, pixels]), metadata=None), "x")
    wanted = torch.float32 if dtype == "stored" else getattr(torch, dtype)
    assert result.dtype == wanted
    torch.testing.assert_close(result[1, 0], torch.tensor(expected, dtype=wanted))


def test_white_is_zero_and_the_orientation_are_applied():
    inverted = written(65535 - BANDS[0], photometric="miniswhite", metadata=None)
    assert np.array_equal(read(inverted, 1).numpy(), BANDS[:1])
    turned = written(BANDS[0], metadata=None, extratags=[(274, 3, 1, 6, True)])
    assert np.array_equal(read(turned, 1)[0].numpy(), np.rot90(BANDS[0], -1))


@pytest.mark.parametrize("data, reason", [
    (written(BANDS[0].astype(np.float32), photometric="miniswhite", metadata=None), "white is zero, of values without"),
    (written(np.zeros((6, 8), np.uint8), photometric="palette", colormap=np.zeros((3, 256), np.uint16)), "of PALETTE"),
    (written(BANDS[:12].reshape(2, 3, 2, 48, 40), ome=True, metadata={"axes": "TZCYX"}), "2 channels .6 pages"),
    (written(np.zeros((4, 4), np.complex64)), "of type complex64"),
])  # fmt: skip
def test_what_has_no_clear_meaning_is_refused(data, reason):
    with pytest.raises(BadSample, match=reason):
        read(data, 1)


def test_what_is_no_number_is_told_with_its_place():
    pixels = np.ones((13, 5, 6), np.float32)
    pixels[4, 2, 3] = np.nan
    pixels[7, 0, 0] = np.inf
    with pytest.raises(BadSample, match="2 of 390 values are no finite numbers .* in channel 5 at row 3, column 4"):
        read(written(pixels, metadata=None))
    with pytest.raises(BadSample, match="too large for float32"):
        read(written(np.full((13, 5, 6), 1e300), metadata=None))


@pytest.mark.parametrize("options", [
    {"planarconfig": "separate", "photometric": "minisblack"},
    {"planarconfig": "separate", "photometric": "minisblack", "compression": "zlib"},
    {"compression": "zstd", "tile": (16, 16), "metadata": None},
    {"metadata": None},
])  # fmt: skip
def test_a_file_that_ends_early_is_bad_or_whole_and_never_filled_up(options):
    small = BANDS[:, :9, :7].copy()
    data = written(small, **options)
    bad = 0
    for cut in range(0, len(data), 1 + len(data) // 40):
        try:
            assert np.array_equal(read(data[:cut]).numpy(), small)
        except BadSample as error:
            assert error.reason and "0x" not in error.reason
            bad += 1
    assert bad > 20


def test_a_file_with_holes_is_refused():
    data = bytearray(tiff(BANDS[:4, :6, :8].transpose(1, 2, 0).copy(), 2))
    place = data.index(struct.pack("<HHI", 279, 4, 1), 300)  # the bytes of the strip
    struct.pack_into("<I", data, place + 8, 0)
    with pytest.raises(BadSample, match="parts without data; write the file whole"):
        read(bytes(data), 4)


def test_a_header_that_claims_much_asks_for_no_memory():
    data = tiff(np.ones((6, 8, 4), np.uint16), 2)
    for width, height in ((60000, 60000), (2**31 - 1, 2**31 - 1)):
        claimed = bytearray(data)
        for tag, value in ((256, width), (257, height)):
            place = claimed.rindex(struct.pack("<HHI", tag, 3, 1))
            struct.pack_into("<HHII", claimed, place, tag, 4, 1, value)
        with pytest.raises(
            BadSample, match=rf"{height} x {width} pixels of 4 channels and 2 bytes, more .*max_pixels="
        ):
            read(bytes(claimed), 4)
    with pytest.raises(BadSample, match="48 x 40 pixels of 13 channels and 2 bytes, more than .*max_pixels=6240"):
        read(written(BANDS, planarconfig="separate", **GREY), max_pixels=6239)
    assert read(written(BANDS, planarconfig="separate", **GREY), max_pixels=6240).shape == (13, 48, 40)


def test_a_strip_that_unpacks_to_more_than_its_pixels_is_damaged():
    pixels = np.ones((6, 8, 4), np.uint16)
    data = bytearray(tiff(pixels, 2, packed=True))
    bomb = zlib.compress(bytes(10**8), 9)
    start, place = len(data), data.rindex(struct.pack("<HHI", 273, 4, 1))
    struct.pack_into("<I", data, place + 8, start)
    struct.pack_into("<I", data, data.rindex(struct.pack("<HHI", 279, 4, 1)) + 8, len(bomb))
    with pytest.raises(BadSample, match="damaged image"):
        read(bytes(data) + bomb, 4)


@pytest.mark.parametrize("missing, data, what", [
    ("tifffile", written(BANDS), "a TIFF of other than 1 or 3 channels, or with its type kept, needs the package tiff"),
    ("imagecodecs", written(BANDS, compression="lzw"), "a compressed TIFF needs the package imagecodecs"),
])  # fmt: skip
def test_a_missing_package_is_named_with_its_install_line(monkeypatch, missing, data, what):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == missing else object())
    with pytest.raises(UserError, match=rf"{what}.*pip install 'ssl_zoo\[tiff\]'") as caught:
        read(data)
    assert not isinstance(caught.value, BadSample)  # it is not the sample's fault

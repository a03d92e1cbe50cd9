"""PNG of 16 bits, arrays and pictures with their channels and types kept, through the modality."""

import io
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_zoo.data import BadSample
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.image.bands import Bands
from tests.modalities.image.test_stored import png16
from tests.tiny import image_modality

HUGE = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2, 99999999, 99999999), }"
RNG = np.random.default_rng(0)


def array(pixels: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, pixels, **options)
    return buffer.getvalue()


def picture(pixels: np.ndarray, format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, **options)
    return buffer.getvalue()


def read(data: bytes, channels: int, **options) -> torch.Tensor:
    return image_modality(channels, **options).decode(data, "x")


@pytest.mark.parametrize("colour, channels", [(0, 1), (4, 2), (2, 3), (6, 4)])
def test_png_of_16_bits_is_exact(colour, channels):
    pixels = RNG.integers(0, 65536, (6, 8, channels)).astype(np.uint16)
    data = png16(pixels, colour)
    assert np.array_equal(read(data, channels, dtype="stored").numpy(), pixels.transpose(2, 0, 1))
    assert read(data, channels, dtype="stored").dtype == torch.uint16
    as_float = read(data, channels, dtype="float32")
    torch.testing.assert_close(as_float, torch.from_numpy(pixels.transpose(2, 0, 1) / np.float32(65535)))


def test_damaged_png_are_bad_samples_and_end_nothing():
    data = png16(RNG.integers(0, 65536, (6, 8, 3)).astype(np.uint16), 2)
    bad = 0
    for place in range(8, len(data), 7):
        for damaged in (data[:place], data[:place] + bytes([data[place] ^ 64]) + data[place + 1 :]):
            try:
                read(damaged, 3, dtype="stored")
            except BadSample as error:
                assert error.reason
                bad += 1
    assert bad > 80


def test_pictures_of_8_bits_keep_their_bands_with_any_channels():
    rgba = RNG.integers(0, 256, (6, 8, 4)).astype(np.uint8)
    for data in (picture(rgba), picture(rgba, "WEBP", lossless=True, exact=True), picture(rgba, "TIFF")):
        assert np.array_equal(read(data, 4).numpy(), rgba.transpose(2, 0, 1))  # alpha is a band, and nothing composited
    two = rgba[..., :2]
    assert np.array_equal(read(picture(two), 2).numpy(), two.transpose(2, 0, 1))
    assert np.array_equal(read(picture(rgba), 4, dtype="uint16").numpy(), rgba.transpose(2, 0, 1).astype(int) * 257)
    with pytest.raises(BadSample, match="it has 4 channels, not the 3 of views.channels"):
        read(picture(rgba), 3, dtype="stored")


def test_the_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = RNG.integers(0, 256, (6, 8, 4)).astype(np.uint8)
    for format in ("PNG", "WEBP"):
        data = picture(pixels, format, exif=exif, **({"lossless": True, "exact": True} if format == "WEBP" else {}))
        assert np.array_equal(read(data, 4).numpy(), np.rot90(pixels, -1).transpose(2, 0, 1))


def test_photographs_are_decoded_as_ever_and_arrays_are_not_looked_for():
    default, kept = image_modality(3), image_modality(3, dtype="uint16")
    assert ".npy" not in default.extensions and ".npy" in kept.extensions and ".npy" in image_modality(4).extensions
    pixels = RNG.integers(0, 65536, (6, 8, 3)).astype(np.uint16)
    assert default.decode(png16(pixels, 2), "x").dtype == torch.uint8
    assert kept.decode(png16(pixels, 2), "x").dtype == torch.uint16


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.int32, ">u2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_any_type_with_channels_first_or_last(dtype, order):
    pixels = RNG.integers(0, 200, (5, 7, 9)).astype(dtype)
    for stored in (pixels, pixels.transpose(1, 2, 0)):
        result = read(array(np.asarray(stored, order=order)), 5)
        assert result.shape == (5, 7, 9) and np.array_equal(result.numpy().astype(int), pixels.astype(int))
        assert result.dtype == (torch.float32 if np.dtype(dtype).kind in "fi" else result.dtype)


def test_an_array_that_may_be_read_in_two_ways_is_refused_unless_its_axes_are_stated():
    pixels = RNG.integers(0, 200, (5, 7, 5)).astype(np.uint8)
    with pytest.raises(
        BadSample, match=r"shape \(5, 7, 5\), whose channels may come first or last; set data.decode.npy_a"
    ):
        read(array(pixels), 5)
    assert np.array_equal(read(array(pixels), 5, npy_axes="CHW").numpy(), pixels)
    assert np.array_equal(read(array(pixels), 5, npy_axes="HWC").numpy(), pixels.transpose(2, 0, 1))
    with pytest.raises(BadSample, match="with 4 channels neither first nor last"):
        read(array(pixels), 4)
    assert read(array(pixels[0]), 1, dtype="stored").shape == (1, 7, 5)


@pytest.mark.parametrize("data, reason", [
    (array(np.zeros((2, 3, 4, 5))), "shape \\(2, 3, 4, 5\\); save"),
    (array(np.zeros((0, 3, 4))), "without a value"),
    (array(np.zeros((3, 4), complex)), "an array of complex128"),
    (array(np.array([[{}]]), allow_pickle=True), "an array of object"),
    (array(np.zeros((2, 60, 50), np.uint16))[:-1], "ends before its values do"),
    (b"\x93NUMPY\x01\x00\x76\x00" + HUGE.ljust(117) + b"\n", "the file ends before its values"),
    (b"\x93NUMPY\x01\x00", "damaged image"),
    (b"\x93NUMPY\x09\x00", "an array of format 9"),
    (b"", "the file is empty"),
    (b"hello", "not an image"),
])  # fmt: skip
def test_what_is_no_image_is_a_bad_sample(data, reason):
    with pytest.raises(BadSample, match=reason):
        read(data, 2)


def test_an_array_of_too_many_bytes_is_refused_by_its_header():
    data = array(np.zeros((13, 10, 10), np.float32))
    assert read(data, 13, max_pixels=650).shape == (13, 10, 10)
    with pytest.raises(BadSample, match="10 x 10 pixels of 13 channels and 4 bytes, more .*data.decode.max_pixels=650"):
        read(data, 13, max_pixels=649)
    with pytest.raises(BadSample, match="max_pixels=100"):
        read(array(np.zeros((10, 10, 2), np.uint8)), 2, max_pixels=99)


def test_a_value_range_is_for_8_bits():
    with pytest.raises(UserError, match="value_range: is the range that becomes 8 bits"):
        image_modality(4, value_range=(0, 4095))
    with pytest.raises(UserError, match="is empty"):
        Bands(4, "uint8", (5, 5), 100)
    data = array(np.array([[[0, 2048, 9000]], [[4095, 0, 0]]], np.uint16))
    assert read(data, 2, dtype="uint8", value_range=(0, 4095)).tolist() == [[[0, 128, 255]], [[255, 0, 0]]]
    with pytest.raises(BadSample, match="have no known range"):
        read(array(np.zeros((2, 3, 4), np.float32)), 2, dtype="uint8")
    with pytest.raises(BadSample, match="float32 values have no range; set data.decode.dtype to stored or float32"):
        read(array(np.zeros((2, 3, 4), np.float32)), 2, dtype="uint16")


def test_statistics_and_channels_of_an_image():
    modality = image_modality(2)
    pixels = RNG.integers(0, 65536, (2, 50, 60)).astype(np.uint16)
    assert np.array_equal(modality.values(torch.from_numpy(pixels)).numpy(), pixels.reshape(2, -1) / 65535)
    assert modality.values(torch.full((2, 1, 1), -3.5)).tolist() == [[-3.5], [-3.5]]
    assert image_modality(3).values(torch.full((3, 1, 1), 51, dtype=torch.uint8)).tolist() == [[0.2]] * 3
    assert modality.stored_channels(array(pixels), "x") == 2
    assert modality.stored_channels(png16(pixels[0][..., None], 0), "x") == 1
    grey = pixels[0].astype(np.uint8)
    for photograph in (picture(grey), picture(np.stack([grey] * 4, -1)), picture(grey, "JPEG"), picture(grey, "TIFF")):
        assert modality.stored_channels(photograph, "x") is None


def test_a_missing_imagecodecs_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "imagecodecs" else object())
    with pytest.raises(UserError, match=r"a PNG .* needs the package imagecodecs.*pip install 'ssl_zoo\[tiff\]'"):
        read(png16(np.zeros((2, 2, 3), np.uint16), 2), 3, dtype="uint16")

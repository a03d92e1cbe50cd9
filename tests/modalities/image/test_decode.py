"""Decoding: every kind of image that a folder may hold becomes uint8 (C, H, W)."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_zoo.data import BadSample
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.image.decode import check_channels, decode


def encoded(image: Image.Image, format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def ramp(dtype: type = np.uint8, stop: int = 256) -> np.ndarray:
    return np.linspace(0, stop - 1, 12).astype(dtype).reshape(3, 4)


def test_grey_and_colour_are_converted_to_either():
    grey = ramp()
    colour = np.stack([grey, grey[::-1], 255 - grey], -1)
    assert torch.equal(decode(encoded(Image.fromarray(grey)), 1, "x"), torch.from_numpy(grey)[None])
    assert torch.equal(decode(encoded(Image.fromarray(grey)), 3, "x"), torch.from_numpy(grey).expand(3, -1, -1))
    rgb = decode(encoded(Image.fromarray(colour)), 3, "x")
    assert torch.equal(rgb, torch.from_numpy(colour.copy()).permute(2, 0, 1)) and rgb.is_contiguous()
    luma = colour @ np.array([0.299, 0.587, 0.114])  # ITU-R 601-2
    assert np.abs(decode(encoded(Image.fromarray(colour)), 1, "x")[0].numpy() - luma).max() <= 1


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_is_scaled_by_the_range_of_its_type(format, channels):  # T36
    values = ramp(np.uint16, 65536)
    result = decode(encoded(Image.fromarray(values), format), channels, "x")
    expected = torch.from_numpy(np.round(values.astype(np.float64) / 65535 * 255).astype(np.uint8))
    assert torch.equal(result, expected.expand(channels, -1, -1))
    dark = decode(encoded(Image.fromarray(values // 256), format), channels, "x")
    assert int(dark.max()) == 1  # not stretched to the image's own range


def test_transparency_is_composited_over_white():
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 0] = 200
    rgba[0, :, 3] = (255, 0, 51)
    result = decode(encoded(Image.fromarray(rgba)), 3, "x")
    assert result[:, 0, 0].tolist() == [200, 0, 0] and result[:, 0, 1].tolist() == [255, 255, 255]
    assert result[:, 0, 2].tolist() == [round(0.2 * 200 + 0.8 * 255), 204, 204]
    two = Image.fromarray(np.array([[[100, 255], [100, 0]]], np.uint8), "LA")
    assert decode(encoded(two), 1, "x")[0].tolist() == [[100, 255]]


def test_palettes_with_and_without_transparency_and_bitmaps():
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    assert decode(encoded(palette), 3, "x")[:, 0].tolist() == [[10, 40], [20, 50], [30, 60]]
    clear = encoded(palette, transparency=bytes([255, 0]))
    assert decode(clear, 3, "x")[:, 0].tolist() == [[10, 255], [20, 255], [30, 255]]
    assert decode(encoded(palette, "GIF", transparency=1), 3, "x")[:, 0, 1].tolist() == [255, 255, 255]
    bits = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    assert decode(encoded(bits), 1, "x").tolist() == [[[0, 255]]]


def test_cmyk_and_the_first_frame_of_an_animation():
    white = Image.new("CMYK", (4, 4))
    assert int(decode(encoded(white, "JPEG"), 3, "x").min()) >= 250
    frames = [Image.new("L", (4, 3), value) for value in (0, 255)]
    assert int(decode(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), 1, "x").max()) == 0


@pytest.mark.parametrize("orientation, quarter_turns", [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_exif_orientation_is_applied(orientation, quarter_turns):
    exif = Image.Exif()
    exif[0x0112] = orientation
    expected = torch.from_numpy(ramp())[None].rot90(quarter_turns, (1, 2))
    assert torch.equal(decode(encoded(Image.fromarray(ramp()), exif=exif), 1, "x"), expected)


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "the file is empty"),
        (b"hello", "not an image that Pillow can read"),
        (encoded(Image.fromarray(ramp()))[:45], "damaged image"),
        (encoded(Image.new("RGB", (64, 64), "red"), "JPEG")[:400], "damaged image"),
        (encoded(Image.fromarray(ramp(np.float32)), "TIFF"), "floating-point pixels have no known range"),
        (encoded(Image.fromarray(ramp(np.int32) * 1000), "TIFF"), "signed 32-bit pixels have no known range"),
    ],
)
def test_what_is_no_image_is_a_bad_sample_with_a_reason(data, reason):
    with pytest.raises(BadSample) as caught:
        decode(data, 3, "a/b.png")
    assert caught.value.name == "a/b.png" and reason in caught.value.reason and "0x" not in caught.value.reason


def test_other_channels_are_refused():
    check_channels(1, "x"), check_channels(3, "x")
    with pytest.raises(UserError, match=r"x gives 1 channel \(grey\) or 3 \(RGB\), not 4"):
        check_channels(4, "x")

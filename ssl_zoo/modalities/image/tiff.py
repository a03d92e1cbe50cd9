"""TIFF files of any number of channels and any type, by tifffile; nothing is read from shapes that the file can state.

What is a channel:
- the values of a pixel, stored together or as planes (`axes` S of tifffile), and an axis that the file itself calls
  channel (C, in files of ImageJ and OME);
- pages of one value per pixel, where there are as many as channels are asked for.
Of other pages (depth, time) the first is taken. Each of the two decisions is a remark.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ssl_zoo.errors import needs
from ssl_zoo.modalities.image.header import Header
from ssl_zoo.modalities.image.stored import NotUnderstood

INSTALL = "'ssl_zoo[tiff]'"
MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How a TIFF begins; the latter two are BigTIFF."""

_STATED = {"C", "S"}
_PAGES = {"Q", "I", "Z", "T"}
"""Axes of tifffile: other, image, depth, time. Of the first two the file says nothing."""

_AS_STORED = {"MINISBLACK", "MINISWHITE", "RGB", "SEPARATED", "TRANSPARENCY_MASK"}
"""Meanings of the values that are kept as they are; YCbCr in JPEG becomes RGB, which its decoder does."""


def is_tiff(content: bytes) -> bool:
    """Return whether bytes begin as a TIFF."""
    return content[:4] in MAGIC


def open_tiff(content: bytes, channels: int | None) -> Header:
    """Open a TIFF and decode nothing.

    Args:
        content: the file.
        channels: that are asked for; None where they are to be found.

    Raises:
        UserError: tifffile is not installed.
        NotUnderstood: axes or colours that have no clear meaning.
    """
    needs("tifffile", INSTALL, "a TIFF of other than 1 or 3 channels, or with its type kept,")
    import tifffile

    with _quiet():
        series = tifffile.TiffFile(io.BytesIO(content)).series
        if not series:
            raise NotUnderstood("a TIFF without an image")
        return _header(series, content, channels)


def _header(series: Any, content: bytes, channels: int | None) -> Header:
    first = series[0]
    page = first.keyframe
    if first.dtype is None or page.dtype is None or first.dtype.kind not in "biuf":
        raise NotUnderstood(f"values of type {first.dtype}; save integers or floats")
    _check_meaning(page)
    if page.compression != 1:  # tifffile alone unpacks some, without a limit on what comes out
        needs("imagecodecs", INSTALL, "a compressed TIFF")
    sizes = {axis: size for axis, size in zip(first.axes, first.shape, strict=True) if size > 1 or axis in "YX"}
    if set(sizes) - _STATED - _PAGES - {"Y", "X"} or (_STATED <= set(sizes)):
        raise NotUnderstood(f"a TIFF of axes {first.axes} and shape {first.shape}; save one image with its channels")
    stated = sizes.get("C", sizes.get("S", 1))
    pages = {axis: size for axis, size in sizes.items() if axis in _PAGES}
    num = int(np.prod(list(pages.values())))
    remarks = _on_others(series)
    as_channels = num > 1 and stated == 1 and len(pages) == 1 and _are_channels(page, first, num, channels)
    if as_channels:
        remarks.append(f"{num} pages, taken for the channels")
    elif num > 1:
        remarks.append(f"{num} pages, of which the first is used")
    bits = page.bitspersample if isinstance(page.bitspersample, int) else max(page.bitspersample)
    alpha = any(int(each) in (1, 2) for each in page.extrasamples)
    found = num if as_channels else stated
    pixels = found * sizes["Y"] * sizes["X"] * first.dtype.itemsize
    whole = as_channels or "C" in sizes or "Z" in page.axes
    return Header(
        found,
        sizes["Y"],
        sizes["X"],
        np.dtype(first.dtype),
        lambda: _read(first, len(content), whole, as_channels),
        orientation=_orientation(page),
        white_is_zero=page.photometric.name == "MINISWHITE",
        photograph=bits <= 8 and first.dtype.kind in "ub" and (found in (1, 3) or (alpha and found in (2, 4))),
        remarks=tuple(remarks),
        more=first.nbytes - pixels if whole else 0,
    )


def _check_meaning(page: Any) -> None:
    photometric = getattr(page.photometric, "name", str(page.photometric))
    jpeg = page.compression in (6, 7)
    if photometric not in _AS_STORED and not (photometric == "YCBCR" and jpeg):
        raise NotUnderstood(f"a TIFF of {photometric} values; save them as grey, RGB or plain channels")


def _are_channels(page: Any, series: Any, num: int, channels: int | None) -> bool:
    """Return whether pages of one value per pixel are channels."""
    if channels is not None:
        return num == channels
    return series.kind == "shaped" or page.dtype.itemsize > 1  # of plain 8-bit pages, one is a picture


def _on_others(series: Any) -> list[str]:
    others = sum(not (each.keyframe.subfiletype & 5) for each in series[1:])  # neither smaller versions nor masks
    return [f"{others + 1} images of different sizes, of which the first is used"] if others else []


def _orientation(page: Any) -> int:
    tag = page.tags.get(274)
    value = tag.value if tag is not None else 1
    return value if value in range(1, 9) else 1


def _read(series: Any, size: int, whole: bool, as_channels: bool) -> np.ndarray:
    """Return the pixels `(C, H, W)`.

    Args:
        series: of tifffile.
        size: of the file in bytes.
        whole: whether all pages are decoded, or the first.
        as_channels: whether pages are channels.
    """
    with _quiet():
        _check_complete(series, size, whole)
        pixels = series.asarray(maxworkers=1) if whole else series.pages[0].asarray(maxworkers=1)
    axes = series.axes if whole else series.keyframe.axes
    if pixels.ndim != len(axes):
        raise NotUnderstood(f"a TIFF of axes {axes} and shape {pixels.shape}")
    for place in reversed(range(len(axes))):
        channel = axes[place] in _STATED or as_channels
        if axes[place] not in "YX" and not (channel and pixels.shape[place] > 1):
            pixels, axes = pixels.take(0, axis=place), axes[:place] + axes[place + 1 :]
    others = [place for place, axis in enumerate(axes) if axis not in "YX"]
    pixels = np.moveaxis(pixels, others[0], 0) if others else pixels[None]
    return pixels if axes.index("Y") < axes.index("X") else pixels.swapaxes(1, 2)


def _check_complete(series: Any, size: int, whole: bool) -> None:
    """Refuse a file that ends early, or has holes: what is missing would read as zeros."""
    for page in series.pages if whole else series.pages[:1]:
        if page is None:
            raise NotUnderstood("a page is missing")
        page = page.aspage() if hasattr(page, "aspage") else page
        places = list(zip(page.dataoffsets, page.databytecounts, strict=False))
        if not places or any(start <= 0 or count <= 0 for start, count in places):
            raise NotUnderstood("parts without data; write the file whole, not sparse")
        if any(start + count > size for start, count in places):
            raise NotUnderstood("the file ends before its pixels do")
    if whole and series.dataoffset is not None and series.dataoffset + series.nbytes > size:
        raise NotUnderstood("the file ends before its pixels do")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep tifffile from logging what it finds odd: errors are raised, the rest is not for a user to read."""
    logger = logging.getLogger("tifffile")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before

"""Notes on how an image is understood: pages and bands left out, a range that is hardly used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from ssl_zoo.modalities.image.stored import (
    COLOUR,
    Stored,
    ValueRange,
    describe,
    joined,
    lower_mode,
    raw_mode,
    values_of,
)

_FEW = 0.1
"""A range of which less than this fraction is used gets a remark."""


def remarks_on(image: Image.Image, value_range: ValueRange | None) -> Iterator[str]:
    """Yield remarks on an image that was opened and not loaded; each reads on after `N samples:`."""
    stored, mode, raw = describe(image), image.mode, raw_mode(image)
    yield from _on_pages(image)
    if stored.bands > stored.used:
        which = "is" if stored.used == 1 else f"{stored.used} are"
        yield f"{stored.bands} bands, of which the first {which} used"
    if mode == "CMYK":
        yield "CMYK, converted to RGB without its colour profile"
    if not stored.deep:
        if value_range is not None:
            yield "8 bits, to which data.decode.value_range does not apply"
    elif len(image.getbands()) == 1:
        yield from _on_range(values_of(np.asarray(image), stored), stored, value_range)
    else:
        if lower_mode(raw) is None:
            yield f"{stored.bits} bits per channel, of which the upper 8 are read"
        if mode in COLOUR:
            yield from _on_range(joined(np.asarray(image), None), stored, value_range)


def _on_pages(image: Image.Image) -> Iterator[str]:
    if image.format == "MPO":  # the others are previews and the like; a viewer shows the first as a JPEG
        return
    num = getattr(image, "n_frames", 1)
    if num > 1:
        tags: Any = getattr(image, "tag_v2", None)
        if tags is None:
            yield f"{num} frames, of which the first is used"
        else:
            yield from _on_tiff_pages(image, num)
        image.seek(0)


def _on_tiff_pages(image: Image.Image, num: int) -> Iterator[str]:
    kinds = []
    for page in range(num):
        image.seek(page)
        tags: Any = image  # a TIFF's, which has tags; Pillow's types know the base class alone
        kinds.append(int(tags.tag_v2.get(254, 0)))
    pages = sum(not kind & 5 for kind in kinds)  # neither reduced versions of others nor masks
    if kinds[0] & 1:
        yield "the first page is marked as a small version of another, and used"
    elif pages > 1:
        yield f"{pages} pages, of which the first is used"


def _on_range(values: np.ndarray, stored: Stored, value_range: ValueRange | None) -> Iterator[str]:
    if value_range is not None:
        outside = np.count_nonzero((values < value_range[0]) | (values > value_range[1]))
        if 2 * outside > values.size:
            yield "more than half of the values lie outside data.decode.value_range"
    elif stored.range is not None and values.max() < _FEW * stored.range[1]:
        bits = max(1, int(values.max()).bit_length())
        yield (
            f"{stored.type} values that fit in {bits} bits, less than a tenth of the range: read as dark, unless "
            f"-s 'data.decode.value_range=[0, {2**bits - 1}]' is given"
        )

"""Small pictures of samples, side by side in one JPEG, and excerpts of texts."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.paired import PairedModality, PairedViews
from ssl_zoo.data.source import Media, Modality, Sample, Split, ViewPolicy
from ssl_zoo.runs.report_data import Tiles

if TYPE_CHECKING:
    from PIL.Image import Image

LARGE = 96
"""Side of the pictures of queries and their neighbours, in pixels."""
_SIDES = ((1000, 64), (2500, 48))
"""Up to so many samples, tiles have this side; of more, 32."""
_CHARACTERS = 160
"""Of an excerpt."""
_QUALITY = 80
_TEXT = "text/plain"


def side_of(num: int) -> int:
    """Return the side of the tiles of `num` samples, in pixels: multiples of a JPEG's blocks."""
    return next((side for most, side in _SIDES if num <= most), 32)


class Thumbnails:
    """Tiles of all samples of a member, larger ones of some, and excerpts where it is of texts.

    Args:
        num: samples.
        large: positions of those that are also shown large.
    """

    def __init__(self, num: int, large: Sequence[int]) -> None:
        self._num = num
        self._small = _Sheet(num, side_of(num))
        self._large = _Sheet(len(large), LARGE)
        self._place = {i: place for place, i in enumerate(large)}
        self._texts: dict[int, str] = {}
        self._any = False

    def add(self, i: int, sample: Sample, policy: ViewPolicy, modality: Modality, stacked: bool) -> None:
        """Show sample `i`.

        Args:
            i: which.
            sample: of the member.
            policy: its view policy.
            modality: of the member.
            stacked: whether samples come as one tensor.
        """
        if (self._texts or not self._any) and (text := excerpt(modality.media(sample))) is not None:
            self._texts[i] = text
            return
        picture = _as_image(policy.thumbnail(torch.stack([sample]) if stacked else [sample]))
        self._any = True
        self._small.paste(i, picture)
        if i in self._place:
            self._large.paste(self._place[i], picture)

    @property
    def texts(self) -> list[str] | None:
        """The excerpts of all samples, or None."""
        return [self._texts.get(i, "") for i in range(self._num)] if self._texts else None

    @property
    def sheets(self) -> tuple[tuple[Tiles, bytes], tuple[Tiles, bytes]] | None:
        """The small and the large tiles, each with its JPEG; None where there are none."""
        return (self._small.jpeg(), self._large.jpeg()) if self._any else None


class _Sheet:
    def __init__(self, num: int, side: int) -> None:
        self.tiles = Tiles(side=side, columns=math.ceil(num**0.5), num=num)
        self._picture: Image | None = None

    def paste(self, place: int, picture: Image) -> None:
        from PIL import Image

        if self._picture is None:
            self._picture = Image.new("RGB", self.tiles.size, "white")
        side = self.tiles.side
        scale = side / max(picture.size)
        size = tuple(max(1, round(each * scale)) for each in picture.size)
        small = picture.resize((size[0], size[1]), Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST)
        row, column = divmod(place, self.tiles.columns)
        self._picture.paste(small, (column * side + (side - size[0]) // 2, row * side + (side - size[1]) // 2))

    def jpeg(self) -> tuple[Tiles, bytes]:
        from PIL import Image

        out = io.BytesIO()
        (self._picture or Image.new("RGB", self.tiles.size, "white")).save(out, format="JPEG", quality=_QUALITY)
        return self.tiles, out.getvalue()


def _as_image(picture: Tensor) -> Image:
    from PIL import Image

    return Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy())


def excerpt(media: Sequence[Media]) -> str | None:
    """Return the beginning of the first text among media, on one line; None where there is none."""
    for each in media:
        if each.mime == _TEXT:
            text = " ".join(each.data[: 4 * _CHARACTERS + 4].decode("utf-8", "replace").split())
            return text if len(text) <= _CHARACTERS else text[: _CHARACTERS - 4].rstrip() + " ..."
    return None


def thumbnails(
    split: Split, index: Tensor, large: Mapping[str, Sequence[int]], policy: ViewPolicy, modality: Modality
) -> dict[str, Thumbnails]:
    """Return thumbnails of some samples of a split, for each member, or by the empty name where there are none.

    Args:
        split: the samples.
        index: `(N,)` which.
        large: by member, the positions in `index` that are also shown large.
        policy: the view policy; its `thumbnail` is shown, or that of each member.
        modality: of the samples.
    """
    parts: dict[str, tuple[ViewPolicy, Modality]] = {"": (policy, modality)}
    if isinstance(policy, PairedViews) and isinstance(modality, PairedModality):
        parts = {member: (of, modality.members[member]) for member, of in policy.each()}
    found = {name: Thumbnails(len(index), large[name]) for name in parts if name in large}
    for i, place in enumerate(index.tolist()):
        try:
            sample = split.read(place)
            for name, each in found.items():
                each.add(i, sample[name] if name else sample, *parts[name], stacked=split.stacked)
        except BadSample:  # damaged since it was encoded; its tile stays blank
            continue
    return found

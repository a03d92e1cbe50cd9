"""Samples as the cells of a page: a picture, the beginning of a text, or something to hear."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.source import Media, Sample, Samples, Split, ViewPolicy
from ssl_zoo.evaluation.thumbnails import thumbnails
from ssl_zoo.report.embedding import Sheets
from ssl_zoo.runs.report_data import MOST_SAMPLES, shortened
from ssl_zoo.search.vectors import Vectors

MOST_HEARD = 16 * 2**20
"""Bytes of the sound on a page."""
_HEARD = re.compile(r"audio/[a-zA-Z0-9.+-]+")

Shown = int | tuple[str, Sample]
"""A sample of the data, by its number; or one from elsewhere, with its name."""


class _Picked(Split):
    """Samples that a page shows."""

    def __init__(self, vectors: Vectors, shown: Sequence[Shown]) -> None:
        self._vectors, self._shown = vectors, shown

    def __len__(self) -> int:
        return len(self._shown)

    def read(self, i: int) -> Sample:
        each = self._shown[i]
        if isinstance(each, int):
            return self._vectors.whole(each)
        return {self._vectors.member: each[1]} if self._vectors.member else each[1]


class _AsStored(ViewPolicy):
    """Shows samples as they are stored, which a small view of them does not."""

    def __init__(self, vectors: Vectors) -> None:
        super().__init__()
        self._policy, self._likeness = vectors.policy, vectors.modality.likeness()

    def thumbnail(self, samples: Samples) -> Tensor:
        """Return a picture `(3, H, W)`, uint8, of one sample."""
        picture = self._likeness.picture(samples[0])
        return self._policy.thumbnail(samples) if picture is None else picture


class Cells:
    """Cells of a page.

    Args:
        vectors: of the samples.
        shown: all that the page shows, each once; at most `MOST_SAMPLES`.
    """

    def __init__(self, vectors: Vectors, shown: Sequence[Shown]) -> None:
        self.sheets = Sheets()
        self._vectors, self._shown = vectors, list(shown)[:MOST_SAMPLES]
        self._place = {each if isinstance(each, int) else each[0]: i for i, each in enumerate(self._shown)}
        picked, member, num = _Picked(vectors, self._shown), vectors.member, len(self._shown)
        policy = vectors.opened.policy if member else _AsStored(vectors)
        modality = vectors.opened.data.modality
        self._texts, self._tiles = None, None
        if num:
            made = thumbnails(picked, torch.arange(num), {member: range(num)}, policy, modality)[member]
            self._texts, self._tiles = made.texts, None if made.sheets is None else made.sheets[1]
        self._sheet = None if self._tiles is None else self.sheets.add(self._tiles)
        names = [vectors.path(each) if isinstance(each, int) else each[0] for each in self._shown]
        self._short = _short([name for name, each in zip(names, self._shown, strict=True) if isinstance(each, int)])
        self._heard = self._sounds(picked)

    def _sounds(self, picked: Split) -> dict[int, str]:
        """Return what can be heard of the samples, as data URIs, as far as there is room."""
        found: dict[int, str] = {}
        room = MOST_HEARD
        for i in range(len(picked)):
            try:
                sample = picked.read(i)
            except BadSample:
                continue  # damaged since it was encoded; its cell has a name alone
            sample = sample[self._vectors.member] if self._vectors.member else sample
            sound = next((each for each in self._vectors.modality.media(sample) if _HEARD.fullmatch(each.mime)), None)
            if sound is None:
                break  # samples of this modality cannot be heard
            room -= len(sound.data)
            if room >= 0:
                found[i] = _uri(sound)
        return found

    def cell(self, shown: Shown, **more: Any) -> dict[str, Any]:
        """Return a cell as the templates take it.

        Args:
            shown: the sample.
            more: further entries.
        """
        inside = isinstance(shown, int)
        key = shown if isinstance(shown, int) else shown[0]
        name = self._vectors.name(shown) if isinstance(shown, int) else shown[0]
        i = self._place.get(key)
        tile = None
        if i is not None and self._tiles is not None:
            row, column = divmod(i, self._tiles[0].columns)
            tile = {"sheet": self._sheet, "row": row, "column": column}
        return {
            "name": name,
            "short": shortened(name[self._short :] if inside else os.path.basename(name), 60),
            "label": self._vectors.label(shown) if isinstance(shown, int) else None,
            "tile": tile,
            "excerpt": None if self._texts is None or i is None else self._texts[i],
            "heard": None if i is None else self._heard.get(i),
            **more,
        }


def _short(names: Sequence[str]) -> int:
    """Return the length of the folder that all names lie in."""
    prefix = os.path.commonprefix(list(names)) if len(names) > 1 else (names[0] if names else "")
    return prefix.rfind("/") + 1


def _uri(media: Media) -> str:
    return f"data:{media.mime};base64,{base64.b64encode(media.data).decode()}"

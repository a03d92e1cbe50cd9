"""The pictures of views on the page, with what can be heard or read of their samples."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from typing import Any

from ssl_zoo.report.aggregate import Group
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.runs.samples import ShownSample, read_samples

WIDE = 640
"""Pixels; a wider picture is shown at its own size and scrolls, such as the frames of clips."""
_HEARD = re.compile(r"audio/[a-zA-Z0-9.+-]+")


def pictures(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return the pictures of views in the run folders, each once, with the samples that can be heard or read."""
    found: dict[str, dict[str, Any]] = {}
    for group in groups:
        folder = RunFolder(group.runs[0]) if group.runs else None
        if folder is not None and folder.views.is_file():
            data = folder.views.read_bytes()
            png = base64.b64encode(data).decode()
            if png not in found:
                found[png] = {"name": group.name, "png": png, **_opened(data, read_samples(folder.samples))}
    return list(found.values())


def _opened(data: bytes, samples: Sequence[ShownSample]) -> dict[str, Any]:
    """Return the width of a picture where it is wide, and the part of each sample with its media."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        width, height = picture.size
        rows = [
            {"png": _part(picture, each), "width": max(width, WIDE // 2), "media": _media(each)}
            for each in samples
            if each.top < each.bottom <= height
        ]
    return {"wide": width if width > WIDE else None, "samples": rows}


def _part(picture: Any, sample: ShownSample) -> str:
    out = io.BytesIO()
    picture.crop((0, sample.top, picture.width, sample.bottom)).save(out, format="PNG")
    return base64.b64encode(out.getvalue()).decode()


def _media(sample: ShownSample) -> list[dict[str, str | None]]:
    """Return what a page shows: `heard`, a data URI; `read`, a text; or `left_out`, why it does not."""
    shown: list[dict[str, str | None]] = []
    for each in sample.media:
        if each.base64 is not None and _HEARD.fullmatch(each.mime):
            shown.append({"heard": f"data:{each.mime};base64,{each.base64}"})
        elif each.content is not None:
            shown.append({"read": each.content})
        else:
            shown.append({"left_out": f"{each.mime}: {each.left_out or 'a page does not show it'}"})
    return shown

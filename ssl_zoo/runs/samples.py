"""`samples.json`: sound and texts of the samples in the picture of views, which a page shows beside it."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ssl_zoo.data.source import Media
from ssl_zoo.errors import UserError
from ssl_zoo.runs.atomic import write_atomically

MOST_BYTES = 2 * 2**20
"""Of all media of a file together; what does not fit is named in its place."""
MOST_CHARACTERS = 2000
"""Of a text."""
MOST_SAMPLES = 8
PLAIN = "text/plain"
_LARGEST = 2 * MOST_BYTES


class ShownMedia(BaseModel):
    """Something to hear, to read or to see: the bytes in base64, or a text, or why it is not there."""

    model_config = ConfigDict(strict=True, frozen=True)
    mime: Annotated[str, Field(pattern=r"^[a-z]+/[a-zA-Z0-9.+-]+$")]
    base64: str | None = None
    content: str | None = None
    left_out: str | None = None


class ShownSample(BaseModel):
    """A sample: the rows of pixels of the picture that show it, and its media."""

    model_config = ConfigDict(strict=True, frozen=True)
    top: Annotated[int, Field(ge=0)]
    bottom: Annotated[int, Field(ge=1)]
    media: list[ShownMedia]


class _File(BaseModel):
    model_config = ConfigDict(strict=True)
    samples: Annotated[list[ShownSample], Field(max_length=MOST_SAMPLES)]


def write_samples(path: Path, rows: Sequence[tuple[int, int]], media: Sequence[Sequence[Media]]) -> None:
    """Write the media of samples; where no sample has any, nothing is written.

    Args:
        path: the file.
        rows: of each sample, where its row of the picture begins and ends.
        media: of each sample.

    Raises:
        CannotWrite: the disk is full, or the folder is gone.
    """
    if not any(media):
        return
    left, samples = MOST_BYTES, []
    for (top, bottom), some in list(zip(rows, media, strict=True))[:MOST_SAMPLES]:
        shown = []
        for each in some:
            one, size = _shown(each, left)
            shown.append(one.model_dump(exclude_none=True))
            left -= size
        samples.append({"top": top, "bottom": bottom, "media": shown})
    write_atomically(path, json.dumps({"samples": samples}, indent=1) + "\n")


def _shown(media: Media, left: int) -> tuple[ShownMedia, int]:
    """Return what is written of a medium, and its bytes."""
    data = media.data
    if media.mime == PLAIN:
        words = data[: 4 * MOST_CHARACTERS + 4].decode("utf-8", "replace")  # a character has at most 4 bytes
        words = words if len(words) <= MOST_CHARACTERS else words[:MOST_CHARACTERS] + " ..."
        size = len(words.encode("utf-8"))
        if size <= left:
            return ShownMedia(mime=media.mime, content=words), size
    elif len(data) <= left:
        return ShownMedia(mime=media.mime, base64=base64.b64encode(data).decode()), len(data)
    return ShownMedia(mime=media.mime, left_out=f"{len(data) / 2**20:.1f} MiB, too large to be shown here"), 0


def read_samples(path: Path) -> list[ShownSample]:
    """Return the samples of a file; none where there is none.

    Raises:
        UserError: it is not what `write_samples` writes.
    """
    if not path.is_file():
        return []
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ValueError
        raw: Any = json.loads(content)
        found = _File.model_validate(raw).samples
        for sample in found:
            for each in sample.media:
                base64.b64decode(each.base64 or "", validate=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}.") from None
    except (ValidationError, ValueError, RecursionError, binascii.Error):
        raise UserError(f"{path}: is not the list of samples of a run; remove it, the picture stays.") from None
    return found

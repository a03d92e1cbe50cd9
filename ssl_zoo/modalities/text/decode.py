"""Texts as samples: UTF-8 bytes, strings and lists of strings become a tuple of texts, none of them blank."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

from ssl_zoo.data.bad_samples import BadSample

EXTENSIONS = frozenset({".txt"})

MAX_BYTES = 2**24
"""The largest encoded sample, in bytes."""

Texts = tuple[str, ...]
"""A sample: one text, or several that say the same."""


def decode(data: bytes | BinaryIO, name: str) -> str:
    """Return UTF-8 bytes as a text, without the mark that some editors write at its beginning.

    Args:
        data: the bytes, or a file opened for reading.
        name: of the sample, for messages.

    Raises:
        BadSample: it is not UTF-8, or has a zero byte, as UTF-16 and files that are no text have.
    """
    content = data if isinstance(data, bytes) else data.read()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Python counts from behind the mark; the position is that in the file.
        place = error.start + (3 if content.startswith(b"\xef\xbb\xbf") else 0)
        raise BadSample(
            name, f"it is not UTF-8: byte {place} is 0x{content[place]:02x} ({error.reason}); convert it"
        ) from None
    if "\0" in text:
        raise BadSample(name, f"byte {content.index(0)} is zero, so that it is no text in UTF-8; convert or remove it")
    return text


def sample_of(texts: Iterable[str | None], name: str, max_bytes: int = MAX_BYTES) -> Texts:
    """Return the texts that are not blank.

    Args:
        texts: of a sample; None is no text.
        name: of the sample, for messages.
        max_bytes: the largest sum of their sizes.

    Raises:
        BadSample: none is left, one is no string, or they are larger than allowed.
    """
    found = []
    for text in texts:
        if text is not None and not isinstance(text, str):
            raise BadSample(name, f"a {type(text).__name__}, not a text")
        if text is not None and text.strip():
            found.append(text)
    if not found:
        raise BadSample(name, "the text is empty")
    # A character is 1 to 4 bytes: most texts need no encoding to be known as small.
    if 4 * sum(map(len, found)) > max_bytes:
        size = sum(len(text.encode("utf-8", "surrogatepass")) for text in found)
        if size > max_bytes:
            raise BadSample(
                name, f"{size} bytes, more than the {max_bytes} that are allowed; raise data.decode.max_bytes"
            )
    return tuple(found)

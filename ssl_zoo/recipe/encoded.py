"""Samples as they are stored: a modality that decodes nothing."""

from __future__ import annotations

from typing import Any, BinaryIO

from ssl_zoo.data.source import Modality


class Encoded(Modality):
    """Samples of another modality, left as they are stored: bytes, strings, or lists of strings.

    Args:
        kind: the other modality.
        more: whether its `more_extensions` count.
    """

    def __init__(self, kind: Modality, more: bool = True) -> None:
        super().__init__(kind.spec)
        self.extensions = kind.extensions | (kind.more_extensions if more else frozenset())
        self.columns = kind.columns
        self.reads_text, self.max_bytes, self.size_option = kind.reads_text, kind.max_bytes, kind.size_option

    def decode(self, data: bytes | BinaryIO, name: str) -> bytes:
        """Return the bytes."""
        return data if isinstance(data, bytes) else data.read()

    def from_value(self, value: Any, name: str) -> Any:
        """Return the cell of a table."""
        return value

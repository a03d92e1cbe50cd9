"""Token ids of texts, remembered within bounds: a text is met once per epoch, and tokenised once."""

from __future__ import annotations

from typing import Any

import numpy as np

from ssl_zoo.modalities.text.tokenizers import Tokenizer

KNOWN_BYTES = 2**26
"""So many bytes of ids are remembered, in each process."""

_OVERHEAD = 200
"""Bytes of an entry beside its ids and its text."""


class Known:
    """A tokenizer that remembers the texts that it met first. Copies and pickles start anew.

    Args:
        tokenizer: does the work.
        room: bytes of ids and texts that are remembered.
    """

    def __init__(self, tokenizer: Tokenizer, room: int = KNOWN_BYTES) -> None:
        self.tokenizer = tokenizer
        self._ids: dict[str, np.ndarray] = {}
        self._room = room

    def __call__(self, text: str) -> np.ndarray:
        """Return the ids of a text, int32 `(N,)`, at least one; they are not to be changed."""
        found = self._ids.get(text)
        if found is None:
            found = self.tokenizer.encode(text)
            size = found.nbytes + 2 * len(text) + _OVERHEAD
            if size <= self._room:
                self._room -= size
                self._ids[text] = found
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return Known, (self.tokenizer,)

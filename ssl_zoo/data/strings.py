"""Many strings in little memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


class Strings(Sequence[str]):
    """Many strings in one byte buffer.

    A Python list of a million paths is a million objects, and touching one in a forked worker copies its page (the
    reference count is written), so that memory grows over an epoch. Two numpy arrays are never written to.
    """

    def __init__(self, strings: Iterable[str]) -> None:
        # File names need not be valid UTF-8; surrogateescape carries such bytes through, as the os module does.
        encoded = [string.encode("utf-8", "surrogateescape") for string in strings]
        self._ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)))
        self._bytes = np.frombuffer(b"".join(encoded), np.uint8)

    def __len__(self) -> int:
        return len(self._ends)

    def encoded(self) -> list[bytes]:
        """Return all strings as their bytes."""
        data, ends = self._bytes.tobytes(), self._ends.tolist()
        return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def __getitem__(self, i: int) -> str:  # type: ignore[override]  # slices are not offered
        i = range(len(self))[i]
        start = self._ends[i - 1] if i else 0
        return self._bytes[start : self._ends[i]].tobytes().decode("utf-8", "surrogateescape")

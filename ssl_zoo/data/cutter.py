"""What the views need of samples is cut out of them as they are read, so that a batch of large ones is never held."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ssl_zoo.data.source import Sample, ViewPolicy

HOLD_BYTES = 8 * 2**20
"""Bytes of whole samples that are held before they are cut: small samples are cut together, which is faster."""


def tensor_bytes(sample: Sample) -> int | None:
    """Return the size in bytes of a sample that is a tensor, or a mapping of members that are; None of any other."""
    if isinstance(sample, Mapping):
        sizes = [tensor_bytes(each) for each in sample.values()]
        return None if None in sizes else sum(size or 0 for size in sizes)
    return sample.nbytes if isinstance(sample, Tensor) else None


class Cutter:
    """Takes whole samples as they are read, and keeps what the policy's `cut` leaves of them.

    Args:
        policy: the view policy.
        drawn: what it drew for a batch.
    """

    def __init__(self, policy: ViewPolicy, drawn: dict[str, Tensor]) -> None:
        self._cut, self._drawn = policy.cut, drawn
        self._whole: list[Sample] = []
        self._rows: list[int] = []
        self._done: list[Any] = []

    def add(self, sample: Sample, row: int) -> None:
        """Take a sample and its place in the batch.

        Raises:
            BadSample: a sample that is decoded as it is cut, such as a clip, and cannot be.
        """
        whole = tensor_bytes(sample) is not None
        if not whole and self._whole:
            self._cut_all()
        self._whole.append(sample)
        self._rows.append(row)
        if not whole or sum(tensor_bytes(each) or 0 for each in self._whole) > HOLD_BYTES:
            self._cut_all()

    def _cut_all(self) -> None:
        samples, rows, self._whole, self._rows = self._whole, self._rows, [], []
        self._done += self._cut(samples, {name: value[rows] for name, value in self._drawn.items()})

    def finish(self) -> list[Any]:
        """Return what was kept of all samples, in their order."""
        if self._whole:
            self._cut_all()
        return self._done

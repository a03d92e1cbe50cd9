"""What samples are: the same bytes, the same decoded content, and the outlines by which near duplicates are told."""

from __future__ import annotations

import hashlib
import tempfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.source import Sample
from ssl_zoo.search.vectors import Searched, Vectors, progress

KEPT = 2048
"""Outlines that are kept in memory: pairs share samples, which are read once then."""


def digest(sample: Sample) -> bytes | None:
    """Return a digest of a decoded sample: equal for equal content. None where it cannot be told."""
    found = hashlib.sha256()
    return found.digest() if _add(found, sample) else None


def _add(found: Any, value: Any) -> bool:
    if isinstance(value, Tensor):
        value = value.cpu().contiguous()
        found.update(f"{value.dtype}{tuple(value.shape)}".encode())
        found.update(value.numpy().tobytes())
        return True
    if isinstance(value, (bytes, str, int, float)):
        data = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
        found.update(f"{type(value).__name__}{len(data)}".encode() + data)
        return True
    if isinstance(value, Mapping):
        return all(_add(found, each) for pair in value.items() for each in pair)
    if isinstance(value, (list, tuple)):
        found.update(f"sequence{len(value)}".encode())
        return all(_add(found, each) for each in value)
    if is_dataclass(value):
        return all(_add(found, getattr(value, each.name)) for each in fields(value))
    return False  # a handle on a file


def same_bytes(one: str, other: str) -> bool:
    """Return whether two names are of files with the same bytes; False of what are no files."""
    try:
        a, b = Path(one), Path(other)
        if not (a.is_file() and b.is_file()) or a.stat().st_size != b.stat().st_size:
            return False
        with a.open("rb") as first, b.open("rb") as second:
            return hashlib.file_digest(first, "sha256").digest() == hashlib.file_digest(second, "sha256").digest()
    except (OSError, ValueError):
        return False


class Contents:
    """The contents of all samples, each read once here.

    Args:
        vectors: of the samples.
        place: a folder; a file without a name holds the coarse outlines there.

    Attributes:
        digests: of the samples; None where the sample cannot be read any more, or told from others.
        coarse: `(N, d)`, `Likeness.coarse` of each, a memory map; zeros of those that cannot be read.
    """

    def __init__(self, vectors: Vectors, place: Path) -> None:
        self._vectors = vectors
        self.likeness = vectors.modality.likeness()
        self.digests: list[bytes | None] = []
        self._kept: OrderedDict[int, Tensor] = OrderedDict()
        self.coarse: Any = None
        with progress(len(vectors), "sample") as bar:
            for i in range(len(vectors)):
                bar.update(1)
                try:
                    sample = vectors.read(i)
                except BadSample:  # damaged since it was encoded
                    self.digests.append(None)
                    continue
                self.digests.append(digest(sample))
                row = self.likeness.coarse(outline(vectors, self.likeness, sample)[None])[0].numpy()
                if self.coarse is None:
                    with tempfile.TemporaryFile(dir=place) as file:
                        self.coarse = np.memmap(file, dtype=np.float32, mode="w+", shape=(len(vectors), len(row)))
                self.coarse[i] = row
        if self.coarse is None:
            self.coarse = np.zeros((len(vectors), 1), np.float32)

    def outlines(self, places: Iterable[int]) -> Tensor:
        """Return the outlines `(B, D)` of samples.

        Raises:
            BadSample: one cannot be read.
        """
        return torch.stack([self._outline(i) for i in places])

    def _outline(self, i: int) -> Tensor:
        if i not in self._kept:
            self._kept[i] = outline(self._vectors, self.likeness, self._vectors.read(i))
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(i)
        return self._kept[i]


def outline(searched: Searched, likeness: Any, sample: Sample) -> Tensor:
    """Return the outline `(D,)` of a sample."""
    return likeness.outline(sample, searched.policy.looks([sample])[0])


def exact_groups(digests: Sequence[bytes | None]) -> list[list[int]]:
    """Return the groups of samples with equal digests, in the order of their first; at least two in each."""
    found: dict[bytes, list[int]] = {}
    for i, each in enumerate(digests):
        if each is not None:
            found.setdefault(each, []).append(i)
    return [group for group in found.values() if len(group) > 1]

"""Contents of samples as digests, by which changed data are noticed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.skipping import probes
from ssl_zoo.data.source import Split
from ssl_zoo.data.strings import Strings

UNREADABLE = "unreadable"


def digest_of(sample: Any) -> str:
    """Return a digest of a sample: equal for equal values, in this process and in another."""
    into = hashlib.blake2b(digest_size=12)
    _add(into, sample)
    return into.hexdigest()


def _add(into: Any, value: Any) -> None:
    into.update(type(value).__name__.encode())
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous()
        into.update(f"{value.dtype}{tuple(value.shape)}".encode())
        into.update(value.flatten().view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    elif isinstance(value, np.ndarray):
        into.update(f"{value.dtype}{value.shape}".encode())
        into.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, (bytes, str)):
        data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        into.update(len(data).to_bytes(8, "little") + data)
    elif isinstance(value, (bool, int, float)) or value is None:
        into.update(repr(value).encode())
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            _add(into, str(key))
            _add(into, value[key])
    elif isinstance(value, (tuple, list)):
        for each in value:
            _add(into, each)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            _add(into, getattr(value, field.name))
    else:  # a sample that is decoded later, such as a video: its size
        into.update(repr(getattr(value, "nbytes", None)).encode())


def probe_digests(split: Split) -> list[str]:
    """Return digests of samples that are spread over a split; `UNREADABLE` for one that cannot be read.

    There are none where a sample is another one each time it is read, as in a data set with random transforms.
    """
    places = probes(len(split))
    found = [_digest(split, i) for i in places]
    again = next((k for k, digest in enumerate(found) if digest != UNREADABLE), None)
    return [] if again is not None and _digest(split, places[again]) != found[again] else found


def _digest(split: Split, i: int) -> str:
    try:
        return digest_of(split.read(i))
    except BadSample:
        return UNREADABLE


@dataclass(frozen=True, eq=False)
class Contents:
    """What the samples of a split are, as far as it is looked at, by which a change is noticed.

    Attributes:
        names: a hash of the name of each sample below its source, `(N,)` uint64.
        sizes: the bytes of each as it is stored, `(N,)` int64, -1 where that is not known.
        probed: the positions of the samples that were read.
        digests: of these, see `probe_digests`.
        known: the names themselves, where they are at hand.
    """

    names: np.ndarray
    sizes: np.ndarray
    probed: tuple[int, ...]
    digests: tuple[str, ...]
    known: Sequence[str] | None = None

    def name(self, i: int) -> str:
        """Return the name of sample `i`."""
        return f"sample {i}" if self.known is None else self.known[i]

    def plain(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        sizes = hashlib.sha256(self.sizes.tobytes()).hexdigest() if (self.sizes >= 0).any() else None
        return {"sizes": sizes, "digests": list(self.digests)}


def contents_of(split: Split) -> Contents:
    """Look at the names and sizes of all samples of a split, and read some; at none where it has a fingerprint."""
    if split.fingerprint is not None:
        return Contents(np.empty(0, np.uint64), np.empty(0, np.int64), (), ())
    num = len(split)
    sizes = split.sizes()
    return Contents(
        np.fromiter(map(_hash, relative_names(split)), np.uint64, num),
        np.full(num, -1, np.int64) if sizes is None else np.fromiter(sizes, np.int64, num),
        tuple(probes(num)),
        tuple(probe_digests(split)),
        split.names,
    )


def relative_names(split: Split) -> Iterator[bytes]:
    """Yield the names of all samples below their source, where they have such, else as messages name them."""
    if isinstance(split.names, Strings):  # a million calls of `name` take many seconds
        yield from split.names.encoded()
        return
    for i in range(len(split)):
        name = split.name(i) if split.names is None else split.names[i]
        yield name.encode("utf-8", "surrogateescape")


def _hash(name: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little")

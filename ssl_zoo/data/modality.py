"""The contract of a modality: how encoded samples become samples, and what is known of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ssl_zoo.batch import InputSpec, View
from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.defaults import Defaults, Given
from ssl_zoo.data.likeness import Likeness
from ssl_zoo.data.split import Sample


@dataclass(frozen=True)
class Media:
    """Something that a page shows: `mime` is its type, such as `audio/wav` or `text/plain`, `data` its content."""

    mime: str
    data: bytes


class Modality:
    """One kind of data: the registered kind `modality`, whose name is its folder's. This one is of plain tensors.

    Byte sources (a folder, an archive, parquet files) find files by `extensions` and hand their bytes to `decode`.
    Its options are those of `data.decode`.

    Args:
        spec: of the views.

    Attributes:
        extensions: endings of its files, lower case, with the dot; none where there are no files.
        more_extensions: endings that are read under some options only; `extensions` of a modality that has them include
            them.
        columns: names that a column of encoded samples may have, the first choice first.
        reads_text: whether such a column may hold strings, or lists of strings, instead of bytes; see `from_value`.
        item_keys: keys of a mapping that is one sample, as an item of a Python data set; none where there is no such.
        any_size: whether samples of different sizes, or that are no tensors, are kept in memory where all of them fit;
            else only tensors of one size are.
        max_bytes: the largest encoded sample.
        size_option: the key of the option that raises `max_bytes`, where there is one.
        axes: what the numbers of `describe` are, such as `height x width`, where that needs words.
        studies: experiments that a first recipe may start from, the nearest first: `speech` for `speech/simsiam`.
    """

    axes: str = ""
    studies: tuple[str, ...] = ()
    extensions: frozenset[str] = frozenset()
    more_extensions: frozenset[str] = frozenset()
    columns: tuple[str, ...] = ()
    reads_text: bool = False
    item_keys: tuple[str, ...] = ()
    any_size: bool = False
    max_bytes: int = 2**31
    size_option: str = ""

    def __init__(self, spec: InputSpec) -> None:
        self.spec = spec

    def decode(self, data: bytes | BinaryIO, name: str) -> Sample:
        """Return an encoded sample, decoded.

        Args:
            data: the bytes, or a file opened for reading.
            name: of the sample, for messages.

        Raises:
            BadSample: it cannot be decoded.
        """
        raise BadSample(name, f"samples of the modality {self.spec.modality!r} are not read from files")

    def from_value(self, value: Any, name: str) -> Sample:
        """Return the sample of a table's cell, by default its decoded bytes.

        Args:
            value: bytes; a modality that `reads_text` gets strings and lists of strings too.
            name: of the sample, for messages.

        Raises:
            BadSample: it cannot be decoded.
        """
        if not isinstance(value, bytes):
            raise BadSample(name, f"a {type(value).__name__}, not the bytes of a file")
        return self.decode(value, name)

    def from_item(self, value: Any, name: str) -> Sample:
        """Return the sample in an item of a Python data set: what `decode` returns, an array, or what a table may hold.

        Args:
            value: arrays become tensors, encoded bytes are decoded; a modality that `reads_text` gets strings and
                lists of strings too. Other values are taken for samples as they are.
            name: of the sample, for messages.

        Raises:
            BadSample: it is none.
        """
        if isinstance(value, bytes) or self.reads_text:
            return self.from_value(value, name)
        if isinstance(value, np.ndarray):
            return torch.from_numpy(value)
        if value is None or isinstance(value, (str, int, float)):
            raise BadSample(name, f"a {type(value).__name__}, not a sample of the modality {self.spec.modality!r}")
        return value

    def remarks(self, data: bytes | BinaryIO, name: str) -> tuple[str, ...]:
        """Return notes on how an encoded sample is understood."""
        return ()

    def kept(self, sample: Sample) -> Sample:
        """Return a sample as it is kept in memory, with all that is slow done: a clip's frames are decoded.

        Raises:
            BadSample: it cannot be decoded.
        """
        return sample

    def nbytes(self, sample: Sample) -> int:
        """Return the size of a kept sample in memory, in bytes."""
        return sample.nbytes if isinstance(sample, Tensor) else len(sample)

    def values(self, sample: Sample) -> Tensor | None:
        """Return the values of a sample `(C, n)`, in the units of the views' `mean` and `std`; None where it has none.

        By default those of 8-bit tensors `(C, ...)`, as 0 to 1.
        """
        if not isinstance(sample, Tensor) or sample.dtype != torch.uint8 or sample.ndim < 2:
            return None
        return sample.flatten(1).double() / 255

    def stored_channels(self, data: Any, name: str) -> int | None:
        """Return the channels of an encoded sample, where a look at data without a recipe is to take those.

        By default None: samples are converted to the channels of the views.

        Args:
            data: its bytes, or the cell of a table.
            name: of the sample, for messages.

        Raises:
            BadSample: it cannot be read, or does not tell.
        """
        return None

    def media(self, sample: Sample) -> list[Media]:
        """Return what a page shows of a sample beside the picture of its views: sound to play, a text to read."""
        return []

    def likeness(self) -> Likeness:
        """Return how samples are compared in the space of the data; by default by the correlation of `raw`."""
        return Likeness(self)

    def describe(self, sample: Sample) -> str:
        """Return the size of a sample, such as `32x32`: equal ones are counted."""
        return "x".join(map(str, sample.shape[1:]))

    def defaults(self, samples: Iterable[Sample], given: Given) -> Defaults:
        """Return the settings of a first recipe on some samples, for `ssl-zoo init`; by default none.

        Args:
            samples: some of those to train on, at least one, read one after the other as the iteration asks for them.
            given: the method, the number of samples and the machine.
        """
        return Defaults(start="method")

    def misfit(self, sample: Sample) -> str:
        """Return in words how the views do not fit a sample, such as views much larger than it; empty if they do."""
        return ""

    def raw(self, view: View, max_dim: int = 4096) -> Tensor:
        """Return plain samples as features `(B, D)`: the baseline that an encoder has to beat.

        Args:
            view: of plain samples.
            max_dim: largest D. Longer samples are averaged over areas, all sides by the same factor.
        """
        x = view.tensor
        if x[0].numel() <= max_dim:
            return x.flatten(1)
        x = x[:, None] if x.ndim == 2 else x
        scale = (max_dim / x[0].numel()) ** (1 / (x.ndim - 2))
        size = [max(1, int(side * scale)) for side in x.shape[2:]]
        return interpolate(x.float(), size=size, mode="area").flatten(1)

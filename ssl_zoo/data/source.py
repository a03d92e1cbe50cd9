"""Contracts of the data: sources offer named splits of samples, a modality decodes them, a view policy makes views.

A sample is opaque to everything but its modality and its view policy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, BinaryIO, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ssl_zoo.batch import InputSpec, View
from ssl_zoo.data.bad_samples import BadSample, Budget
from ssl_zoo.data.blocks import Blocks
from ssl_zoo.data.defaults import Defaults, Given
from ssl_zoo.data.draws import Draws
from ssl_zoo.data.likeness import Likeness

Sample = Any
"""A tensor, encoded bytes, a handle on a file, named tensors: only its modality and its view policy look inside."""

Samples = Tensor | Sequence[Sample]


class Split(ABC):
    """The samples of one split. It travels to worker processes, so it must pickle, and stay small when it does.

    Attributes:
        labels: `(N,)` int64, numbers from 0 that mean the same in all splits of a source, -1 for a sample without one;
            or None where no sample has one. They are for evaluation and never reach a method.
        class_names: the name of each label, or None where they have none; the same list for all splits of a source.
        stacked: whether `read_batch` returns one tensor at once, from memory, without samples that cannot be read.
        names: the names of all samples where they are at hand, else None.
        draws: how many samples of each source an epoch of the training has; None where it has each sample once.
        blocks: samples that are read together, so that an epoch goes from some of them to the next; None where any
            sample is read as fast as any other.
        fingerprint: a digest of names and contents of all samples where the source keeps one, by which changed data are
            noticed; else None, and they are looked at.
        bad: name -> reason of the samples that were found unreadable when the split was opened, and left out.
        remarks_of_some: sentences on how some samples were understood, where they were collected on opening.
        holders: processes of this machine that have the samples in memory together, once.
    """

    labels: Tensor | None = None
    class_names: list[str] | None = None
    stacked: bool = False
    names: Sequence[str] | None = None
    remarks_of_some: tuple[str, ...] | None = None
    holders: int = 1
    draws: Draws | None = None
    blocks: Blocks | None = None
    fingerprint: str | None = None
    bad: Mapping[str, str] = MappingProxyType({})

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abstractmethod
    def read(self, i: int) -> Sample:
        """Return sample `i`.

        Raises:
            BadSample: it cannot be read.
        """

    def read_batch(self, index: Tensor) -> Samples:
        """Return the samples at `index`, a tensor `(B, ...)` where the split is `stacked`, else a list.

        Raises:
            BadSample: one cannot be read.
        """
        return [self.read(i) for i in index.tolist()]

    def name(self, i: int) -> str:
        """Return the name of sample `i` for its user: a file name, or `row 17 of train.parquet`."""
        return f"sample {i}"

    def remarks(self, i: int) -> tuple[str, ...]:
        """Return notes on how sample `i` was understood, such as `50 pages, of which the first is used`."""
        return ()

    def sizes(self) -> Iterable[int] | None:
        """Return the bytes of each sample as it is stored, -1 where that is not known; None where all are not.

        No sample is read for it. By the sizes, a resumed run notices files that have changed.
        """
        return None

    def unreadable(self) -> Mapping[str, str]:
        """Return name -> reason of samples that cannot be read, where that is known without reading any.

        Those of a shard that is missing, for example; by default none.
        """
        return MappingProxyType({})

    def budget(self) -> Budget | None:
        """Return a new list of bad samples, to which unreadable ones may be added; None where they are errors."""
        return None


class Source(Protocol):
    """An origin of data: the registered kind `source`. Its factory may ask for `modality` by position.

    Attributes:
        splits: the names of its splits, `train` first.
        notes: sentences for the user: what was left out, with counts and an example, and what was understood
            differently from its spelling.
    """

    splits: tuple[str, ...]
    notes: tuple[str, ...]

    def split(self, name: str) -> Split:
        """Return the split of that name."""


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


class ViewPolicy(nn.Module):
    """Makes the views of samples: the registered kind `views`. A subclass has the class attribute `modality`.

    `draw` and `collate` run in the loader, perhaps in a worker process; `forward` runs on the device.

    Attributes:
        modality: registered name of the modality.
        spec: shapes of the views.
        mild: options of its twin that augments mildly, for training with labels: what leaves of crops and flips only
            what keeps a sample's class. None where the policy is taken as it is.
        per_view: options that may be lists with a number for each view.
    """

    modality: str
    spec: InputSpec
    mild: Mapping[str, Any] = MappingProxyType({})
    per_view: tuple[str, ...] = ()

    def draw(self, generator: torch.Generator, num: int) -> dict[str, Tensor]:
        """Return everything random of the views of `num` samples; each tensor has leading dimension `num`."""
        raise NotImplementedError

    def cut(self, samples: Sequence[Sample], params: dict[str, Tensor]) -> Sequence[Any]:
        """Return what the views need of each sample; by default all of it.

        The loader calls it as soon as a few MiB of samples are read, so that a process does not hold a batch of large
        ones.

        Args:
            samples: some of a batch.
            params: what was drawn for them.
        """
        return samples

    def collate(self, samples: Samples | Sequence[Any], params: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the payload for `forward`, which travels to the device.

        Args:
            samples: a tensor `(B, ...)`, a list of samples, or of what `cut` returned.
            params: what was drawn for them.
        """
        raise NotImplementedError

    def forward(self, payload: dict[str, Tensor]) -> list[View]:
        """Return the views, on the payload's device."""
        raise NotImplementedError

    def plain(self, samples: Samples) -> View:
        """Return samples without augmentation: what the evaluation sees."""
        raise NotImplementedError

    def looks(self, samples: Samples) -> list[View]:
        """Return what the evaluation sees of samples: its features are the mean of those of these views.

        By default the plain view alone. A policy of clips may return several clips of each sample; one of samples that
        are mappings returns the plain view of each member, and means are taken of each member.
        """
        return [self.plain(samples)]

    def steps(self) -> dict[str, Any]:
        """Return what `plain` does to a sample, as plain data for an encoder's card; by default nothing is stated.

        Of images `size`, `interpolation`, `divided_by`, `mean` and `std`.
        """
        return {}

    def plain_module(self) -> nn.Module | None:
        """Return a module that does to uint8 samples `(B, ...)` what `plain` does, for exported graphs; None for none.

        By default None.
        """
        return None

    def picture(self, samples: Samples, views: Sequence[View]) -> Tensor:
        """Return a picture `(3, H, W)`, uint8: a row per sample, first the plain one, then its views."""
        raise NotImplementedError

    def thumbnail(self, samples: Samples) -> Tensor:
        """Return a picture `(3, H, W)`, uint8, of one sample, which a report shows small; by default the plain one."""
        return self.picture(samples, [])

"""Contents of a split: every sample is read and counted."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.progress import progress
from ssl_zoo.data.remarks import Remarks
from ssl_zoo.data.source import Modality, Split
from ssl_zoo.errors import UserError


def statistics(split: Split, modality: Modality) -> dict[str, Any]:
    """Read every sample for the mean and standard deviation of each channel.

    Args:
        split: the samples.
        modality: of the samples; its `values` are what is counted.

    Returns:
        `num_samples` in the split; `num_bad` and `bad`, `{name: reason}` of those that cannot be read; and for each
        channel `mean` and `std` over all values of all samples, in the units of the views, in float64 (empty where
        samples have no such values).
    """
    bad: dict[str, str] = {}
    moments = Moments()
    for i in progress(range(len(split)), "reading", "samples"):
        try:
            values = modality.values(split.read(i))
        except BadSample as error:
            bad[error.name] = error.reason
            continue
        _add(moments, values, split.name(i))
        del values  # before another is read: they may be large
    return {
        "num_samples": len(split), "num_bad": len(bad), "bad": bad,
        "mean": moments.mean.tolist(), "std": moments.std.tolist(),
    }  # fmt: skip


def _add(moments: Moments, values: Tensor | None, name: str) -> None:
    if values is None:
        return
    if len(moments.mean) not in (0, len(values)):
        raise UserError(f"{name} has {len(values)} channels, and samples before it have {len(moments.mean)}.")
    moments.add(values)


def check_source(split: Split, modality: Modality) -> dict[str, Any]:
    """Read every sample and count.

    Args:
        split: the samples. Statistics are of those for which `Modality.values` returns some.
        modality: of the samples, which describes their sizes.

    Returns:
        `num_samples` in the split; `num_bad` and `bad`, `{name: reason}` of those that cannot be read; `classes`,
        `{name: number of samples}`, or None without labels; `num_unlabelled`, those without a label; `sizes`,
        `{"32x32": number of samples}`, the most frequent first, and `axes`, the meaning of its numbers; for each
        channel `mean` and `std` over all values of all samples, in the units of the views (empty without values); and
        `remarks`, `{remark: {"num": number of samples, "example": name}}`, on how samples that can be read were
        understood.
    """
    sizes: Counter[str] = Counter()
    bad: dict[str, str] = {}
    remarks = Remarks()
    moments = Moments()
    for i in progress(range(len(split)), "reading", "samples"):
        try:
            sample = split.read(i)
            values = modality.values(sample)  # it may be what decodes the sample
        except BadSample as error:
            bad[error.name] = error.reason
            continue
        sizes[modality.describe(sample)] += 1
        _add(moments, values, split.name(i))
        del values
        del sample  # before another is read: they may be large
        remarks.look(split, i)
    mean, std = moments.mean, moments.std
    return {
        "num_samples": len(split),
        "num_bad": len(bad),
        "bad": bad,
        "classes": _classes(split),
        "num_unlabelled": len(split) if split.labels is None else int((split.labels < 0).sum()),
        "sizes": dict(sizes.most_common()),
        "axes": modality.axes,
        "mean": [round(value, 6) for value in mean.tolist()],
        "std": [round(value, 6) for value in std.tolist()],
        "remarks": {text: {"num": num, "example": name} for text, (num, name) in remarks.counts.items()},
    }


class Moments:
    """Mean and standard deviation of the channels of all samples so far, in float64.

    Those of a sample are merged into those of all, so that nothing is lost to the difference of large sums (Chan, Golub
    & LeVeque 1983, equation 1.5).

    Attributes:
        mean: `(C,)`; empty before the first sample.
    """

    def __init__(self) -> None:
        self.mean = torch.zeros(0, dtype=torch.float64)
        self._squares = torch.zeros(0, dtype=torch.float64)  # sums of squared distances from the mean
        self._num = 0

    def add(self, values: Tensor) -> None:
        """Add the values of a sample, `(C, n)`, with as many channels as those before it."""
        values, num = values.double(), values.shape[1]
        mean = values.mean(dim=1)
        squares = (values - mean[:, None]).square().sum(dim=1)
        if not self._num:
            self.mean, self._squares, self._num = mean, squares, num
            return
        total, apart = self._num + num, mean - self.mean
        self.mean = self.mean + apart * (num / total)
        self._squares = self._squares + squares + apart.square() * (self._num * num / total)
        self._num = total

    @property
    def std(self) -> Tensor:
        """The standard deviations `(C,)`, over all values."""
        return (self._squares / max(1, self._num)).sqrt()


def _classes(split: Split) -> dict[str, int] | None:
    if split.labels is None:
        return None
    names, counts = split.class_names, Counter[str]()
    for label, num in sorted(Counter(split.labels[split.labels >= 0].tolist()).items()):
        counts[names[label] if names else str(label)] += num  # two classes may have one name
    return dict(counts)

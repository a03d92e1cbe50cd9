"""Contents of a split: every sample is read and counted."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.remarks import Remarks
from ssl_zoo.data.source import Modality, Split


def check_source(split: Split, modality: Modality) -> dict[str, Any]:
    """Read every sample and count.

    Args:
        split: the samples. Statistics are of uint8 samples `(C, ...)`; of others there are none.
        modality: of the samples, which describes their sizes.

    Returns:
        `num_samples` in the split; `num_bad` and `bad`, `{name: reason}` of those that cannot be read; `classes`,
        `{name: number of samples}`, or None without labels; `num_unlabelled`, those without a label; `sizes`,
        `{"32x32": number of samples}`, the most frequent first, and `axes`, the meaning of its numbers; for each
        channel `mean` and `std` over all values of all samples, in 0..1 (empty if no sample can be read); and
        `remarks`, `{remark: {"num": number of samples, "example": name}}`, on how samples that can be read were
        understood.
    """
    sizes: Counter[str] = Counter()
    bad: dict[str, str] = {}
    remarks = Remarks()
    histogram = torch.zeros(0, 256, dtype=torch.int64)  # of each channel
    for i in range(len(split)):
        try:
            sample = split.read(i)
        except BadSample as error:
            bad[error.name] = error.reason
            continue
        sizes[modality.describe(sample)] += 1
        if isinstance(sample, Tensor) and sample.dtype == torch.uint8:
            values = torch.stack([channel.flatten().bincount(minlength=256) for channel in sample])
            histogram = values + histogram if len(histogram) else values
        del sample  # before another is read: they may be large
        remarks.look(split, i)
    mean, std = _statistics(histogram.double())
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


def _statistics(histogram: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation `(C,)` in 0..1 of the levels counted in a histogram `(C, 256)`."""
    level, total = torch.arange(256, dtype=torch.float64) / 255, histogram.sum(1).clamp(min=1)
    mean = histogram @ level / total
    return mean, ((histogram * (level - mean[:, None]).square()).sum(1) / total).sqrt()


def _classes(split: Split) -> dict[str, int] | None:
    if split.labels is None:
        return None
    names, counts = split.class_names, Counter[str]()
    for label, num in sorted(Counter(split.labels[split.labels >= 0].tolist()).items()):
        counts[names[label] if names else str(label)] += num  # two classes may have one name
    return dict(counts)

"""Reading every sample of a split, to know what is in it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch

from ssl_zoo.data.source import BadSample, Split


def check_source(split: Split) -> dict[str, Any]:
    """Read every sample and count.

    Args:
        split: of uint8 samples `(C, ...)`.

    Returns:
        `num_samples` in the split; `num_bad` and `bad`, `{name: reason}` of those that cannot be read; `classes`,
        `{name: number of samples}`, or None without labels; `num_unlabelled`, those without a label; `sizes`,
        `{"32x32": number of samples}`, the most frequent first; and for each channel `mean` and `std` over all values
        of all samples, in 0..1 (empty if no sample can be read).
    """
    sizes: Counter[str] = Counter()
    bad: dict[str, str] = {}
    total, first, second = 0, torch.zeros(0), torch.zeros(0)
    for i in range(len(split)):
        try:
            sample = split.read(i)
        except BadSample as error:
            bad[error.name] = error.reason
            continue
        sizes["x".join(map(str, sample.shape[1:]))] += 1
        values = sample.flatten(1).double() / 255
        total += values.shape[1]
        first = values.sum(1) + (first if len(first) else 0)
        second = values.square().sum(1) + (second if len(second) else 0)
    mean = first / max(total, 1)
    std = (second / max(total, 1) - mean.square()).clamp(min=0).sqrt()
    return {
        "num_samples": len(split),
        "num_bad": len(bad),
        "bad": bad,
        "classes": _classes(split),
        "num_unlabelled": len(split) if split.labels is None else int((split.labels < 0).sum()),
        "sizes": dict(sizes.most_common()),
        "mean": [round(value, 6) for value in mean.tolist()],
        "std": [round(value, 6) for value in std.tolist()],
    }


def _classes(split: Split) -> dict[str, int] | None:
    if split.labels is None:
        return None
    names, counts = split.class_names, Counter[str]()
    for label, num in sorted(Counter(split.labels[split.labels >= 0].tolist()).items()):
        counts[names[label] if names else str(label)] += num  # two classes may have one name
    return dict(counts)

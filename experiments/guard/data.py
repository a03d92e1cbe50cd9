"""The samples of the guard's runs: images of 8 x 8, of digits and of spoken digits, and random views of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_zoo.batch import View

SPEECH = Path("../shared/data/fsdd.parquet")
BANDS = [3, 4, 6, 8, 12, 18, 30, 46]
HELD_OUT, SIDE = 200, 8
KEEP, KEEP_MASKED = 0.6, 1.0
"""The part of the pixels that a view of the training has; methods that hide places themselves see all."""


@cache
def images(data: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return train images `(N, C, 8, 8)`, their labels, and the same held out."""
    if data == "speech":
        return _speech()
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x, y = torch.from_numpy(bunch.images).float()[:, None] / 16, torch.from_numpy(bunch.target).long()
    test = torch.arange(len(x)) % 5 == 0
    return x[~test], y[~test], x[test][:HELD_OUT], y[test][:HELD_OUT]


def _speech() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return spoken digits as log-spectrograms of 8 bands and 8 parts, each band of mean 0 and deviation 0.3."""
    import io
    import wave

    import numpy as np
    import pyarrow.parquet as parquet

    columns = parquet.read_table(SPEECH, columns=["audio", "digit"]).to_pydict()
    found = []
    for number, audio in enumerate(columns["audio"]):
        if number % 2 and number % 5:
            continue  # half of the recordings are enough
        with wave.open(io.BytesIO(audio["bytes"] if isinstance(audio, dict) else audio)) as file:
            sound = np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16).astype(np.float32) / 2**15
        frames = np.lib.stride_tricks.sliding_window_view(np.pad(sound, (0, 512)), 256)[::64]
        power = torch.from_numpy(np.abs(np.fft.rfft(frames * np.hanning(256), axis=1)) ** 2).float()
        bands = torch.stack([part.mean(dim=1) for part in power[:, 2:].split(BANDS, dim=1)])
        image = F.adaptive_avg_pool1d((bands + 1e-6).log()[None], SIDE)[0]
        found.append((number, image, int(columns["digit"][number])))
    test = torch.tensor([number % 5 == 0 for number, _, _ in found])
    x, y = torch.stack([image for _, image, _ in found])[:, None], torch.tensor([label for _, _, label in found])
    x = 0.3 * (x - x[~test].mean(dim=(0, 3), keepdim=True)) / x[~test].std(dim=(0, 3), keepdim=True)
    chosen = torch.linspace(0, int(test.sum()) - 1, HELD_OUT).long()
    return x[~test], y[~test], x[test][chosen], y[test][chosen]


def view(x: Tensor, generator: torch.Generator, part: float = KEEP) -> Tensor:
    """Return a random view of images `(B, C, 8, 8)`: a part of their pixels, at a random contrast."""
    keep = torch.rand(len(x), 1, SIDE, SIDE, generator=generator) < part
    return x * keep * (0.6 + 0.8 * torch.rand(len(x), 1, 1, 1, generator=generator))


def views_of(x: Sequence[Tensor], names: Sequence[str], generator: torch.Generator, part: float = KEEP) -> list[View]:
    """Return the views of a batch: of each name, of its member's images."""
    members = list(dict.fromkeys(names))
    return [View(view(x[members.index(name)], generator, part), name) for name in names]


def partners(y: Tensor, generator: torch.Generator) -> Tensor:
    """Return for each sample another one of the same label."""
    order = torch.randperm(len(y), generator=generator)
    found = torch.empty_like(y)
    for label in y.unique():
        found[y == label] = order[y[order] == label]
    return found

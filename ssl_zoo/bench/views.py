"""The benchmark `views`: two views of every image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ssl_zoo import registry
from ssl_zoo.bench.peers import views_side
from ssl_zoo.bench.timing import Result, Side, alternate
from ssl_zoo.data import RawBatch
from ssl_zoo.data.transfer import Transfer
from ssl_zoo.hardware import keep_memory
from ssl_zoo.rng import generator

SIZES = {32: (32, 512, 2048), 96: (96, 64, 256), 224: (256, 32, 64)}
"""Side of a view in pixels -> side of the images, samples per batch, samples per run."""

SECONDS = 2.0
"""The least duration of a round."""


def pictures(num: int, size: int) -> Tensor:
    """Return images `(num, 3, size, size)`, uint8, with the falling spectrum of photographs."""
    source = generator(0, "bench")
    frequency = torch.fft.fftfreq(size)
    decay = 1 / (frequency[:, None] ** 2 + torch.fft.rfftfreq(size) ** 2).sqrt().clamp(min=1 / size)
    made = []
    for _ in range(num):
        grey, tint = torch.randn(1, size, size, generator=source), torch.randn(3, size, size, generator=source)
        x = torch.fft.irfft2(torch.fft.rfft2(grey + 0.3 * tint) * decay, s=(size, size))
        x = (x - x.mean()) / x.std() * 0.25 + 0.2 + 0.6 * torch.rand(1, generator=source)
        made.append((x.clamp(0, 1) * 255).to(torch.uint8))
    return torch.stack(made)


def bench(against: Sequence[str], rounds: int, quick: bool = False, blur: float = 0.5) -> list[Result]:
    """Measure two-view images per second at 32, 96 and 224 px, all of the processor on one side at a time."""
    keep_memory()  # as a training does; the other libraries profit too
    results = []
    for size, (source, batch, num) in SIZES.items():
        batch, num = (4, 8) if quick else (batch, num)
        images = pictures(min(num, 256), source).repeat(-(-num // 256), 1, 1, 1)[:num]
        sides = [_ours(images, size, blur, batch), *(views_side(name, images, size, blur, batch) for name in against)]
        result = alternate(f"views {size} px", "two-view images/s", sides, rounds, 0.0 if quick else SECONDS)
        result.notes.append(f"from {source} px, batch {batch}, blur with probability {blur:g}")
        results.append(result)
    results[0].notes.append(str(colour_difference(8 if quick else 240)))
    return results


def _ours(images: Tensor, size: int, blur: float, batch: int) -> Side:
    policy = registry.build("views", "augment", {"size": size, "blur": blur})
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    stored, source, transfer = images.to(device), generator(0, "views"), Transfer(device)

    def run() -> int:
        count = 0
        for start in range(0, len(stored) - batch + 1, batch):  # as the loader and the trainer do
            payload = policy.collate(stored[start : start + batch], policy.draw(source, batch))
            raw = RawBatch(payload, torch.arange(start, start + batch), [])
            raw = raw.pin_memory() if device.type == "cuda" else raw
            one, other = policy(raw.moved(transfer).payload)
            assert one.data.shape == other.data.shape == (batch, 3, size, size)
            count += batch
        return count

    return Side("ssl_zoo", run)


@dataclass(frozen=True)
class ColourDifference:
    """The distance between two ways to change colours, in levels of 0 to 255.

    Attributes:
        mean: over all values of all views.
        high: the 95th percentile.
        change: the mean change by the jitter itself, for comparison.
    """

    mean: float
    high: float
    change: float

    def __str__(self) -> str:
        """Return the note of the benchmark."""
        return (
            f"colour: matrix differs from exact by {self.mean:.1f} of 255 levels on average "
            f"({self.high:.1f} at the 95th percentile); the jitter itself changes {self.change:.1f}"
        )


def colour_difference(num: int) -> ColourDifference:
    """Return the difference of colours as one matrix, after the blur, and torchvision's changes in turn, before it.

    Args:
        num: samples, of 32 px.
    """

    def views(**changed: Any) -> Tensor:
        policy = registry.build("views", "augment", {"size": 32, "jitter": 1.0, "grey": 0.0, **changed})
        made = policy(policy.collate(x, policy.draw(generator(1, "bench"), num)))
        return torch.stack([view.data for view in made]) * policy.std * 255

    x = pictures(num, 32)
    exact = views(colour="exact")
    off = (views(colour="matrix") - exact).abs().flatten()
    high = off.kthvalue(int(0.95 * off.numel())).values
    return ColourDifference(float(off.mean()), float(high), float((views(jitter=0.0) - exact).abs().mean()))

"""A source of made-up images, and what goes wrong on demand. It registers itself, so only test processes import it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import torch
from torch import Tensor

from ssl_zoo.data import BadSample, MemorySplit, Strings
from ssl_zoo.data.source import Split
from ssl_zoo.distributed import launch
from ssl_zoo.recipe.model import Recipe, parse
from ssl_zoo.registry import register
from tests.tiny import small

NUM = {"train": 100, "test": 51}
VIEWS = {"name": "augment", "channels": 1, "size": 12, "scale": [0.3, 1.0], "hue": 0.0, "mean": [0.5], "std": [0.5]}


@register("source", "noise")
class Noise:
    """Patches of grey, 12 x 12, of two kinds."""

    splits = ("train", "test")
    notes = ()

    def __init__(
        self,
        *,
        bad_rank: int | None = None,
        kill: str | None = None,
        stop: str | None = None,
        bad: list[int] | None = None,
    ):
        self.bad_rank, self.kill, self.stop, self.bad = bad_rank, kill, stop, bad

    def split(self, name: str) -> Split:
        g = torch.Generator().manual_seed(len(name))
        labels = torch.randint(2, (NUM[name],), generator=g)
        data = torch.randint(256, (NUM[name], 1, 12, 12), generator=g) // (1 + labels)[:, None, None, None]
        whole = MemorySplit(data.to(torch.uint8), labels, None, Strings(map(str, range(NUM[name]))), {})
        if self.bad is not None:
            return Mouldy(whole, self.bad if name == "train" else [])
        return whole if self.bad_rank is None else Lazy(whole, self.bad_rank, self.kill, self.stop)


class Mouldy(Split):
    """Reads one by one; some patches cannot be read."""

    def __init__(self, whole: MemorySplit, bad: list[int]):
        self.whole, self.bad_ones, self.labels = whole, bad, whole.labels

    def __len__(self) -> int:
        return len(self.whole)

    def read(self, i: int) -> Tensor:
        if i in self.bad_ones:
            raise BadSample(self.name(i), "it is mouldy")
        return self.whole.data[i]

    def name(self, i: int) -> str:
        return f"patch {i}"


class Lazy(Split):
    """Reads one by one, and one process cannot read.

    With files `kill` and `stop` it is killed instead at its 90th read, and the next time all are asked to stop there.
    What has been done is a file that is there.
    """

    def __init__(self, whole: MemorySplit, bad_rank: int, kill: str | None, stop: str | None):
        self.whole, self.bad_rank, self.labels = whole, bad_rank, whole.labels
        self.kill, self.stop = kill, stop
        self.num = 0

    def __len__(self) -> int:
        return len(self.whole)

    def read(self, i: int) -> Tensor:
        self.num += 1
        if int(os.environ.get("RANK", 0)) == self.bad_rank:
            if self.kill is None and self.stop is None:
                raise BadSample(self.name(i), "it is mouldy")
            if self.num == 90:
                self.signal()
        return self.whole.data[i]

    def signal(self) -> None:
        if self.kill is not None and not Path(self.kill).exists():
            Path(self.kill).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.stop is not None and not Path(self.stop).exists():
            Path(self.stop).touch()
            started = launch.LAUNCHER in os.environ
            os.kill(os.getppid() if started else os.getpid(), signal.SIGTERM)  # the process that a scheduler knows

    def name(self, i: int) -> str:
        return f"patch {i}"


def on_noise(method: str, **training: object) -> Recipe:
    """Return a small recipe that trains on noise."""
    raw = small(method).dump()
    raw["views"] = VIEWS
    raw["data"] = {"source": {"name": "noise"}}
    raw["training"] |= {"batch_size": 24, "max_steps": 20, "log_every": 2, "epochs": 1, **training}
    raw["training"]["schedule"] = {"name": "cosine"}
    raw["evaluation"] = {"protocols": ["label_free", {"name": "knn", "k": 3}], "baselines": False}
    raw["guard"] = {"every": 2}
    return parse(raw, method)

"""Memory stays flat: in workers over a million paths, and in the training process over epochs."""

import os
import re
import resource
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ssl_zoo.bench import suite, training
from ssl_zoo.data import Loader
from ssl_zoo.data.strings import Strings

STATUS = Path("/proc/self/smaps_rollup")
needs_proc = pytest.mark.skipif(not STATUS.exists(), reason="reads memory from Linux's /proc")


def own_kilobytes() -> int:
    """What this process has in memory for itself, not shared with the one it was forked from."""
    return sum(int(value) for value in re.findall(r"^Private_\w+: +(\d+) kB", STATUS.read_text(), re.MULTILINE))


class Paths:
    """A million paths; a sample is the process that read it and its own memory."""

    labels, class_names = None, None

    def __init__(self, num: int) -> None:
        self.paths = Strings(f"train/class_{i % 1000:04d}/picture_{i:012d}.jpg" for i in range(num))

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, i: int) -> Tensor:
        assert self.paths[i].endswith(f"_{i:012d}.jpg")
        return torch.tensor([os.getpid(), own_kilobytes()]) if i % 200 == 0 else torch.zeros(2, dtype=torch.int64)

    def name(self, i: int) -> str:
        return self.paths[i]


class Pass:
    def draw(self, generator: torch.Generator, num: int) -> dict[str, Tensor]:
        return {}

    def collate(self, samples: list[Tensor], params: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"x": torch.stack(samples)}


@needs_proc
@pytest.mark.slow
def test_workers_do_not_grow_over_a_million_paths() -> None:  # T39
    loader = Loader(Paths(1_000_000), Pass(), batch_size=1000, seed=0, num_workers=2)
    assert loader.steps_per_epoch == 1000
    seen: dict[int, list[int]] = {}
    for (raw,) in loader.iterate(0, 1000):
        for process, memory in raw.payload["x"][raw.payload["x"][:, 0] > 0].tolist():
            seen.setdefault(process, []).append(memory)
    assert len(seen) == 2
    for memory in seen.values():
        tenth = len(memory) // 10
        early, late = max(memory[tenth : 2 * tenth]), max(memory[-tenth:])
        assert late - early < 16 * 1024  # a million Python strings with their counts, touched, would be more


@pytest.mark.slow
def test_the_training_process_does_not_grow_over_three_epochs() -> None:
    with suite.recipe_for("cifar10/simsiam", None, [], quick=True) as recipe:
        run = training.open_run(recipe)
        batches = run.loader.iterate(0, 100 * run.loader.steps_per_epoch)
        peaks = []

        def after(step) -> bool:
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
            return False

        run.trainer.run(batches, after)
    third = len(peaks) // 4
    assert peaks[-1] - peaks[third] < 16 * 1024  # kB; the first quarter fills caches

"""Fixtures shared by all tests.

torch and the package are imported in functions alone: the process that hands tests out to the others needs neither.
"""

import gc
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]

LONGEST = (
    "test_docs.py", "test_steps.py", "test_launch.py", "test_parity.py", "test_on_a_gpu.py", "test_resume.py",
    "test_photographs.py", "test_every_modality.py", "test_every_recipe.py", "test_export.py", "test_compare.py",
    "test_site.py", "test_every_component.py", "test_training.py", "test_shards.py", "test_guard.py", "test_killed.py",
)  # fmt: skip
"""Files that take longest, and so come first: at the end, one process would work on them alone."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest files first; all else keeps its order, which among test processes is that of the names."""
    place = {name: number for number, name in enumerate(LONGEST)}
    rotated = hasattr(config, "workerinput")
    items.sort(key=lambda item: (place.get(item.path.name, len(place)), str(item.path) if rotated else ""))


class Rotated(pytest.Dir):
    """The folder of tests, whose files each test process reads from another place on.

    pytest rewrites the assertions of each file, which takes longer than to import it, and keeps the result. So each
    process rewrites its part, and finds the others' done.
    """

    def collect(self) -> Iterator[pytest.Item | pytest.Collector]:
        found = list(super().collect())
        process = getattr(self.config, "workerinput", {"workerid": "gw0", "workercount": 1})
        first = int(process["workerid"].removeprefix("gw")) * len(found) // process["workercount"]
        yield from found[first:] + found[:first]


def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect the folder of tests as `Rotated`, and others as usual."""
    return Rotated.from_parent(parent, path=path) if path == Path(__file__).parent else None


def pytest_collection_finish() -> None:
    """Leave what has been imported so far to itself: to look through it for garbage takes half a second each time."""
    gc.freeze()


def state_of_the_process() -> dict[str, Any]:
    """Return what a test file could change for the next file of its process; which one that is, is chance."""
    import torch

    log = logging.getLogger("ssl_zoo")
    return {
        "folder": Path.cwd(),
        "signals": [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)],
        "log": (log.level, list(log.handlers)),
        "number of threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "precision": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn.benchmark": torch.backends.cudnn.benchmark,
        "gradients": torch.is_grad_enabled(),
        "process group": torch.distributed.is_initialized(),
    }


@pytest.fixture(scope="module", autouse=True)
def leaves_nothing_behind() -> Iterator[None]:
    """Each file finds the same parts, environment and state of the process, whichever ran before it.

    Parts that it registers, modules of its `--import` and the folder that they are found in, and variables of the
    environment are put back here; all else is for the file itself.
    """
    from ssl_zoo import registry
    from ssl_zoo.runs import commands

    for kind in registry.PACKAGES:
        registry.names(kind)  # found now, so that they are among those that stay
    parts = {kind: dict(found) for kind, found in registry._ENTRIES.items()}
    imported, path = list(commands.imported), list(sys.path)
    environment, state = dict(os.environ), state_of_the_process()
    yield
    for kind, found in registry._ENTRIES.items():
        for entry in [each for name, each in found.items() if parts[kind].get(name) is not each]:
            sys.modules.pop(entry.factory.__module__, None)  # registered again when it is imported again
        registry._ENTRIES[kind] = parts[kind]
    commands.imported[:], sys.path[:] = imported, path
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)
    assert state_of_the_process() == state


@pytest.fixture
def own_parts(monkeypatch) -> None:
    """What a test registers is forgotten after it."""
    from ssl_zoo import registry

    for kind in registry.PACKAGES:
        registry.names(kind)  # found now, so that they are among those that stay
    monkeypatch.setattr(registry, "_ENTRIES", {kind: dict(known) for kind, known in registry._ENTRIES.items()})


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets beside the checkout; tests that need it are skipped where it is absent."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"needs the real data sets of {path.parent.name}/{path.name} beside the checkout")
    return path


@pytest.fixture(scope="session")
def digits():
    """Train and test `Features`: the 64 pixels of scikit-learn's digits, the first 1,200 and the other 597."""
    import torch
    from sklearn.datasets import load_digits

    from ssl_zoo.evaluation.features import Features

    bunch = load_digits()
    x, y = torch.tensor(bunch.data, dtype=torch.float32), torch.tensor(bunch.target)
    return Features(x[:1200], y[:1200]), Features(x[1200:], y[1200:])

"""The plug-ins of `examples/`, importable and forgotten after the tests of a file, and data for them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssl_zoo.batch import InputSpec, ViewSpec
from ssl_zoo.rng import generator
from tests import contract

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PLUGINS = ("timeseries", "masked_view", "noop_strategy", "simsiam_by_hand")


@pytest.fixture(scope="module", autouse=True)
def plugins() -> Iterator[Path]:
    """The folder `examples` on the Python path; its modules are imported anew, and register anew, for each file."""
    sys.path.insert(0, str(EXAMPLES))
    yield EXAMPLES
    sys.path.remove(str(EXAMPLES))
    for module in list(sys.modules):
        if module.partition(".")[0] in PLUGINS:
            del sys.modules[module]


def sort() -> contract.Sort:
    """Return what the contract needs to know of time series."""
    spec = InputSpec("timeseries", (ViewSpec("global", (3, 32)),) * 2)
    g = generator(0, "series")
    return contract.Sort(
        spec,
        lambda num, channels: torch.randn(num, channels, 50, generator=g),
        {"series": {"length": 32}},
    )


def ran(result: Any, code: int = 0) -> str:
    """Return the output of a command that left with a code."""
    assert result.exit_code == code and "Traceback" not in result.output, result.output
    return result.output


def write_series(folder: Path, num: int = 16, channels: int = 3) -> Path:
    """Write waves of two frequencies, a class each, of several lengths: CSV files, and one array in four."""
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for cycles, name in ((2, "slow"), (7, "fast")):
            place = folder / split / name
            place.mkdir(parents=True)
            for i in range(num):
                time = np.linspace(0, 1, 40 + 3 * i)
                x = np.sin(6.28 * (cycles * time[:, None] + random.random(channels)))
                x += 0.2 * random.standard_normal(x.shape)
                if i % 4:
                    names = ",".join("xyzuvw"[:channels])
                    np.savetxt(place / f"{i:02}.csv", x, delimiter=",", header=names, comments="", fmt="%.4f")
                else:
                    np.save(place / f"{i:02}.npy", x)
    return folder


@pytest.fixture(scope="session")
def series(tmp_path_factory) -> Path:
    """A folder of time series, in two splits and two classes; not to be changed."""
    return write_series(tmp_path_factory.mktemp("data") / "series")

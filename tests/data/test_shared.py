"""One copy of the data for the processes of a machine: the same memory in all, and what one process would have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from ssl_zoo.batch import InputSpec
from ssl_zoo.data.arena import has_arenas
from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.blocks import Blocks
from ssl_zoo.data.held import KeptSplit, LargeSplit, MemorySplit
from ssl_zoo.data.memory import WHOLE_BYTES, load
from ssl_zoo.data.shared import Sharing, load_shared
from ssl_zoo.data.source import Modality, Sample, Split
from ssl_zoo.data.strings import Strings
from ssl_zoo.data.workers import choose_workers
from tests.data.test_workers import Pass
from tests.distributed.group import meet, run_group

pytestmark = pytest.mark.skipif(not has_arenas(), reason="this system has no anonymous files")


class AnySize(Modality):
    """Samples of any size and kind."""

    any_size = True

    def nbytes(self, sample: Sample) -> int:
        return 8


class Counted(Split):
    """Reads samples one by one, and counts; the fourth cannot be read."""

    def __init__(self, samples: list[Any]) -> None:
        self.samples, self.reads = samples, 0
        self.labels, self.class_names = torch.arange(len(samples)) % 3, ["a", "b", "c"]
        self.blocks, self.fingerprint = Blocks(np.ones(len(samples), np.int64)), f"{len(samples)} samples"

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, i: int) -> Sample:
        self.reads += 1
        if self.samples[i] is None:
            raise BadSample(self.name(i), "it is mouldy")
        return self.samples[i]

    def name(self, i: int) -> str:
        return f"sample {i}"


def number(i: int, *shape: int) -> Tensor:
    return torch.arange(i, i + torch.Size(shape).numel(), dtype=torch.int16).view(shape)


def splits() -> dict[str, Split]:
    one_size: list[Any] = [number(i, 3, 5) for i in range(6)]
    return {
        "in memory": MemorySplit(number(0, 2**10, 2**10), torch.arange(2**10), None, Strings(map(str, range(2**10)))),
        "small, in memory": MemorySplit(number(0, 4, 4)),
        "one size": Counted([*one_size[:3], None, *one_size[3:]]),
        "large": Counted([number(i, WHOLE_BYTES // 2 + 1) for i in range(2)]),
        "any size": Counted([number(1, 7), {"a": number(2, 0, 3), "b": ("text", 3)}, "a text", None, number(4, 2, 2)]),
        "cannot be sent": Counted([lambda: None]),
    }


def modality(name: str) -> Modality:
    spec = InputSpec("tensor", 1, ((1, 5),))
    return AnySize(spec) if name in ("any size", "cannot be sent") else Modality(spec)


def inodes() -> set[str]:
    """Return the shared memory that this process has mapped."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {line.split()[4] for line in lines if "memfd:ssl_zoo" in line}


def read_together(folder: Path, rank: int, size: int) -> dict[str, Any]:
    alone = {name: load(split, "memory", "skip", 0.5, modality(name)) for name, split in splits().items()}
    meet(folder, rank, size)
    sharing = Sharing(dist.new_group(backend="gloo"))
    found: dict[str, Any] = {"here": sharing.here}
    for name, split in splits().items():
        before = inodes()
        loaded = load_shared(split, sharing, "memory", "skip", 0.5, modality(name))
        found[name] = {
            "kind": type(loaded).__name__,
            "reads": getattr(split, "reads", None),
            "memory": sorted(inodes() - before),
            "equal": name == "cannot be sent" or same(loaded, alone[name]),
            "bad": dict(loaded.bad),
            "note": choose_workers(loaded, Pass(), 1).note if name == "in memory" else "",
        }
        if name == "one size":
            assert isinstance(loaded, MemorySplit)
            loaded.data[:] = -1 - rank  # a process that breaks the rules harms no other
            dist.barrier()
            found["own"] = int(loaded.data.max())
    try:
        load_shared(Counted([None]), sharing, "memory", "raise", 0.0, modality(""))
    except Exception as error:
        found["error"] = f"{type(error).__name__}: {error}"
    found["none"] = type(load_shared(Counted([number(1, 2)]), sharing, "none")).__name__
    found["files"] = [name for name in os.listdir("/proc/self/fd") if "ssl_zoo" in _target(name)]
    return found


def _target(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except OSError:
        return ""


def same(a: Split, b: Split) -> bool:
    def equal(x: Any, y: Any) -> bool:
        if isinstance(x, dict):
            return x.keys() == y.keys() and all(equal(x[key], y[key]) for key in x)
        return torch.equal(x, y) and x.dtype == y.dtype if isinstance(x, Tensor) else bool(x == y)

    assert type(a) is type(b) and len(a) == len(b) and dict(a.bad) == dict(b.bad) and a.class_names == b.class_names
    assert a.fingerprint == b.fingerprint and (a.blocks is None) == (b.blocks is None)
    assert a.blocks is None or b.blocks is None or a.blocks.sizes.tolist() == b.blocks.sizes.tolist()
    assert (a.labels is None and b.labels is None) or torch.equal(a.labels, b.labels)  # type: ignore[arg-type]
    return all(equal(a.read(i), b.read(i)) and a.name(i) == b.name(i) for i in range(len(a)))


@pytest.fixture(scope="module")
def found() -> list[Any]:
    return run_group(2, read_together)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("in memory", MemorySplit), ("one size", MemorySplit), ("large", LargeSplit), ("any size", KeptSplit)],
)
def test_two_processes_map_the_same_memory_and_one_of_them_reads(found: list[Any], name: str, kind: type) -> None:
    first, second = (each[name] for each in found)
    assert len(first["memory"]) == 1 and first["memory"] == second["memory"]
    assert first["equal"] and second["equal"]
    assert first["kind"] == second["kind"] == kind.__name__
    if name != "in memory":
        assert first["reads"] and second["reads"] == 0
    assert first["note"] == ("data: 2 MiB in memory, once for 2 processes; 1 worker" if name == "in memory" else "")
    assert [len(each["bad"]) for each in (first, second)] == [name in ("one size", "any size")] * 2


def test_what_is_not_worth_it_or_cannot_be_sent_is_held_by_each(found: list[Any]) -> None:
    for each in found:
        assert each["here"] == 2
        for name in ("small, in memory", "cannot be sent"):
            assert each[name]["memory"] == [] and each[name]["equal"]
        assert each["cannot be sent"]["kind"] == "KeptSplit" and each["none"] == "Counted"


def test_a_sample_that_cannot_be_read_is_an_error_of_all(found: list[Any]) -> None:
    assert found[0]["error"] == found[1]["error"]
    assert found[0]["error"].startswith("BadData: cannot read sample 0: it is mouldy")


def test_changes_stay_in_the_process_that_makes_them_and_no_file_is_left_open(found: list[Any]) -> None:
    assert [each["own"] for each in found] == [-1, -2]
    assert [each["files"] for each in found] == [[], []]

"""Shards at the size that a laptop can show: order on several processes, kills, memory, damage, speed beside a folder.

    python experiments/shards/measure.py --source train.parquet

Writes 100,000 small images (each of the source under two names) into a folder, shards them by `ssl-zoo data shard`, and
prints one line for each thing that it finds. `--num 2000 --shards 10` takes seconds.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_zoo.data import Loader, load
from ssl_zoo.data.source import Split, ViewPolicy
from ssl_zoo.evaluation.sharding import shard_data
from ssl_zoo.evaluation.split_shards import Layout
from ssl_zoo.recipe.resolve import open_encoded, open_source

BATCH = 256


class Digests(ViewPolicy):
    """A number for the bytes of each sample as it is stored, and one that is drawn for it."""

    def draw(self, generator: torch.Generator, num: int) -> dict[str, Tensor]:
        return {"u": torch.rand(num, generator=generator, dtype=torch.float64)}

    def collate(self, samples: Any, params: dict[str, Tensor]) -> dict[str, Tensor]:
        digests = [hashlib.blake2b(sample, digest_size=7).digest() for sample in samples]
        return {"digest": torch.tensor([int.from_bytes(each, "little") for each in digests]), **params}


def opened(path: Path, decoded: bool = False) -> Split:
    source = open_source(str(path), (), 3, "image") if decoded else open_encoded(str(path), (), "image")
    return source[0].split("train")


def loader(path: Path, **options: Any) -> Loader:
    return Loader(opened(path), Digests(), batch_size=BATCH, seed=0, **options)


def steps(path: Path, start: int, stop: int, **options: Any) -> Iterator[list[tuple[int, float]]]:
    """Yield the digest and the drawn number of each sample of each step."""
    for [batch] in loader(path, **options).iterate(start, stop):
        yield list(zip(batch.payload["digest"].tolist(), batch.payload["u"].tolist(), strict=True))


def send(sent: Any, path: Path, start: int, stop: int, options: dict[str, Any]) -> None:
    for each in steps(path, start, stop, **options):
        sent.send(each)


class Process:
    """A forked process that sends its steps."""

    def __init__(self, path: Path, start: int, stop: int, **options: Any) -> None:
        context = multiprocessing.get_context("fork")
        self.here, there = context.Pipe(duplex=False)
        self._process = context.Process(target=send, args=(there, path, start, stop, options))
        self._process.start()
        there.close()

    def end(self, kill: bool = False) -> None:
        if kill:
            os.kill(self._process.pid or 0, signal.SIGKILL)
        self._process.join()
        self.here.close()


def write_folder(source: str, num: int, root: Path) -> None:
    """Write samples of a source as files, in 10 folders, each under two names."""
    split = open_encoded(source, (), "image")[0].split("train")
    for i in range(num):
        place = i % len(split)
        folder = root / str(0 if split.labels is None else int(split.labels[place]))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i:06d}.webp").write_bytes(split.read(place))


def resident() -> float:
    """Return the memory of this process, in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def cpu(call: Callable[[], Any]) -> float:
    before = time.process_time()
    call()
    return time.process_time() - before


def order(path: Path, num: int, whole: list[Any]) -> None:
    for k in (2, 4):
        processes = [Process(path, 0, num, rank=rank, num_ranks=k) for rank in range(k)]
        equal = sum(
            [each for part in [process.here.recv() for process in processes] for each in part] == whole[step]
            for step in range(num)
        )
        for process in processes:
            process.end()
        print(f"order on {k} processes: {equal} of {num} batches of {BATCH} are those of one process", flush=True)


def kills(path: Path, num: int, whole: list[Any], points: int) -> None:
    equal = 0
    for point in random.Random(0).sample(range(1, num), min(points, num - 1)):
        process = Process(path, 0, num)
        good = all(process.here.recv() == whole[step] for step in range(point))
        process.end(kill=True)
        good &= list(steps(path, point, num)) == whole[point:]
        equal += good
    print(
        f"killed (SIGKILL) at {points} random steps and resumed to the end of the epoch: {equal} are equal", flush=True
    )


def memory(path: Path, num: int) -> None:
    source = open_source(str(path), (), 3, "image")[0]
    print(source.notes[0])
    found = [resident() for _ in steps(path, 0, num)]
    fifth = len(found) // 5
    means = ", ".join(f"{sum(found[i * fifth : (i + 1) * fifth]) / fifth:.0f}" for i in range(5))
    print(f"memory of the process over an epoch, mean of each fifth: {means} MiB", flush=True)


def speed(folder: Path, shards: Path, num: int, rounds: int) -> None:
    def reader(path: Path, decoded: bool) -> Callable[[], None]:
        made = Loader(opened(path, decoded), Sizes(), batch_size=BATCH, seed=0)

        def run() -> None:
            for _ in made.iterate(0, num):
                pass

        return run

    for what, decoded in (("read", False), ("read and decode", True)):
        sides = {"folder": reader(folder, decoded), "shards": reader(shards, decoded)}
        taken: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(rounds):
            for name, run in sides.items():
                taken[name].append(cpu(run))
        rates = {name: sorted(num * BATCH / each for each in of)[len(of) // 2] for name, of in taken.items()}
        share = rates["shards"] / rates["folder"]
        compared = f"folder {rates['folder']:.0f}, shards {rates['shards']:.0f} ({share:.2f} of the folder)"
        print(
            f"{what}, images per CPU second, median of {rounds} rounds of {num * BATCH} in turns: {compared}",
            flush=True,
        )


class Sizes(Digests):
    def collate(self, samples: Any, params: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"size": torch.tensor([len(sample) for sample in samples]), **params}


def damage(shards: Path, num: int, budget: float) -> None:
    broken = shards.with_name("broken")
    shutil.copytree(shards, broken)
    file = sorted(broken.glob("train-*.parquet"))[3]
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    made = Loader(load(opened(broken), "none", "skip", budget), Digests(), batch_size=BATCH, seed=0, on_error="skip",
                  bad_budget=budget)  # fmt: skip
    seen = sum(len(batch.index) for [batch] in made.iterate(0, num))
    name, reason = next(iter(made.bad.items()))
    print(
        f"one bit of one shard flipped: {seen} samples read, in the places of {len(made.bad)} that cannot be others, "
        f"such as {name}: {reason}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--source", required=True)
    parser.add_argument("--num", type=int, default=100_000)
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        context = multiprocessing.get_context("fork")  # what it reads into memory is gone with it
        writer = context.Process(target=write_folder, args=(asked.source, asked.num, root / "folder"))
        writer.start()
        writer.join()
        taken = cpu(lambda: shard_data(str(root / "folder"), root / "shards", modality="image",
                                       layout=Layout(shards=asked.shards)))  # fmt: skip
        size = sum(file.stat().st_size for file in (root / "shards").iterdir()) / 2**20
        print(
            f"{asked.num} images in {asked.shards} shards, {size:.0f} MiB, written in {taken:.0f} CPU seconds",
            flush=True,
        )
        num = asked.num // BATCH
        memory(root / "shards", num)
        whole = list(steps(root / "shards", 0, num))
        order(root / "shards", num, whole)
        damage(root / "shards", num, 2 / asked.shards)
        kills(root / "shards", num, whole, asked.kills)
        speed(root / "folder", root / "shards", max(1, num // 5), asked.rounds)


if __name__ == "__main__":
    main()

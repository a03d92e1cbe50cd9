"""Count the kernels and the waits of a training step of every recipe on a fake GPU, and write `KERNELS.md`.

    python -m experiments.gpu.kernels            # counts what is not in kernels.json, and writes the table
    python -m experiments.gpu.kernels --anew     # counts all again
    PYTHONPATH=CHECKOUT_OF_a71b702:. python -P -m experiments.gpu.kernels --out experiments/gpu/kernels_before.json

`kernels_before.json` has the same counts of commit a71b702, by this code. Counts do not depend on the number of
samples, so few are taken, but for images: their views are made in blocks of samples where they are large, each with its
own kernels. The images of views of 224 px have 256; other samples are made up.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from experiments.gpu.fake_gpu import FakeGpu
from experiments.gpu.fake_step import PARTS, FakeTraining
from ssl_zoo.collapse.readback import Readback
from ssl_zoo.data.source import Samples
from ssl_zoo.methods.build import build, build_views
from ssl_zoo.modalities.audio.sound import Sound
from ssl_zoo.modalities.video.footage import Clip
from ssl_zoo.recipe.load import load_recipe, method_names
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.training.measurement import Measurement

HERE = Path(__file__).parent
NOW, BEFORE, TABLE = HERE / "kernels.json", HERE / "kernels_before.json", HERE / "KERNELS.md"
DOCUMENT = HERE.parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- kernels:begin -->", "<!-- kernels:end -->"
PRECISIONS = ("bf16", "fp32")
MOST, FEW = 256, 8
"""Samples of a step: the most images, and others."""

HEAD = """# Kernels and waits of a training step

`python -m experiments.gpu.kernels`, {versions}, on tensors without numbers: no GPU took part, and no time was measured.
A kernel is an operation that launches one; batch normalisation in bf16 counts 3 forward and 2 backward, a convolution
1 for each gradient, an operation on a list of tensors 1 where torch takes the list at once (one type, and the same
shapes and strides in all lists) and 1 for each tensor where it does not. A wait is where the host has to wait for the
device. Counted are the second step of each recipe, without a CUDA graph, and a check of the collapse guard. Before:
commit a71b702, with {before}, an operation on a list as 1; recipes of CIFAR-10 in bf16 alone were counted there, since
the parts of a step of the others are the same. Precisions and recipes that are missing have not been counted yet.
"""

Counts = dict[str, Any]


def recipes() -> dict[str, list[str]]:
    """Return the recipes of each table: of CIFAR-10, of methods whose samples are images, and of the other methods."""
    cifar = sorted(f"cifar10/{path.stem}" for path in (HERE.parent / "cifar10").glob("*.yaml"))
    images = [name for name in method_names() if list(build_views(load_recipe(name)).spec.each) == ["image"]]
    return {"CIFAR-10": cifar, "ImageNet": images, "Other data": sorted({*method_names()} - {*images})}


def samples_of(recipe: Recipe) -> Samples:
    """Return samples of a step of a recipe, which are all alike.

    Images are as many as its batch, or `MOST`: whitening needs more than its dimensions. Of others there are a few.
    """
    spec = build_views(recipe).spec
    made = {member: [_sample(each.modality, each.sides)] * FEW for member, each in spec.each.items()}
    if recipe.members:
        return [dict(zip(made, row, strict=True)) for row in zip(*made.values(), strict=True)]
    (samples,) = made.values()
    if isinstance(samples[0], Tensor):
        return samples[0].expand(min(recipe.training.batch_size, MOST), -1, -1, -1)
    return samples


def _sample(modality: str, sides: Sequence[int]) -> Any:
    if modality == "video":
        frames = torch.zeros(40, 3, 128, 160, dtype=torch.uint8)
        return Clip(frames, torch.arange(40) / 10, 4.0)
    if modality == "audio":
        return Sound(torch.zeros(64_000), 16_000)
    if modality == "text":
        return ("A black dog and a spotted dog are playing .",)
    return torch.zeros(3, *[256 if side == 224 else side for side in sides], dtype=torch.uint8)


def count(name: str, precision: str) -> Counts:
    """Return the kernels of each part of the second step of a recipe, and its waits; the same of a check of the guard.

    Args:
        name: of the recipe.
        precision: of the arithmetic.
    """
    recipe = load_recipe(name)
    method, samples = build(recipe), samples_of(recipe)
    with FakeGpu() as gpu:
        training = FakeTraining(gpu, recipe, precision, method)
        measurement = Measurement(method, 25, 1000, recipe.training.batch_size)
        for number in (1, 2):
            step = training.step(samples)
            parts = {part: gpu.kernels_of(part) for part in (*PARTS, "")}
            waits = [each.partition(" at ")[0] for each in gpu.waits]
            gpu.clear()
            measurement.after_step(number, step.output)
            Readback(measurement.take(step.output).parts)
    return {**parts, "waits": waits, "guard": gpu.kernels.total(), "guard_waits": len(gpu.waits)}


def update(file: Path, anew: bool) -> None:
    """Count what a file lacks; it is written after each recipe."""
    found: Counts = {} if anew or not file.is_file() else json.loads(file.read_text(encoding="utf-8"))
    found["torch"] = torch.__version__
    for precision in PRECISIONS:
        for names in recipes().values():
            for name in names:
                if precision not in found.setdefault(name, {}):
                    found[name][precision] = count(name, precision)
                    print(name, precision, found[name][precision], flush=True)
                    file.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def total(counts: Counts) -> int:
    """Return the kernels of a step."""
    return sum(counts[part] for part in (*PARTS, ""))


def table(names: Sequence[str], precision: str, now: Counts, before: Counts) -> Iterator[str]:
    """Yield the lines of a table, one per recipe, most kernels first."""
    columns = ("views", "forward", "backward", "optimizer", "after_step")
    if not all(precision in before.get(name, {}) for name in names):
        yield f"| recipe | kernels | {' | '.join(columns)} | waits | guard: kernels, waits |"
        yield "| --- " + "| --: " * (len(columns) + 3) + "|"
        for name in sorted(names, key=lambda name: -total(now[name][precision])):
            ours = now[name][precision]
            cells = [name, f"**{total(ours)}**", *(str(ours[part]) for part in columns)]
            yield f"| {' | '.join([*cells, str(len(ours['waits']))])} | {ours['guard']}, {ours['guard_waits']} |"
        return
    yield f"| recipe | before | now | {' | '.join(columns)} | waits before | now | guard: kernels, waits before | now |"
    yield "| --- " + "| --: " * (len(columns) + 6) + "|"
    for name in sorted(names, key=lambda name: -total(now[name][precision])):
        ours, old = now[name][precision], before[name][precision]
        cells = [name.rpartition("/")[2], str(total(old)), f"**{total(ours)}**"]
        cells += [f"{old[part]} -> {ours[part]}" for part in columns]
        cells += [str(len(old["waits"])), str(len(ours["waits"]))]
        cells += [f"{each['guard']}, {each['guard_waits']}" for each in (old, ours)]
        yield f"| {' | '.join(cells)} |"


def summary(now: Mapping[str, Counts], before: Mapping[str, Counts]) -> Iterator[str]:
    """Yield the lines of a small table: the least, the median and the most over the recipes."""
    yield "| recipes | precision | | kernels: least, median, most | recipes whose step waits | most waits of a check |"
    yield "| --- | --- | --- | --: | --: | --: |"
    for what, names in recipes().items():
        for precision in PRECISIONS:
            for when, counts in (("before", before), ("now", now)):
                known = [counts[name][precision] for name in names if precision in counts.get(name, {})]
                if len(known) < len(names):
                    continue
                totals = sorted(map(total, known))
                spread = f"{totals[0]:,}, {median(totals):,.0f}, {totals[-1]:,}"
                waiting = sum(bool(each["waits"]) for each in known)
                most = max(each["guard_waits"] for each in known)
                yield f"| {what} ({len(names)}) | {precision} | {when} | {spread} | {waiting} | {most} |"


def write() -> None:
    """Write `KERNELS.md`, and the block in `docs/performance.md`."""
    now, before = (json.loads(file.read_text(encoding="utf-8")) for file in (NOW, BEFORE))
    versions = f"torch {now['torch']}"
    lines = [HEAD.format(versions=versions, before=f"torch {before['torch']}"), *summary(now, before)]
    for what, names in recipes().items():
        for precision in PRECISIONS:
            if known := [name for name in names if precision in now.get(name, {})]:
                lines += ["", f"## {what}, {precision}", "", *table(known, precision, now, before)]
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    text = DOCUMENT.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    block = "\n".join([BEGIN, "", *summary(now, before), "", END])
    DOCUMENT.write_text(head + block + rest.partition(END)[2], encoding="utf-8")


def main() -> None:
    """Count and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anew", action="store_true", help="count all again")
    parser.add_argument("--out", type=Path, help="write counts alone, to this file")
    given = parser.parse_args()
    update(given.out or NOW, given.anew)
    if given.out is None:
        write()


if __name__ == "__main__":
    main()

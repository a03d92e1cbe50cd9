"""The benchmark `data`: reading samples by each source and each decoder, in one process.

Images are read by several decoders. Of each modality that can write examples, reading is compared with a step of a
small encoder on the same samples. Such a modality has a module `made` in its folder, with a function
`write_examples(folder, num)`; a mapping `PARTS` there may name the `views` and the `encoder` to measure, in place of
the first ones of the folder by name.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_zoo import registry
from ssl_zoo.batch import Batch
from ssl_zoo.bench.timing import Result, Side, alternate
from ssl_zoo.bench.views import pictures
from ssl_zoo.data import MemorySplit
from ssl_zoo.data.cutter import Cutter
from ssl_zoo.data.memory import load
from ssl_zoo.data.open import build_source
from ssl_zoo.data.source import Modality, Split, ViewPolicy
from ssl_zoo.errors import UserError
from ssl_zoo.methods.build import build, build_modality, build_views
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.recipe.resolve import open_source
from ssl_zoo.rng import generator


def write_jpegs(folder: Path, images: Tensor) -> None:
    """Write uint8 images `(N, 3, H, W)` as JPEG files, quality 90, in two class folders."""
    from torchvision.transforms.functional import to_pil_image

    for number, image in enumerate(images):
        path = folder / "train" / ("even", "odd")[number % 2] / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        to_pil_image(image).save(path, quality=90)


def bench(rounds: int, quick: bool = False) -> list[Result]:
    """Measure samples per second: JPEGs of 32 and 224 px by source and by decoder, and modalities with examples."""
    results = []
    for size, num in ((32, 256), (224, 64)):
        num = 4 if quick else num
        images = pictures(num, size)
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            write_jpegs(root / "samples", images)
            splits = {
                **_sources(root, lambda path: open_source(path, (), channels=3)[0]),
                "memory": MemorySplit(images),
            }
            assert all(len(split) == num for split in splits.values())
            sides = [Side(name, _reader(split)) for name, split in splits.items()]
            results.append(alternate(f"data: JPEGs of {size} px by source", "images/s", sides, rounds))
            sides = [Side(name, run) for name, run in _decoders(sorted(root.glob("samples/*/*/*.jpg"))).items()]
            results.append(alternate(f"data: JPEGs of {size} px by decoder", "images/s", sides, rounds))
    for name, made in examples():
        try:
            results += bench_modality(name, made, rounds, num=16 if quick else 256)
        except UserError as error:  # a package that it needs is not installed
            results[0].notes.append(f"{name} is left out: {error}")
    return results


def _sources(root: Path, open_path: Callable[[str], Any]) -> dict[str, Split]:
    """Return the split train of the files below `root / samples` by each byte source; the others are written here."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted(path for path in (root / "samples").rglob("*") if path.is_file())
    with zipfile.ZipFile(root / "samples.zip", "w") as archive:
        for file in files:
            archive.write(file, str(file.relative_to(root / "samples")))
    of_train = [{"bytes": file.read_bytes()} for file in files if file.relative_to(root).parts[1] == "train"]
    pq.write_table(pa.table({"img": of_train}), root / "samples.parquet")
    paths = {"folder": "samples", "zip": "samples.zip", "parquet": "samples.parquet"}
    return {name: open_path(str(root / path)).split("train") for name, path in paths.items()}


def _reader(split: Split) -> Callable[[], int]:
    def run() -> int:
        if isinstance(split, MemorySplit):
            return len(split.read_batch(torch.randperm(len(split))))
        for i in range(len(split)):
            split.read(i)
        return len(split)

    return run


def _decoders(files: list[Path]) -> dict[str, Callable[[], int]]:
    import torchvision

    _, modality = open_source(str(files[0].parent), (), channels=3)
    encoded = [file.read_bytes() for file in files]
    buffers = [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in encoded]

    def ours() -> int:
        return len([modality.decode(io.BytesIO(data), "bench.jpg") for data in encoded])

    def theirs() -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return len([torchvision.io.decode_jpeg(data) for data in buffers])

    if not hasattr(torchvision.io, "decode_jpeg"):  # deprecated since 0.29
        return {"Pillow (ssl_zoo)": ours}
    return {"Pillow (ssl_zoo)": ours, "torchvision.io": theirs}


# ---- modalities that write examples ----------------------------------------------------------------------------------


BATCH = 32
"""Samples of a batch."""


def examples() -> Iterator[tuple[str, Any]]:
    """Yield (modality, its module `made`) of each modality that can write examples."""
    for entry in registry.entries("modality"):
        folder = entry.factory.__module__.rpartition(".")[0]
        if folder and importlib.util.find_spec(f"{folder}.made") is not None:
            yield entry.name, importlib.import_module(f"{folder}.made")


def first_part(kind: str, made: Any) -> str | dict[str, Any]:
    """Return the part of a kind that is measured: of the mapping `PARTS`, or the folder's first."""
    if kind in (stated := getattr(made, "PARTS", {})):
        return stated[kind]
    folder = made.__name__.rpartition(".")[0] + "."
    return next(each.name for each in registry.entries(kind) if each.factory.__module__.startswith(folder))


def bench_modality(name: str, made: Any, rounds: int, num: int) -> list[Result]:
    """Measure samples per second of one modality, on examples that it writes.

    Args:
        name: of the modality.
        made: its module.
        rounds: the number of timed rounds.
        num: samples that are written.

    Returns:
        Reading and decoding by source; then what training does with samples, from reading them to the payload of a
        batch, from files and from memory, beside a step of SimSiam with a small encoder on that payload.
    """
    parts = {kind: first_part(kind, made) for kind in ("views", "encoder")}
    overrides = [f"{kind}={json.dumps(part)}" for kind, part in parts.items()]
    recipe = load_recipe("simsiam", [*overrides, "projector.dims=[64, 64]", "predictor.dims=[16, 64]"])
    policy = build_views(recipe)
    modality = build_modality(recipe, policy.spec)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        made.write_examples(root / "samples", num)

        def opened(path: str) -> Any:
            kind = {"": "folder", ".zip": "zip", ".parquet": "parquet"}[Path(path).suffix]
            options = {"path": path, **({"column": "img"} if kind == "parquet" else {})}
            return build_source(kind, options, modality)

        splits = _sources(root, opened)
        sides = [Side(source, _decoded(split, modality)) for source, split in splits.items()]
        by_source = alternate(f"data: {name} by source", "samples/s", sides, rounds)
        kept = load(splits["folder"], "memory", modality=modality)
        reads = {"from memory": kept, "from files": splits["folder"]}
        sides = [Side(where, _payloads(split, policy)) for where, split in reads.items()]
        step = Side("step of a small encoder", _step(build(recipe), policy, kept))
        training = alternate(f"data: {name} for training", "samples/s", [*sides, step], rounds)
    training.notes.append(f"views {_shown(parts['views'])}, encoder {_shown(parts['encoder'])}")
    return [by_source, training]


def _shown(part: str | dict[str, Any]) -> str:
    return part if isinstance(part, str) else " ".join(f"{key}={value}" for key, value in part.items())


def _decoded(split: Split, modality: Modality) -> Callable[[], int]:
    def run() -> int:
        for i in range(len(split)):
            modality.kept(split.read(i))
        return len(split)

    return run


def _batches(split: Split, policy: ViewPolicy) -> Iterator[dict[str, Tensor]]:
    """Yield the payloads of all samples of a split, as the loader makes them."""
    for part in torch.arange(len(split)).split(BATCH):
        params = policy.draw(generator(0, "bench", int(part[0])), len(part))
        if split.stacked:
            yield policy.collate(split.read_batch(part), params)
            continue
        cutter = Cutter(policy, params)
        for row, i in enumerate(part.tolist()):
            cutter.add(split.read(i), row)
        yield policy.collate(cutter.finish(), params)


def _payloads(split: Split, policy: ViewPolicy) -> Callable[[], int]:
    def run() -> int:
        for _ in _batches(split, policy):
            pass
        return len(split)

    return run


def _step(method: nn.Module, policy: ViewPolicy, split: Split) -> Callable[[], int]:
    """Return what makes the views of payloads that are at hand, and runs a forward and a backward pass on them."""
    payloads = list(_batches(split, policy))

    def run() -> int:
        for payload in payloads:
            method(Batch(policy(payload))).loss.backward()
        return len(split)

    return run

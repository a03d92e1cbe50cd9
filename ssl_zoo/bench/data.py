"""The benchmark `data`: reading samples by each source and each decoder, in one process."""

from __future__ import annotations

import io
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ssl_zoo.bench.timing import Result, Side, alternate
from ssl_zoo.bench.views import pictures
from ssl_zoo.data import MemorySplit
from ssl_zoo.data.source import Split
from ssl_zoo.recipe.resolve import open_source


def write_jpegs(folder: Path, images: Tensor) -> None:
    """Write uint8 images `(N, 3, H, W)` as JPEG files, quality 90, in two class folders."""
    from torchvision.transforms.functional import to_pil_image

    for number, image in enumerate(images):
        path = folder / "train" / ("even", "odd")[number % 2] / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        to_pil_image(image).save(path, quality=90)


def bench(rounds: int, quick: bool = False) -> list[Result]:
    """Measure samples per second: JPEGs of 32 and 224 px by source, and 224 px by decoder."""
    results = []
    for size, num in ((32, 256), (224, 64)):
        num = 4 if quick else num
        images = pictures(num, size)
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            write_jpegs(root / "images", images)
            splits = {**_sources(root), "memory": MemorySplit(images)}
            assert all(len(split) == num for split in splits.values())
            sides = [Side(name, _reader(split)) for name, split in splits.items()]
            results.append(alternate(f"data: JPEGs of {size} px by source", "images/s", sides, rounds))
            sides = [Side(name, run) for name, run in _decoders(sorted(root.glob("images/*/*/*.jpg"))).items()]
            results.append(alternate(f"data: JPEGs of {size} px by decoder", "images/s", sides, rounds))
    return results


def _sources(root: Path) -> dict[str, Split]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted((root / "images").rglob("*.jpg"))
    with zipfile.ZipFile(root / "images.zip", "w") as archive:
        for file in files:
            archive.write(file, str(file.relative_to(root / "images")))
    pq.write_table(pa.table({"img": [{"bytes": file.read_bytes()} for file in files]}), root / "images.parquet")
    paths = {"folder": "images", "zip": "images.zip", "parquet": "images.parquet"}
    return {name: open_source(str(root / path), (), channels=3)[0].split("train") for name, path in paths.items()}


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

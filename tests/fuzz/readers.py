"""The readers of files that others wrote: what each reads, and sound files to begin with."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.mutate import damaged, exchanged
from tests.tiny import image_modality, image_source


@dataclass(frozen=True)
class Reader:
    """A reader and its inputs.

    Attributes:
        prepare: makes what all inputs share in an empty folder and returns the sound files, {name: bytes}.
        read: reads an input; the file of that name in the folder has been replaced by it.
        plain: turns the bytes of a sound file into plain data, whose values are exchanged too; None for bytes only.
        write: the way back.
    """

    prepare: Callable[[Path], dict[str, bytes]]
    read: Callable[[Path], Any]
    plain: Callable[[bytes], Any] | None = None
    write: Callable[[Any], bytes] | None = None

    def inputs(self, sound: dict[str, bytes], seed: int, num: int) -> Iterator[tuple[str, bytes]]:
        """Yield (name of the file, its bytes) of `num` mutated inputs."""
        names = sorted(sound)
        for number in range(num):
            random = Random(f"{seed}.{number}")
            name = names[number % len(names)]
            if self.plain is not None and self.write is not None and random.random() < 0.7:
                yield name, self.write(exchanged(self.plain(sound[name]), random))
            else:
                yield name, damaged(sound[name], random)


def _image(size: int = 16) -> Any:
    import numpy as np
    from PIL import Image

    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (size, size, 3), np.uint8))


def _images(folder: Path) -> dict[str, bytes]:
    import numpy as np
    from PIL import Image

    deep = Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16) * 257)
    made: dict[str, tuple[Any, dict[str, Any]]] = {
        "a.png": (_image(), {}), "palette.png": (_image().convert("P"), {"transparency": 0}), "deep.png": (deep, {}),
        "a.jpg": (_image(), {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"}),
        "a.tif": (_image(), {"save_all": True, "append_images": [_image()]}), "deep.tif": (deep, {}),
        "a.gif": (_image(), {"save_all": True, "append_images": [_image()]}), "a.bmp": (_image(), {}),
        "a.webp": (_image(), {}), "a.ppm": (_image(), {}),
    }  # fmt: skip
    sound = {}
    for name, (image, options) in made.items():
        buffer = io.BytesIO()
        image.save(buffer, _FORMATS[name.rpartition(".")[2]], **options)
        sound[name] = buffer.getvalue()
    return sound


_FORMATS = {"png": "PNG", "jpg": "JPEG", "tif": "TIFF", "gif": "GIF", "bmp": "BMP", "webp": "WEBP", "ppm": "PPM"}


def _source(name: str) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        from ssl_zoo.data import check_source

        source = image_source(name, path=str(path))
        for split in source.splits:
            check_source(source.split(split), image_modality())

    return read


def _read_image(path: Path) -> None:
    from ssl_zoo.modalities.image.decode import decode

    decode(path.read_bytes(), 3, path.name)


def _zips(folder: Path) -> dict[str, bytes]:
    pictures, sound = _images(folder), {}
    for name, method in (("stored.zip", zipfile.ZIP_STORED), ("deflated.zip", zipfile.ZIP_DEFLATED)):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            for split in ("train", "test"):
                for kind in ("cat", "dog"):
                    archive.writestr(f"{split}/{kind}/1.png", pictures["a.png"])
        sound[name] = buffer.getvalue()
    return sound


def _parquets(folder: Path) -> dict[str, bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    png = _images(folder)["a.png"]
    table = pa.table({"image": [{"bytes": png, "path": "1.png"}] * 4, "label": [0, 1, 0, -1]})
    features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    named = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    sound = {}
    for name, each in (("plain.parquet", table), ("named.parquet", named)):
        buffer = io.BytesIO()
        pq.write_table(each, buffer)
        sound[name] = buffer.getvalue()
    return sound


def _recipes(folder: Path) -> dict[str, bytes]:
    from ssl_zoo.recipe.load import recipe_root

    names = ("methods/simsiam.yaml", "methods/vicregl.yaml", "methods/dino.yaml", "experiments/digits/simsiam.yaml")
    return {name.replace("/", "-"): (recipe_root() / name).read_bytes() for name in names}


def _read_recipe(path: Path) -> None:
    from ssl_zoo.recipe.load import load_recipe

    load_recipe(str(path))


def _from_yaml(data: bytes) -> Any:
    import yaml

    return yaml.safe_load(data)


def _to_yaml(value: Any) -> bytes:
    import yaml

    return yaml.safe_dump(value, allow_unicode=False).encode("utf-8", "surrogatepass")


def _run(folder: Path) -> Path:
    """Train for two steps; return the run's folder."""
    import ssl_zoo

    options = ["encoder.widths=[4]", "projector.dims=[4, 4]", "predictor.dims=[2, 4]", "training.batch_size=16",
               "training.max_steps=2", "training.log_every=1", "evaluation.protocols=[knn]",
               "evaluation.limit=40"]  # fmt: skip
    ssl_zoo.train(ssl_zoo.load_recipe("digits/simsiam", options), out=folder / "run", log=lambda line: None)
    return folder / "run"


def _file_of_run(name: str) -> Callable[[Path], dict[str, bytes]]:
    def prepare(folder: Path) -> dict[str, bytes]:
        path = _run(folder) / name
        return {str(path.relative_to(folder)): path.read_bytes()}

    return prepare


def _read_checkpoint(path: Path) -> None:
    from ssl_zoo.runs import checkpoint

    checkpoint.load(path)


def _read_encoder(path: Path) -> None:
    import ssl_zoo

    ssl_zoo.load_encoder(path.parent)


def _read_runs(path: Path) -> None:
    from ssl_zoo.report.html import groups_of, write_report

    write_report(groups_of([path.parent]), path.parent / "report.html", "report", tsne=False)


def _read_report_data(path: Path) -> None:
    from ssl_zoo.runs.report_file import read_report_data

    read_report_data(path)


def _to_json(value: Any) -> bytes:
    return json.dumps(value).encode()


READERS = {
    "image": Reader(_images, _read_image),
    "zip": Reader(_zips, _source("zip")),
    "parquet": Reader(_parquets, _source("parquet")),
    "recipe": Reader(_recipes, _read_recipe, _from_yaml, _to_yaml),
    "checkpoint": Reader(_file_of_run("checkpoints/last.pt"), _read_checkpoint),
    "card": Reader(_file_of_run("encoder.json"), _read_encoder, json.loads, _to_json),
    "encoder": Reader(_file_of_run("encoder.safetensors"), _read_encoder),
    "summary": Reader(_file_of_run("summary.json"), _read_runs, json.loads, _to_json),
    "metrics": Reader(_file_of_run("metrics.jsonl"), _read_runs),
    "report": Reader(_file_of_run("report.safetensors"), _read_report_data),
}

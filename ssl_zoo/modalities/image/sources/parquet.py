"""Images in parquet files, in the layout of Hugging Face data sets."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_zoo.data.files import check_size
from ssl_zoo.data.source import BadSample
from ssl_zoo.errors import UserError, suggest
from ssl_zoo.modalities.image.decode import MAX_PIXELS, Decoding, MaxPixels
from ssl_zoo.modalities.image.stored import ValueRange
from ssl_zoo.registry import register

_IMAGE_COLUMNS = ("image", "img")
_SPLITS = {"train": ("train*.parquet",), "test": ("test*.parquet", "val*.parquet")}
"""For each split, the patterns of its files; the first one that any file follows counts."""


@dataclass(frozen=True)
class _File:
    """A parquet file and what it holds: columns of images and labels, and the names of the labels."""

    path: Path
    image: str
    label: str | None
    class_names: list[str] | None


@register("source", "parquet")
class Parquet:
    """Images in a parquet file, or in a folder of them: `train*.parquet` and `test*.parquet` (or `val*.parquet`).

    A folder whose files are named otherwise is one train split. Images are encoded files in a column `image` or `img`,
    either bytes or a struct with a field `bytes`. A split is read into memory, still encoded.

    Args:
        channels: 1 (grey) or 3 (RGB); images are converted.
        path: the file or folder.
        label: the column of integer labels; `auto` takes `label` where there is one, None leaves labels out.
        value_range: as in `folder`.
        max_pixels: as in `folder`.

    Raises:
        UserError: no such file, no column of images, or no such column of labels.
    """

    def __init__(
        self,
        channels: int,
        *,
        path: str,
        label: str | None = "auto",
        value_range: ValueRange | None = None,
        max_pixels: MaxPixels = MAX_PIXELS,
    ) -> None:
        self._decoding = Decoding(channels, value_range, max_pixels)
        root = Path(path).expanduser()
        if not root.exists():
            raise UserError(f"the data path {path} does not exist.")
        self._files = {name: [_inspect(file, label) for file in files] for name, files in _find(root).items()}
        self.splits = tuple(self._files)

    @staticmethod
    def matches(path: Path) -> bool:
        """Return whether `path` is a file named `*.parquet`, or a folder with such files in it."""
        return path.suffix.lower() == ".parquet" if path.is_file() else any(path.glob("*.parquet"))

    def split(self, name: str) -> ParquetSplit:
        """Return the split of that name, read into memory."""
        return ParquetSplit(self._files[name], self._decoding)


class ParquetSplit:
    """Rows of parquet files; see `ssl_zoo.data.Split`.

    The encoded images stay in the buffers that arrow read, which forked workers share. A pickled copy holds the names
    of the files only, and reads them again.
    """

    def __init__(self, files: list[_File], decoding: Decoding) -> None:
        import pyarrow as pa

        self._files, self._decoding = files, decoding
        columns = [_read(file) for file in files]
        self._images = pa.chunked_array([chunk for images, _ in columns for chunk in images.chunks], pa.large_binary())
        self._ends = np.cumsum([len(images) for images, _ in columns])
        labels = [label for _, label in columns if label is not None]
        self.labels: Tensor | None = torch.cat(labels) if labels else None
        self.class_names = files[0].class_names

    def __len__(self) -> int:
        return len(self._images)

    def read(self, i: int) -> Tensor:
        """Return image `i`, uint8 `(C, H, W)`."""
        return self._decoding.decode(self._encoded(i), self.name(i))

    def remarks(self, i: int) -> tuple[str, ...]:
        """Return what a user should know of how image `i` is understood."""
        return self._decoding.remarks(self._encoded(i), self.name(i))

    def _encoded(self, i: int) -> bytes:
        value = self._images[i]
        if not value.is_valid:
            raise BadSample(self.name(i), "the row holds no image bytes")
        check_size(value.as_buffer().size, self.name(i), self._decoding.max_bytes)
        return value.as_py()

    def name(self, i: int) -> str:
        """Return the row within its file, counted from 0: `row 17 of train.parquet`."""
        file = int(np.searchsorted(self._ends, i, side="right"))
        return f"row {i - (self._ends[file - 1] if file else 0)} of {self._files[file].path.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return ParquetSplit, (self._files, self._decoding)


def _find(root: Path) -> dict[str, list[Path]]:
    """Return the files of each split."""
    if root.is_file():
        return {"train": [root]}
    files: dict[str, list[Path]] = {}
    for name, patterns in _SPLITS.items():
        found = next((sorted(root.glob(pattern)) for pattern in patterns if any(root.glob(pattern))), [])
        if found:
            files[name] = found
    if "train" in files:
        return files
    if files:
        raise UserError(f"the folder {root} has {files['test'][0].name} but no train*.parquet.")
    every = sorted(root.glob("*.parquet"))
    if not every:
        raise UserError(f"the folder {root} has no *.parquet file in it.")
    return {"train": every}


def _inspect(path: Path, label: str | None) -> _File:
    """Return what a parquet file holds, by its schema alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"cannot read {path} as a parquet file: {error}.") from error
    images = [field.name for field in schema if field.name in _IMAGE_COLUMNS and _holds_bytes(field.type)]
    if not images:
        shown = ", ".join(f"{field.name} ({field.type})" for field in schema)
        raise UserError(f"{path} has no column image or img with the bytes of images; its columns are {shown}.")
    if label == "auto":
        label = "label" if "label" in schema.names else None
    elif label is not None and label not in schema.names:
        raise UserError(f"{path} has no column {label!r} for label{suggest(label, schema.names)}")
    if label is not None and not pa.types.is_integer(schema.field(label).type):
        raise UserError(
            f"the label column {label!r} of {path} holds {schema.field(label).type}, not integers; "
            "name another with label, or leave labels out with label: null."
        )
    return _File(path, images[0], label, _class_names(schema.metadata, label))


def _holds_bytes(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _holds_bytes(kind.field("bytes").type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _class_names(metadata: dict[bytes, bytes] | None, label: str | None) -> list[str] | None:
    """Return the names that Hugging Face's `datasets` wrote beside the schema."""
    if label is None or b"huggingface" not in (metadata or {}):
        return None
    features = json.loads(metadata[b"huggingface"]).get("info", {}).get("features", {})  # type: ignore[index]
    return features.get(label, {}).get("names")


def _read(file: _File) -> tuple[Any, Tensor | None]:
    """Return the images of a file as a chunked array of bytes, and its labels."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(file.path, columns=[file.image, *([file.label] if file.label else [])])
    images = table.column(file.image)
    if pa.types.is_struct(images.type):
        images = pc.struct_field(images, "bytes")
    if file.label is None:
        return images.cast(pa.large_binary()), None
    labels = table.column(file.label)
    if labels.null_count:
        raise UserError(f"{labels.null_count} rows of {file.path} lack {file.label!r}; leave labels out: label: null.")
    return images.cast(pa.large_binary()), torch.from_numpy(labels.to_numpy().astype(np.int64))

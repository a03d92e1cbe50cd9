"""Files of embeddings: parquet, npz and npy, all of them written piece by piece."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ssl_zoo.errors import UserError, shown_name
from ssl_zoo.runs.atomic import replacing, write_atomically

GROUP_BYTES = 16 * 2**20
"""Features of a row group of a parquet file."""


@dataclass(frozen=True)
class Chunk:
    """The embeddings of some samples, in the order of their split.

    Attributes:
        names: of the samples, as their source knows them, in characters that can be printed.
        split: of all of them.
        labels: class indices, below 0 where a sample has none.
        vectors: `{"vector": (B, D)}`, float32 arrays; of samples that are mappings `{"vector_MEMBER": (B, D)}`.
    """

    names: list[str]
    split: str
    labels: list[int]
    vectors: dict[str, Any]


Chunks = Callable[[], Iterator[Chunk]]
"""Goes through all chunks once more each time that it is called: an npz file has one array after the other."""


@dataclass(frozen=True)
class Columns:
    """What a file of embeddings has for each sample beside its name and its split.

    Attributes:
        dims: `{column: D}` of the vectors.
        labelled: whether any sample may have a label.
        classes: the name of each class, where they have names.
        about: what the vectors are of, as JSON.
        num: of the samples.
    """

    dims: Mapping[str, int]
    labelled: bool
    classes: Sequence[str] | None
    about: str
    num: int

    def class_name(self, label: int) -> str | None:
        """Return the name of a class in printable characters; None without a label."""
        return None if label < 0 or not self.classes else shown_name(self.classes[label])


def _write_parquet(path: Path, chunks: Chunks, columns: Columns) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [("name", pa.string()), ("split", pa.string())]
    fields += [("label", pa.int64())] if columns.labelled else []
    fields += [("class", pa.string())] if columns.classes else []
    fields += [(name, pa.list_(pa.float32(), dim)) for name, dim in columns.dims.items()]
    schema = pa.schema(fields, metadata={"ssl_zoo": columns.about})
    rows = max(1, GROUP_BYTES // (4 * sum(columns.dims.values())))
    waiting: list[Any] = []
    with replacing(path) as file, pq.ParquetWriter(file, schema) as writer:
        for chunk in chunks():
            labels = [label if label >= 0 else None for label in chunk.labels]
            made: dict[str, Any] = {"name": chunk.names, "split": [chunk.split] * len(labels), "label": labels}
            made["class"] = [columns.class_name(label) for label in chunk.labels]
            for name, x in chunk.vectors.items():
                made[name] = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), x.shape[1])
            waiting.append(pa.table({name: made[name] for name in schema.names}, schema=schema))
            if sum(map(len, waiting)) >= rows:
                writer.write_table(pa.concat_tables(waiting).combine_chunks())
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting).combine_chunks())


def _write_npz(path: Path, chunks: Chunks, columns: Columns) -> None:
    import numpy as np

    def texts(of: Callable[[Chunk], list[str]]) -> tuple[str, Iterator[Any]]:
        longest = max((len(each) for chunk in chunks() for each in of(chunk)), default=0)
        return f"<U{max(1, longest)}", (np.array(of(chunk), dtype=f"<U{max(1, longest)}") for chunk in chunks())

    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        _add(archive, "name", (columns.num,), *texts(lambda chunk: chunk.names))
        _add(archive, "split", (columns.num,), *texts(lambda chunk: [chunk.split] * len(chunk.names)))
        about = np.array(columns.about)
        _add(archive, "about", (), about.dtype.str, iter([about]))
        if columns.labelled:
            labels = (np.array(chunk.labels, dtype="<i8") for chunk in chunks())
            _add(archive, "label", (columns.num,), "<i8", labels)
        if columns.classes:
            classes = np.array(list(map(shown_name, columns.classes)), dtype=np.str_)
            _add(archive, "classes", classes.shape, classes.dtype.str, iter([classes]))
        for column, dim in columns.dims.items():
            _add(archive, column, (columns.num, dim), "<f4", (chunk.vectors[column] for chunk in chunks()))


def _add(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], dtype: str, parts: Iterator[Any]) -> None:
    """Write an array into a zip file, one part after the other."""
    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
        _write_array(file, shape, dtype, parts)


def _write_array(file: IO[bytes], shape: tuple[int, ...], dtype: str, parts: Iterator[Any]) -> None:
    import numpy as np

    np.lib.format.write_array_header_2_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    for part in parts:
        file.write(np.ascontiguousarray(part, dtype=dtype).tobytes())


def _write_npy(path: Path, chunks: Chunks, columns: Columns) -> None:
    """Write the vectors; beside them FILE.csv has the names, splits and labels, row by row, and FILE.json the rest."""
    (column, dim), *others = columns.dims.items()
    if others:
        raise UserError(f"--out {path}: has room for one vector of each sample; name a .parquet or an .npz file.")
    header = ["name", "split", *(["label"] if columns.labelled else []), *(["class"] if columns.classes else [])]
    rows, about = sidecars(path)
    with replacing(rows) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="", write_through=True)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        for chunk in chunks():
            for name, label in zip(chunk.names, chunk.labels, strict=True):
                cells = {"name": name, "split": chunk.split, "label": label if label >= 0 else ""}
                cells["class"] = columns.class_name(label) or ""
                writer.writerow([cells[key] for key in header])
        text.detach()
    write_atomically(about, json.dumps({"about": json.loads(columns.about), "num": columns.num, "dim": dim}) + "\n")
    with replacing(path) as file:
        _write_array(file, (columns.num, dim), "<f4", (chunk.vectors[column] for chunk in chunks()))


def sidecars(path: Path) -> tuple[Path, Path]:
    """Return the files that stand beside an .npy file: of its rows (CSV), and of what they are of (JSON)."""
    return path.with_suffix(".csv"), path.with_suffix(".json")


WRITERS: dict[str, Callable[[Path, Chunks, Columns], None]] = {
    ".parquet": _write_parquet,
    ".npz": _write_npz,
    ".npy": _write_npy,
}
"""By the ending of the file."""

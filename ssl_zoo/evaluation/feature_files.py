"""Files of embeddings: parquet, written piece by piece, and npz, made in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from ssl_zoo.errors import shown_name

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


@dataclass(frozen=True)
class Columns:
    """What a file of embeddings has for each sample beside its name and its split.

    Attributes:
        dims: `{column: D}` of the vectors.
        labelled: whether any sample may have a label.
        classes: the name of each class, where they have names.
        about: what the vectors are of, as JSON.
    """

    dims: Mapping[str, int]
    labelled: bool
    classes: Sequence[str] | None
    about: str


def _write_parquet(file: IO[bytes], found: Iterator[Chunk], columns: Columns) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [("name", pa.string()), ("split", pa.string())]
    fields += [("label", pa.int64())] if columns.labelled else []
    fields += [("class", pa.string())] if columns.classes else []
    fields += [(name, pa.list_(pa.float32(), dim)) for name, dim in columns.dims.items()]
    schema = pa.schema(fields, metadata={"ssl_zoo": columns.about})
    rows = max(1, GROUP_BYTES // (4 * sum(columns.dims.values())))
    waiting: list[Any] = []
    with pq.ParquetWriter(file, schema) as writer:
        for chunk in found:
            labels = [label if label >= 0 else None for label in chunk.labels]
            made: dict[str, Any] = {"name": chunk.names, "split": [chunk.split] * len(labels), "label": labels}
            if columns.classes:
                made["class"] = [None if label is None else shown_name(columns.classes[label]) for label in labels]
            for name, x in chunk.vectors.items():
                made[name] = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), x.shape[1])
            waiting.append(pa.table({name: made[name] for name in schema.names}, schema=schema))
            if sum(map(len, waiting)) >= rows:
                writer.write_table(pa.concat_tables(waiting).combine_chunks())
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting).combine_chunks())


def _write_npz(file: IO[bytes], found: Iterator[Chunk], columns: Columns) -> None:
    import numpy as np

    every = list(found)
    arrays: dict[str, Any] = {
        "name": np.array([name for chunk in every for name in chunk.names], dtype=np.str_),
        "split": np.array([chunk.split for chunk in every for _ in chunk.names], dtype=np.str_),
        "about": np.array(columns.about),
    }
    if columns.labelled:
        arrays["label"] = np.array([label for chunk in every for label in chunk.labels], dtype=np.int64)
    if columns.classes:
        arrays["classes"] = np.array(list(map(shown_name, columns.classes)), dtype=np.str_)
    for name, dim in columns.dims.items():
        arrays[name] = np.concatenate([chunk.vectors.pop(name) for chunk in every] or [np.empty((0, dim), np.float32)])
    np.savez(file, **arrays)


WRITERS: dict[str, Callable[[IO[bytes], Iterator[Chunk], Columns], None]] = {
    ".parquet": _write_parquet,
    ".npz": _write_npz,
}
"""By the ending of the file."""

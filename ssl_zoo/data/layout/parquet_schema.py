"""Contents of a parquet file according to its schema and metadata, none of which is trusted."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_zoo.errors import UserError, suggest

SHOWN = 300
"""So many characters of a schema or of an error are shown."""


@dataclass(frozen=True)
class File:
    """A parquet file: its columns of samples and labels, and the names of the labels.

    Attributes:
        path: where it is.
        name: what the user calls it.
        sample: the column of encoded samples.
        label: the column of labels, or None.
        class_names: the name of each number in that column, or None.
        fault: why names that the file carries are of no use, else empty.
        others: columns of classes by other names, where there is none called `label`.
    """

    path: Path
    name: str
    sample: str
    label: str | None
    class_names: tuple[str, ...] | None = None
    fault: str = ""
    others: tuple[str, ...] = ()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what arrow raises for a damaged file into a sentence."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path} as a parquet file: {short(str(error)).rstrip('.')}.") from error


def short(text: str) -> str:
    """Return a text on one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[:SHOWN] + " ..."


def inspect(path: Path, name: str, samples: tuple[str, ...], label: str | None, texts: bool = False) -> File:
    """Return what a parquet file holds, by its schema alone.

    Args:
        path: the file.
        name: what the user calls it.
        samples: names that the column of samples may have.
        label: the column of labels; `auto` takes `label` where there is one, None leaves labels out.
        texts: whether samples may be strings, or lists of them.

    Raises:
        UserError: it is no parquet file, is damaged, or lacks such columns.
    """
    import pyarrow.parquet as pq

    with reading(path), pq.ParquetFile(path) as file:
        schema, names = file.schema_arrow, file.schema_arrow.names
        found = [each for each in samples if names.count(each) == 1 and holds_samples(schema.field(each).type, texts)]
        if found:
            _check_claims(path, file.metadata, found[0])
    if not found:
        shown = short(", ".join(f"{field.name} ({field.type})" for field in schema))
        raise UserError(f"{path} has no column {' or '.join(samples)} with encoded samples; its columns are {shown}.")
    features = _features(schema.metadata)
    others: tuple[str, ...] = ()
    if label == "auto":
        label = "label" if "label" in names else None
        if label is None and isinstance(features, dict):
            others = tuple(each for each in names if _get(features.get(each), "_type") == "ClassLabel")
    elif label is not None and label not in names:
        raise UserError(f"{path} has no column {label!r} for label{suggest(label, names)}")
    if label is None:
        return File(path, name, found[0], None, others=others)
    if names.count(label) > 1:
        raise UserError(
            f"{path} has {names.count(label)} columns called {label!r}; leave labels out with "
            "-s data.source.label=null."
        )
    class_names, fault = _class_names(features, label)
    return File(path, name, found[0], label, class_names, fault)


def holds_samples(kind: Any, texts: bool) -> bool:
    """Return whether a column of this type holds bytes or, with `texts`, strings or lists of them."""
    return holds_bytes(kind) or (texts and (_is_string(kind) or (is_list(kind) and _is_string(kind.value_type))))


def is_list(kind: Any) -> bool:
    """Return whether a column's type is a list of any length."""
    import pyarrow as pa

    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _is_string(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def holds_bytes(kind: Any) -> bool:
    """Return whether a column of this type holds bytes, by itself or in a field `bytes`."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and holds_bytes(kind.field("bytes").type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _check_claims(path: Path, metadata: Any, column: str) -> None:
    """Refuse a file that claims to hold more than it can, or more than this machine can: a split is read whole."""
    size = path.stat().st_size
    if not 0 <= metadata.num_rows <= size:
        raise UserError(f"{path} is damaged: it claims to hold {metadata.num_rows} rows in {size} bytes.")
    needed = 0
    for i in range(metadata.num_row_groups):
        group = metadata.row_group(i)
        chunks = (group.column(j) for j in range(group.num_columns))
        needed += sum(c.total_uncompressed_size for c in chunks if c.path_in_schema.split(".")[0] == column)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else needed
    if needed > memory:
        raise UserError(
            f"{path} needs {needed / 2**30:.1f} GiB of memory for its column {column!r}, and this machine has "
            f"{memory / 2**30:.1f} GiB."
        )


def _features(metadata: Mapping[bytes, bytes] | None) -> Any:
    """Return what Hugging Face's `datasets` wrote next to the schema, None for nothing, or a sentence on its fault."""
    if b"huggingface" not in (metadata or {}):
        return None
    try:
        return _get(_get(json.loads((metadata or {})[b"huggingface"]), "info"), "features")
    except (ValueError, RecursionError) as error:
        return short(f"the description by Hugging Face is no JSON ({error})")


def _get(mapping: Any, key: str) -> Any:
    return mapping.get(key) if isinstance(mapping, dict) else None


def _class_names(features: Any, label: str) -> tuple[tuple[str, ...] | None, str]:
    """Return the names of a column's classes, or why they are of no use."""
    if isinstance(features, str):
        return None, features
    names = _get(_get(features, label), "names")
    if names is None:
        return None, ""
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        return None, short(f"the class names are no list of words but {names!r}")
    if len(set(names)) < len(names):
        return None, "a class name comes twice"
    return tuple(names), ""

"""Files of embeddings that are read again: rows without their vectors at once, the vectors piece by piece."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_zoo.data.strings import Strings
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.feature_files import sidecars

ROWS = 4096
"""Vectors that are read at a time."""
_LARGEST_ABOUT = 2**26


@dataclass(frozen=True)
class StoredFeatures:
    """A file of embeddings.

    Attributes:
        about: what the vectors are of, as `OpenRun.about` returned it.
        names: of the samples, in printable characters.
        splits: of the samples.
        dims: `{column: D}`.
        blocks: a column -> its vectors `(B, D)`, float32 arrays, one after the other.
    """

    about: dict[str, Any]
    names: Sequence[str]
    splits: Sequence[str]
    dims: dict[str, int]
    blocks: Callable[[str], Iterator[Any]]


def read_features(path: str | Path) -> StoredFeatures:
    """Open a file that `ssl_zoo.embed` has written.

    Raises:
        UserError: there is no such file, or it is none of embeddings.
    """
    path = Path(path)
    read = {".parquet": _parquet, ".npz": _npz, ".npy": _npy}.get(path.suffix)
    if read is None:
        raise UserError(f"--features {path}: is no file of embeddings; name one that `ssl-zoo embed` has written.")
    if not path.is_file():
        raise UserError(f"--features {path}: there is no such file; `ssl-zoo embed RUN --out {path}` writes it.")
    try:
        return read(path)
    except OSError as error:
        if error.errno is None:  # pyarrow's, of a file that is no parquet
            raise _damaged(path) from None
        raise UserError(f"--features {path}: cannot be read: {error.strerror or error}.") from None
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, RecursionError, zipfile.BadZipFile):
        raise _damaged(path) from None


def _damaged(path: Path) -> UserError:
    return UserError(f"--features {path}: is damaged, or `ssl-zoo embed` has not written it; write it anew.")


def _about(text: str | bytes) -> dict[str, Any]:
    if len(text) > _LARGEST_ABOUT:
        raise ValueError
    found = json.loads(text)
    if not isinstance(found, dict) or not isinstance(found.get("data"), dict):
        raise ValueError
    return found


def _parquet(path: Path) -> StoredFeatures:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    schema = file.schema_arrow
    about = _about((schema.metadata or {})[b"ssl_zoo"])
    dims = {field.name: int(field.type.list_size) for field in schema if pa.types.is_fixed_size_list(field.type)}
    table = file.read(columns=["name", "split"])

    def blocks(column: str) -> Iterator[Any]:
        for batch in file.iter_batches(batch_size=ROWS, columns=[column]):
            yield batch.column(0).flatten().to_numpy(zero_copy_only=False).reshape(-1, dims[column])

    return StoredFeatures(about, Strings(table["name"].to_pylist()), table["split"].to_pylist(), dims, blocks)


def _npz(path: Path) -> StoredFeatures:
    import numpy as np

    with np.load(path, allow_pickle=False) as found:
        about = _about(str(found["about"]))
        names, splits = Strings(found["name"].tolist()), found["split"].tolist()
    with zipfile.ZipFile(path) as archive:
        columns = [Path(name).stem for name in archive.namelist() if name.startswith("vector")]
        dims = {column: _header(archive, column)[1] for column in columns}

    def blocks(column: str) -> Iterator[Any]:
        with zipfile.ZipFile(path) as archive, archive.open(f"{column}.npy") as file:
            _skip_header(file)
            size = 4 * dims[column]
            while data := file.read(ROWS * size):
                yield np.frombuffer(data, dtype="<f4").reshape(-1, dims[column])

    return StoredFeatures(about, names, splits, dims, blocks)


def _header(archive: zipfile.ZipFile, column: str) -> tuple[int, int]:
    """Return the shape of an array of a zip file.

    Raises:
        ValueError: it is no float32 matrix.
    """
    with archive.open(f"{column}.npy") as file:
        shape, order, dtype = _skip_header(file)
    if len(shape) != 2 or order or dtype.str != "<f4" or shape[1] < 1:
        raise ValueError
    return shape[0], shape[1]


def _skip_header(file: Any) -> tuple[tuple[int, ...], bool, Any]:
    import numpy as np

    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, order, dtype = read(file)
    return shape, order, dtype


def _npy(path: Path) -> StoredFeatures:
    import numpy as np

    rows, json_file = sidecars(path)
    for each in (rows, json_file):
        if not each.is_file():
            raise UserError(f"--features {path}: needs {each} beside it, which `ssl-zoo embed` writes with it.")
    about = _about(json.dumps(json.loads(json_file.read_bytes())["about"]))
    with rows.open(encoding="utf-8", newline="") as file:
        found = [(row["name"], row["split"]) for row in csv.DictReader(file)]
    x = np.load(path, mmap_mode="r", allow_pickle=False)
    if x.ndim != 2 or x.dtype != np.float32 or len(x) != len(found):
        raise ValueError

    def blocks(column: str) -> Iterator[Any]:
        for start in range(0, len(x), ROWS):
            yield np.array(x[start : start + ROWS])

    return StoredFeatures(
        about, Strings(name for name, _ in found), [split for _, split in found], {"vector": x.shape[1]}, blocks
    )

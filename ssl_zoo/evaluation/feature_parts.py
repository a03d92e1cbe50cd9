"""Embeddings that are being computed: a folder with one file for each piece of the samples, so that a kill loses one.

`FILE.parts/` has `state.json`, which says what the vectors are of, and `00000.npz`, `00001.npz`, ..., each of which
takes its name when it is whole. Several processes write into one folder.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_zoo.errors import UserError
from ssl_zoo.runs import lock
from ssl_zoo.runs.atomic import replacing, write_atomically, writing

_STATE = "state.json"
_LARGEST_STATE = 2**22
_LARGEST_NOTE = 2**26
"""Bytes of the JSON of samples that cannot be read, in a part."""


@dataclass(frozen=True)
class Part:
    """What a piece of the samples gave.

    Attributes:
        index: positions in their split of the samples that could be read.
        vectors: `{column: (B, D)}`, float32 arrays.
        bad: `{name: reason}` of the others.
    """

    index: list[int]
    vectors: dict[str, Any]
    bad: dict[str, str]


class Parts:
    """The folder of parts of a file of embeddings.

    Args:
        out: the file that will be made of them.
        state: what the vectors are of, as plain data: parts of another state are not taken for these.
        num: of the parts, when all are there.
        dims: `{column: D}`.
    """

    def __init__(self, out: Path, state: Mapping[str, Any], num: int, dims: Mapping[str, int]) -> None:
        self.folder = out.with_name(out.name + ".parts")
        self.num, self.dims = num, dict(dims)
        self._out, self._state = out, json.loads(json.dumps(state))

    def begin(self) -> int:
        """Make the folder, or find one of an interrupted run, and return how many parts it has.

        Raises:
            UserError: it is of another encoder, other samples or other settings, or is no such folder.
            CannotWrite: it cannot be made.
        """
        state = self.folder / _STATE
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"{self.folder}: is a file, where the parts of {self._out.name} go; move it away.")
        if not state.is_file():
            begun = (state.name + ".partial", lock.NAME)  # what a kill in the first moment leaves
            if self.folder.is_dir() and any(each.name not in begun for each in self.folder.iterdir()):
                raise UserError(f"{self.folder}: holds files that `embed` has not written; move it away.")
            with writing(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(state, json.dumps(self._state) + "\n")
            return 0
        self._check(state)
        return sum(self.has(i) for i in range(self.num))

    def _check(self, path: Path) -> None:
        advice = f"remove {self.folder} to begin anew, or name another --out"
        try:
            with path.open("rb") as file:
                content = file.read(_LARGEST_STATE + 1)
            then = json.loads(content)
            if len(content) > _LARGEST_STATE or not isinstance(then, dict):
                raise ValueError
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror or error}; {advice}.") from None
        except (ValueError, RecursionError):
            raise UserError(f"{path}: is damaged; {advice}.") from None
        if difference := differing(then, self._state):
            raise UserError(
                f"--out {self._out}: an interrupted run has left vectors of {difference}, which are not mixed with "
                f"these; {advice}."
            )

    def path(self, i: int) -> Path:
        """Return the file of a part."""
        return self.folder / f"{i:05}.npz"

    def has(self, i: int) -> bool:
        """Return whether a part is there."""
        return self.path(i).is_file()

    def write(self, i: int, part: Part) -> None:
        """Write a part; a kill leaves all of it or nothing.

        Raises:
            CannotWrite: the disk is full, or the folder is gone.
        """
        import numpy as np

        arrays = {f"x_{column}": x for column, x in part.vectors.items()}
        bad = np.frombuffer(json.dumps(part.bad).encode("utf-8"), dtype=np.uint8)
        with replacing(self.path(i)) as file:
            np.savez(file, index=np.array(part.index, dtype=np.int64), bad=bad, **arrays)

    def read(self, i: int) -> Part:
        """Return a part.

        Raises:
            UserError: it is damaged.
        """
        import numpy as np

        try:
            with np.load(self.path(i), allow_pickle=False) as found:
                index, note = found["index"], found["bad"]
                vectors = {column: found[f"x_{column}"] for column in self.dims}
            if index.ndim != 1 or index.dtype != np.int64 or note.nbytes > _LARGEST_NOTE:
                raise ValueError
            if any(x.shape != (len(index), self.dims[c]) or x.dtype != np.float32 for c, x in vectors.items()):
                raise ValueError
            bad = {str(name): str(why) for name, why in json.loads(note.tobytes()).items()}
        except (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise UserError(f"{self.path(i)}: cannot be read: {error.strerror or error}.") from None
            raise UserError(f"{self.path(i)}: is damaged; remove this file, and run the same command again.") from None
        return Part(index.tolist(), vectors, bad)

    def all(self) -> Iterator[Part]:
        """Yield the parts in their order."""
        for i in range(self.num):
            yield self.read(i)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return what two sets of vectors are not both of, in words; empty where they are of the same.

    Args:
        then: as `OpenRun.about` returned it; other keys are settings.
        now: the same.
    """
    if then.get("sha256") != now.get("sha256"):
        return f"another encoder (checksum {str(then.get('sha256'))[:12]}, not {str(now.get('sha256'))[:12]})"
    if then.get("data") != now.get("data"):
        numbers = [_numbers(each.get("data")) for each in (then, now)]
        same = "as many samples of the same names, with other contents or labels"
        return f"other data ({f'{numbers[0]}, not {numbers[1]}' if numbers[0] != numbers[1] else same})"
    keys = sorted(key for key in {*then, *now} if then.get(key) != now.get(key))
    return f"other settings ({', '.join(keys)})" if keys else ""


def _numbers(data: Any) -> str:
    """Return `300 samples, names 1f2e3d`, which tells two data sets apart."""
    splits = [each for each in (data or {}).values() if isinstance(each, dict)] if isinstance(data, dict) else []
    num = sum(each["samples"] for each in splits if isinstance(each.get("samples"), int))
    return f"{num} samples, names {'+'.join(str(each.get('names'))[:6] for each in splits)}"

"""The run folder: where a run keeps what it is, what it logged and what came out."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ssl_zoo.errors import UserError
from ssl_zoo.recipe import Recipe


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees either the old one or the new one."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def to_json(value: Any, indent: int | None = None) -> str:
    """Return JSON text; numbers that JSON does not have (nan, inf) become null, so that every reader can read it."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, (list, tuple)) else value


class RunFolder:
    """A run on disk: `recipe.yaml`, `metrics.jsonl`, `tensorboard/`, `checkpoints/`, `encoder.*`, `summary.json`."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.recipe = self.path / "recipe.yaml"
        self.metrics = self.path / "metrics.jsonl"
        self.tensorboard = self.path / "tensorboard"
        self.checkpoint = self.path / "checkpoints" / "last.pt"
        self.encoder = self.path / "encoder.safetensors"
        self.card = self.path / "encoder.json"
        self.summary = self.path / "summary.json"
        self.bad_files = self.path / "bad_files.txt"
        self.views = self.path / "views.png"

    def check_free(self) -> None:
        """Make sure that a new run may be written here.

        Raises:
            UserError: the folder holds a run, or something else.
        """
        for path in (self.path, *self.path.parents):
            if path.exists() and not path.is_dir():
                raise UserError(f"--out {self.path}: {path} is a file; name a folder.")
        if self.recipe.exists() and not self.checkpoint.exists():
            raise UserError(
                f"--out {self.path}: holds a run that ended before its first checkpoint; remove the folder, or name "
                "another."
            )
        if self.recipe.exists():
            raise UserError(f"--out {self.path}: holds another run; go on with it by --resume, or name another folder.")
        if self.path.is_dir() and any(self.path.iterdir()):
            raise UserError(f"--out {self.path}: is not empty and holds no run; name a new folder.")

    def check_same(self, recipe: Recipe) -> None:
        """Make sure that a recipe is the one that the run here was started with.

        Raises:
            UserError: there is no run here, or its recipe differs; the message names the first difference.
        """
        if not self.recipe.is_file():
            raise UserError(f"--resume: {self.path} holds no run; start one without --resume.")
        from ssl_zoo.recipes import load_recipe

        difference = first_difference(load_recipe(str(self.recipe)).dump(), recipe.dump())
        if difference is not None:
            key, old, new = difference
            raise UserError(
                f"--resume: {self.path} was started with {key} = {old!r}, and the recipe now says {new!r}; give the "
                "same recipe, or start another run (--init-from takes its weights)."
            )

    def create(self, recipe: Recipe) -> None:
        """Make the folder and write the resolved recipe into it."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomically(self.recipe, recipe.to_yaml())

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Add a line to `metrics.jsonl`."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(to_json(record) + "\n")

    def read_metrics(self) -> Iterator[dict[str, Any]]:
        """Yield the records of `metrics.jsonl`; a last line that a kill cut short is left out."""
        if not self.metrics.is_file():
            return
        for line in self.metrics.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                yield json.loads(line)

    def rewind_metrics(self, step: int) -> None:
        """Forget what was logged after `step`, so that a resumed run logs each step once."""
        kept = [json.dumps(record) + "\n" for record in self.read_metrics() if record["step"] <= step]
        write_atomically(self.metrics, "".join(kept))

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write `summary.json`."""
        write_atomically(self.summary, to_json(summary, indent=2) + "\n")

    def read_summary(self) -> dict[str, Any]:
        """Return `summary.json`.

        Raises:
            UserError: the run has none.
        """
        if not self.summary.is_file():
            raise UserError(f"{self.path}: holds no finished run (no summary.json).")
        return json.loads(self.summary.read_text(encoding="utf-8"))


def first_difference(old: Any, new: Any, path: str = "") -> tuple[str, Any, Any] | None:
    """Return (dotted key, old value, new value) of the first difference of two recipes, or None."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            found = first_difference(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
            if found is not None:
                return found
        return None
    return None if old == new else (path, old, new)

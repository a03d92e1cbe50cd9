"""The run folder: the recipe, logs, checkpoints and results of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssl_zoo.errors import UserError, shown_name
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.runs import lock
from ssl_zoo.runs.atomic import write_atomically as write_atomically
from ssl_zoo.runs.atomic import writing
from ssl_zoo.runs.metrics_log import read_records
from ssl_zoo.runs.same_recipe import first_difference, trained_alike
from ssl_zoo.runs.summary import read_summary


def to_json(value: Any, indent: int | None = None) -> str:
    """Return JSON text; nan and inf, which JSON lacks, become null."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, (list, tuple)) else value


def default_out(recipe: Recipe | str, resume: bool = False) -> Path:
    """Return the folder of a run that is given none: runs/METHOD-seedN, or the run to resume that `recipe` names."""
    if isinstance(recipe, str) and (Path(recipe) / "recipe.yaml").is_file() and resume:
        return Path(recipe)
    if isinstance(recipe, str):
        from ssl_zoo.recipe.load import load_recipe

        path = Path(recipe)
        name = path.stem if path.suffix in (".yaml", ".yml") else path.name if path.is_dir() else recipe
        return Path("runs") / f"{name.replace('/', '-')}-seed{load_recipe(recipe).seed}"
    return Path("runs") / f"{recipe.method.replace('/', '-')}-seed{recipe.seed}"


BEFORE_THE_RECIPE = (lock.NAME, "checkpoints", "recipe.yaml.partial")
"""Files that a run killed while it made its folder leaves behind; only `recipe.yaml` makes a folder a run."""


class RunFolder:
    """A run on disk: `recipe.yaml`, `metrics.jsonl`, `tensorboard/`, `checkpoints/`, `encoder.*`, `summary.json`."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.recipe = self.path / "recipe.yaml"
        self.metrics = self.path / "metrics.jsonl"
        self.tensorboard = self.path / "tensorboard"
        self.checkpoint = self.path / "checkpoints" / "last.pt"
        self.best = self.path / "checkpoints" / "best.pt"
        self.encoder = self.path / "encoder.safetensors"
        self.card = self.path / "encoder.json"
        self.summary = self.path / "summary.json"
        self.bad_files = self.path / "bad_files.txt"
        self.data_index = self.path / "data.npy"
        self.views = self.path / "views.png"
        self.samples = self.path / "samples.json"
        self.report_data = self.path / "report.safetensors"

    def healthy(self, step: int) -> Path:
        """Return the checkpoint that the collapse guard may go back to, of a step."""
        return self.checkpoint.with_name(f"healthy-{step}.pt")

    def kept(self, step: int) -> Path:
        """Return the checkpoint that `training.keep_every` keeps of a step."""
        return self.checkpoint.with_name(f"step-{step}.pt")

    def kept_steps(self) -> list[int]:
        """Return the steps of the checkpoints that are kept, in order."""
        names = (path.stem.removeprefix("step-") for path in self.checkpoint.parent.glob("step-*.pt"))
        return sorted(int(name) for name in names if name.isdecimal())

    @contextmanager
    def claimed(self, log: Callable[[str], None]) -> Iterator[None]:
        """A context in which the folder exists and no other process works in it.

        Folders that were made for it are removed at the end if they are empty.

        Args:
            log: prints what a user has to know of the lock.

        Raises:
            UserError: nothing can be written there, or another process works there.
        """
        made: list[Path] = []
        try:
            self._check_no_file()
            try:
                made = [path for path in (self.path, *self.path.parents) if not path.exists()]
                self.path.mkdir(parents=True, exist_ok=True)
                held = lock.take(self.path, log)
            except OSError as error:
                raise UserError(f"--out {self.path}: cannot be written: {error.strerror or error}.") from None
            try:
                yield
            finally:
                held.release()
        finally:
            for path in made:
                try:
                    path.rmdir()
                except OSError:  # it is not empty
                    break

    def check_free(self, recipe: Recipe) -> None:
        """Make sure that a run of a recipe may be started here.

        The folder may hold a run of the same recipe that was stopped before its first step: it is started again.

        Raises:
            UserError: the folder holds another run, or something else.
        """
        self._check_no_file()
        if self.recipe.exists():
            if self._has_begun():
                raise UserError(f"--out {self.path}: holds another run; resume it by --resume, or name another folder.")
            if (difference := self._difference(recipe)) is not None:
                key, old, new = difference
                raise UserError(
                    f"--out {self.path}: holds a run of another recipe that has not begun ({key} = {old!r}, and the "
                    f"recipe now has {new!r}); remove the folder, or name another."
                )
        elif self.path.is_dir() and any(each.name not in BEFORE_THE_RECIPE for each in self.path.iterdir()):
            raise UserError(f"--out {self.path}: is not empty and holds no run; name a new folder.")

    def _check_no_file(self) -> None:
        for path in (self.path, *self.path.parents):
            if path.exists() and not path.is_dir():
                raise UserError(f"--out {self.path}: {path} is a file; name a folder.")

    def _has_begun(self) -> bool:
        """Return whether there is anything to lose: a step that was trained, or an encoder."""
        from ssl_zoo.runs import checkpoint

        if self.encoder.exists() or not self.checkpoint.exists():
            return self.encoder.exists()
        try:
            return bool(checkpoint.load(self.checkpoint, parts=True)["step"])
        except UserError:
            return True

    def _difference(self, recipe: Recipe) -> tuple[str, Any, Any] | None:
        from ssl_zoo.recipe.load import load_recipe

        return first_difference(load_recipe(str(self.recipe)).dump(), recipe.dump())

    def check_same(self, recipe: Recipe, *, resuming: bool = False) -> None:
        """Make sure that a recipe is the one that the run here was started with.

        Args:
            recipe: to compare.
            resuming: whether it may differ in what the training does not depend on: how samples are read, where they
                lie (the caller checks that they are the same), and the evaluation; and in its length, which the caller
                checks too.

        Raises:
            UserError: there is no run here, or its recipe differs; the message names the first difference.
        """
        from ssl_zoo.recipe.load import load_recipe

        if not self.recipe.is_file():
            raise UserError(f"--resume: {self.path} holds no run; start one without --resume.")
        self._compare(load_recipe(str(self.recipe)), recipe, resuming)

    def _compare(self, then: Recipe, now: Recipe, resuming: bool) -> None:
        old, new = then.dump(), now.dump()
        if resuming:
            old, new = trained_alike(old), trained_alike(new)
        if (difference := first_difference(old, new)) is not None:
            key, first, second = difference
            raise UserError(
                f"--resume: {self.path} was started with {key} = {first!r}, and the recipe now has {second!r}; give "
                "the same recipe, or start another run (--init-from takes its weights)."
            )

    def read_state(self, recipe: Recipe) -> dict[str, Any]:
        """Return the checkpoint of the run here, to resume it by a recipe that trains alike, see `check_same`.

        Tensors that are stored in parts are not read yet, see `ssl_zoo.distributed.shards.Stored`.

        Raises:
            UserError: there is no checkpoint, it is damaged, or it was trained by another recipe.
        """
        from ssl_zoo.recipe.model import parse
        from ssl_zoo.runs import checkpoint

        if not self.checkpoint.is_file():
            raise UserError(
                f"--resume: {self.path} holds no checkpoint to resume from; start the run again, without --resume."
            )
        state = checkpoint.load(self.checkpoint, parts=True)
        self._compare(parse(state["recipe"], f"the recipe in {self.checkpoint}"), recipe, resuming=True)
        return state

    def finished(self) -> dict[str, Any] | None:
        """Return the summary of the run here if nothing of it is left to do, else None.

        Raises:
            UserError: the summary cannot be read.
        """
        if not (self.summary.is_file() and self.encoder.is_file() and self.card.is_file()):
            return None
        summary = self.read_summary()
        return summary if summary["status"] in ("done", "collapsed") else None

    def create(self, recipe: Recipe, state: Mapping[str, Any] | None = None, remarks: Sequence[str] = ()) -> None:
        """Write the first checkpoint, and the resolved recipe, which makes the folder a run.

        Args:
            recipe: of the run.
            state: to resume from while nothing else has been saved; None where there is a checkpoint already.
            remarks: sentences for the top of the recipe's file.

        Raises:
            CannotWrite: the disk is full, or the folder is gone.
        """
        from ssl_zoo.runs import checkpoint

        if state is not None:
            checkpoint.save(self.checkpoint, dict(state))
        text = "".join(f"# {line}\n" for line in remarks) + recipe.to_yaml()
        if not self.recipe.is_file() or self.recipe.read_text(encoding="utf-8") != text:
            write_atomically(self.recipe, text)

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Append a record to `metrics.jsonl`.

        Raises:
            CannotWrite: the disk is full, or the folder is gone.
        """
        with writing(self.metrics), self.metrics.open("a", encoding="utf-8") as file:
            file.write(to_json(record) + "\n")

    def read_metrics(self) -> Iterator[dict[str, Any]]:
        """Yield the records of the training in `metrics.jsonl`; a last line that a kill cut short is left out.

        Raises:
            UserError: a line is not a record of a run.
        """
        return (record for record in read_records(self.metrics) if "evaluation" not in record)

    def read_evaluations(self) -> Iterator[dict[str, Any]]:
        """Yield the records of evaluations during the training, in the order of their steps.

        Each has `step`, `epoch`, `evaluation`, `{"DATA_SET/PROTOCOL": {metric: value}}`, and `evaluation_s`.

        Raises:
            UserError: a line of `metrics.jsonl` is not a record of a run.
        """
        return (record for record in read_records(self.metrics) if "evaluation" in record)

    def rewind_metrics(self, step: int) -> None:
        """Remove the records after `step`, so that a resumed run logs each step once.

        Raises:
            UserError: the file cannot be read.
            CannotWrite: it cannot be written.
        """
        if self.metrics.is_file():
            kept = [json.dumps(record) + "\n" for record in read_records(self.metrics) if record["step"] <= step]
            write_atomically(self.metrics, "".join(kept))

    def write_bad_files(self, bad: Mapping[str, str]) -> None:
        """Write the names of samples that could not be read and the reasons, one per line, separated by a tab.

        Raises:
            CannotWrite: the disk is full, or the folder is gone.
        """
        lines = (f"{shown_name(name)}\t{shown_name(reason)}\n" for name, reason in bad.items())
        write_atomically(self.bad_files, "".join(lines))

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write `summary.json`.

        Raises:
            CannotWrite: the disk is full, or the folder is gone.
        """
        write_atomically(self.summary, to_json(summary, indent=2) + "\n")

    def read_summary(self) -> dict[str, Any]:
        """Return `summary.json`.

        Raises:
            UserError: the run has none, or it is damaged.
        """
        if not self.summary.is_file():
            raise UserError(f"{self.path}: holds no finished run (no summary.json).")
        return read_summary(self.summary)

"""Writing the checkpoints of a run by all of its processes: one file, or parts in the background.

A state whose tensors are whole is written by the first process at once. Of one whose tensors are spread over processes
(`ssl_zoo.distributed.shards`), each process copies its parts to the CPU, and the training goes on while they are
written. The checkpoint counts from the moment when all processes have written theirs and the first one has named them
in its file.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from torch import Tensor

from ssl_zoo.distributed.launch import Processes
from ssl_zoo.distributed.shards import is_sharded, local, map_tensors
from ssl_zoo.errors import CannotWrite, NotFinite
from ssl_zoo.runs import checkpoint

if TYPE_CHECKING:
    from ssl_zoo.runs.shard_files import Saving

Keys = list[Any]
"""The keys that lead through nested dicts to a tensor."""


@dataclass
class _Begun:
    """A checkpoint whose parts are being written."""

    path: Path
    folder: Path
    rest: dict[str, Any]
    places: dict[str, Keys]
    saving: Saving
    then: Callable[[], None]


class CheckpointWriter:
    """Writes checkpoints, one at a time. All processes call its methods, in the same order.

    Args:
        processes: of the run.
    """

    def __init__(self, processes: Processes):
        self._processes = processes
        self._group: dist.ProcessGroup | None = None
        self._begun: _Begun | None = None

    def write(self, path: Path, state: dict[str, Any], then: Callable[[], None] = lambda: None) -> None:
        """Write a state, or begin to.

        Args:
            path: the file of the checkpoint.
            state: see `ssl_zoo.distributed.strategy.Strategy.state`.
            then: called when the checkpoint is there.

        Raises:
            NotFinite: a tensor holds nan or an infinity; the last checkpoint is what it was.
            CannotWrite: the disk is full, or the folder is gone, now or with the checkpoint before; the last one that
                was finished is what it was.
        """
        self.settle()
        rest, spread = _divided(state)
        if spread:
            self._begin(path, rest, spread, then)
            return
        if self._processes.is_main:
            checkpoint.save(path, state)
        then()

    def _begin(self, path: Path, rest: dict[str, Any], spread: dict[str, _Spread], then: Callable[[], None]) -> None:
        from ssl_zoo.runs import shard_files

        if self._group is None:
            group = dist.new_group(backend="gloo")
            assert isinstance(group, dist.ProcessGroup)  # every process is in it
            self._group = group
        tensors = {name: each.tensor for name, each in spread.items()}
        bad = checkpoint.first_not_finite({**map_tensors(tensors, local), **rest})
        answers = self._asked((bad, checkpoint.next_folder(path) if self._processes.is_main else None))
        if (found := next((name for name, _ in answers if name is not None), None)) is not None:
            raise NotFinite(f"the state after step {rest.get('step')} is not finite ({found}); {NotFinite.advice}")
        folder: Path = answers[0][1]
        if self._processes.is_main:  # the training goes on, and changes what is not copied
            rest = copy.deepcopy(map_tensors(rest, lambda x: x.detach().to("cpu")))
        saving = shard_files.start(folder, tensors, self._group)
        self._begun = _Begun(path, folder, rest, {name: each.keys for name, each in spread.items()}, saving, then)

    def poll(self) -> None:
        """Finish the checkpoint that was begun if its parts are written, without waiting; see `write`."""
        if self._begun is not None and not self._processes.any(not self._begun.saving.done):
            self.settle()

    def settle(self) -> None:
        """Wait for the checkpoint that was begun, if one was, and finish it.

        Raises:
            CannotWrite: a process could not write its parts; the checkpoint before is what it was.
        """
        if self._begun is None:
            return
        begun, self._begun = self._begun, None
        answers = self._asked(begun.saving.result())
        reason = next((reason for _, reason in answers if reason is not None), None)
        problem = None if reason is None else f"cannot write {begun.path}: {reason}."
        if self._processes.is_main:
            files = {name: digest for digests, _ in answers for name, digest in digests.items()}
            problem = _named(begun, files, problem)
        (problem, *_) = self._asked(problem)  # nobody goes on before the file is there
        if problem is not None:
            raise CannotWrite(problem)
        begun.then()

    def _asked(self, answer: Any) -> list[Any]:
        """Return the answers of all processes, in the order of their ranks."""
        answers: list[Any] = [None] * self._processes.size
        dist.all_gather_object(answers, answer, group=self._group)
        return answers


def _named(begun: _Begun, files: dict[str, str], problem: str | None) -> str | None:
    """Write the file that names the parts, or remove them where there is a problem; return the problem, if any."""
    lost = sorted(name for name in files if not (begun.folder / name).is_file())
    if problem is None and lost:
        problem = (
            f"cannot write {begun.path}: {begun.folder.name}/{lost[0]}, which another process has written, is not "
            "here; --out has to be in a folder that all machines share."
        )
    if problem is None:
        parts = {"folder": begun.folder.name, "files": files, "places": begun.places}
        try:
            checkpoint.save(begun.path, {**begun.rest, checkpoint.PARTS: parts})
            return None
        except CannotWrite as error:
            problem = str(error)
    shutil.rmtree(begun.folder, ignore_errors=True)
    return problem


@dataclass(frozen=True)
class _Spread:
    """A tensor that is spread over processes, and where it stands in a state."""

    tensor: Tensor
    keys: Keys


def _divided(state: dict[str, Any]) -> tuple[dict[str, Any], dict[str, _Spread]]:
    """Return a state with None for each tensor that is spread, and these tensors by names of their own."""
    spread: dict[str, _Spread] = {}

    def rest(value: Any, keys: Keys) -> Any:
        if isinstance(value, dict):
            return {key: rest(each, [*keys, key]) for key, each in value.items()}
        if is_sharded(value):
            spread["/".join(map(str, keys))] = _Spread(value, keys)
            return None
        return value

    return rest(state, []), spread

"""Numbers of the raw input and of untrained encoders, measured once and kept for other runs on the same data.

Each is a file of JSON, named by the digest of all that its numbers depend on. A file that is damaged, or that was
written for something else, is measured and written again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.identity import identity
from ssl_zoo.data.source import Split, ViewPolicy
from ssl_zoo.errors import CannotWrite
from ssl_zoo.evaluation.augmented import AugmentedViews
from ssl_zoo.evaluation.contract import protocol_class
from ssl_zoo.evaluation.protocol_lists import Protocols
from ssl_zoo.evaluation.representations import Measured
from ssl_zoo.evaluation.seen import EvaluationData
from ssl_zoo.evaluation.subject import Subject
from ssl_zoo.hardware import choose, environment
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.runs.atomic import write_atomically

LOOKED_AT = 64
"""Samples of each split whose content is part of the key: names and labels tell the others apart."""

_NO_MATTER = ("num_workers", "cache")


@dataclass(frozen=True)
class KeptBaselines:
    """The baselines that are kept in a folder, for the evaluation of one recipe.

    Attributes:
        folder: of the files; it is made when the first is written.
        recipe: its encoder, views, data and precision are part of the key.
        data: the samples.
    """

    folder: Path
    recipe: Recipe
    data: EvaluationData

    def __call__(
        self, module: nn.Module | None, sees: type[Any], protocols: Protocols, measure: Callable[[], Measured]
    ) -> Measured:
        """Return the numbers that are kept of a baseline, or measure and keep them.

        Args:
            module: the untrained encoder; None is the raw input.
            sees: what the protocols see.
            protocols: (name, options) of each.
            measure: measures it.
        """
        if any(protocol_class(name).reads_more for name, _ in protocols):
            return measure()
        key = json.loads(json.dumps(self.key(module, sees, protocols)))
        path = self.folder / f"{_digest(json.dumps(key, sort_keys=True))[:32]}.json"
        kept = _read(path, key)
        if kept is not None:
            return kept
        results, lines = measure()
        content = json.dumps({"results": results, "lines": lines})
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps({"key": key, "content": content, "sha256": _digest(content)}) + "\n")
        except (CannotWrite, OSError):
            pass  # the next run measures them again
        return results, lines

    @cached_property
    def _samples(self) -> dict[str, Any]:
        return {
            name: _of_split(each, self.data.policy)
            for name, each in (("train", self.data.train), ("test", self.data.test))
        }

    def key(self, module: nn.Module | None, sees: type[Any], protocols: Protocols) -> dict[str, Any]:
        """Return all that the numbers of a baseline depend on; its arguments are those of a call.

        Names, labels and some of the samples as the evaluation sees them stand for the data; the augmentation counts
        where protocols see it. An untrained encoder is known by its weights, so that each seed has its own.
        """
        plain, data = self.recipe.dump(), self.data
        encoder = "raw" if module is None else {"part": plain["encoder"], **_of_module(module)}
        return {
            "of": encoder,
            "data": self._samples,
            "source": {name: value for name, value in plain["data"].items() if name not in _NO_MATTER},
            "views": plain["views"] if sees in (AugmentedViews, Subject) else None,
            "limit": data.limit,
            "half": data.half,
            "device": torch.device(data.device).type,
            "threads": torch.get_num_threads(),
            "environment": environment(choose(self.recipe.training.precision, for_training=False)),
            "protocols": [[name, protocol_class(name).version, _plain(options)] for name, options in protocols],
        }


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as what JSON can hold; those that are parts by what they state."""
    return {name: json.loads(json.dumps(value, default=repr)) for name, value in options.items()}


def _of_split(split: Split | None, policy: ViewPolicy) -> dict[str, Any] | None:
    """Return what tells a split apart: its identity, and the content of some of its samples."""
    if split is None:
        return None
    seen = hashlib.sha256()
    for i in torch.linspace(0, len(split) - 1, min(LOOKED_AT, len(split))).long().tolist():
        try:
            views = policy.looks([split.read(i)])
        except BadSample as error:
            seen.update(error.name.encode("utf-8", "surrogateescape"))
            continue
        for view in views:
            for each in [view.data] if isinstance(view.data, Tensor) else view.data.values():
                _update(seen, each)
    return {**identity(split), "seen": seen.hexdigest()}


def _of_module(module: nn.Module) -> dict[str, str]:
    """Return the classes of a module's parts, and a digest of its weights and buffers."""
    weights = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        weights.update(name.encode())
        _update(weights, value)
    classes = [f"{type(part).__module__}.{type(part).__qualname__}" for part in module.modules()]
    return {"parts": _digest("\n".join([repr(module), *classes])), "weights": weights.hexdigest()}


def _update(into: Any, value: Tensor) -> None:
    into.update(f"{value.dtype} {tuple(value.shape)}".encode())
    into.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())


def _read(path: Path, key: Mapping[str, Any]) -> Measured | None:
    """Return what a file keeps for a key; None where there is none, it is damaged, or for another key."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["key"] != key or kept["sha256"] != _digest(kept["content"]):
            return None
        content = json.loads(kept["content"])
        return content["results"], content["lines"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

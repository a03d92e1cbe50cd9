"""A run's encoder with samples: opened, and encoded piece by piece."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import file_digest
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from ssl_zoo.batch import encode
from ssl_zoo.data.bad_samples import Budget
from ssl_zoo.data.contents import probe_digests
from ssl_zoo.data.given import objects, take
from ssl_zoo.data.identity import identity
from ssl_zoo.data.open import OpenData
from ssl_zoo.data.source import Split, ViewPolicy
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.evaluate import check_input, recipe_of
from ssl_zoo.evaluation.features import at_a_time, by_name, looks, mean_over, on_device
from ssl_zoo.evaluation.overrides import check_views
from ssl_zoo.hardware import Hardware, choose
from ssl_zoo.methods.build import build_views, open_recipe_data
from ssl_zoo.methods.members import PairedEncoder
from ssl_zoo.runs.at_step import encoder_folder
from ssl_zoo.runs.card import read_card
from ssl_zoo.runs.encoder import read_encoder
from ssl_zoo.runs.folder import RunFolder

BATCH = 512
"""Samples that are read at a time, at most."""


@dataclass(frozen=True)
class OpenRun:
    """An encoder, and the samples that it is to embed.

    Attributes:
        folder: of the run.
        encoder: the trained one.
        policy: its looks at samples are encoded.
        data: the samples.
        hardware: where the encoder runs, and how precisely.
        settings: of the recipe, on which the vectors hang beside the encoder and the samples.
    """

    folder: RunFolder
    encoder: nn.Module
    policy: ViewPolicy
    data: OpenData
    hardware: Hardware
    settings: dict[str, Any]

    @property
    def splits(self) -> dict[str, Split]:
        """The splits that have samples."""
        found = {"train": self.data.train, "test": self.data.test}
        return {name: split for name, split in found.items() if split is not None and len(split)}

    @property
    def dims(self) -> dict[str, int]:
        """`{column: D}` of the vectors: `vector`, or `vector_MEMBER` of each member."""
        encoder: Any = self.encoder
        if isinstance(encoder, PairedEncoder):
            return {f"vector_{member}": dim for member, dim in encoder.out_dims.items()}
        return {"vector": encoder.out_dim}

    def about(self) -> dict[str, Any]:
        """Return what the vectors are of: the encoder and its checksum, the settings, and the samples."""
        card = json.loads(self.folder.card.read_text(encoding="utf-8"))
        with self.folder.encoder.open("rb") as file:
            checksum = file_digest(file, "sha256").hexdigest()
        return {
            **{key: card.get(key) for key in ("method", "seed", "steps")},
            "sha256": checksum,
            **self.settings,
            "data": {name: {**identity(split), "digests": probe_digests(split)} for name, split in self.splits.items()},
        }


def open_run(run: str | Path, data: Any, overrides: Sequence[str], *, again: bool = False) -> OpenRun:
    """Open a run's encoder and the samples that it is to embed.

    Args:
        run: a run folder, or a checkpoint of one, such as `RUN@step500`; see `load_encoder`.
        data: other data than the run's: a registered source or a path, several of these, or a Python data set; see
            `ssl_zoo.data.given.take`.
        overrides: dotted keys on the run's recipe, such as `data.on_error=skip`.
        again: whether samples are read more than once; else `data.cache=auto` keeps none in memory.

    Raises:
        UserError: no such run or data, an encoder that does not take the samples, or no samples.
    """
    folder, given = RunFolder(encoder_folder(run)), take(data)
    recipe = recipe_of(folder, given, overrides)
    if recipe.data.cache == "auto" and not again:
        recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"cache": "none"})})
    encoder, policy = read_encoder(folder.path), build_views(recipe)
    check_input(read_card(folder.card).spec, policy.spec, encoder, recipe.encoder.name)
    opened = open_recipe_data(recipe, policy.spec, objects(given))
    check_views(str(folder.recipe), overrides, policy, opened.train)
    dumped = recipe.dump()
    settings = {"views": dumped["views"], "decode": dumped["data"].get("decode", {})}
    found = OpenRun(folder, encoder, policy, opened, choose(recipe.training.precision, for_training=False), settings)
    if not found.splits:
        where = f"the data of {run}" if given is None else given if isinstance(given, str) else "data"
        raise UserError(f"{where}: holds no samples; name other data with --data.")
    return found


class Piece(NamedTuple):
    """Some samples of a split that follow each other: from `start` to before `stop`."""

    split: str
    start: int
    stop: int


def pieces(opened: OpenRun) -> list[Piece]:
    """Return all samples in pieces that are encoded at a time, in the order of the splits."""
    size = at_a_time(opened.policy.spec, BATCH)
    return [
        Piece(name, start, min(start + size, len(split)))
        for name, split in opened.splits.items()
        for start in range(0, len(split), size)
    ]


class Encoding:
    """Encodes pieces on a device; used as a context.

    Args:
        opened: the run and the samples.
        device: where the encoder runs.
    """

    def __init__(self, opened: OpenRun, device: torch.device | None = None) -> None:
        self.opened = opened
        self.device = opened.hardware.device if device is None else device
        self._budgets = {name: split.budget() for name, split in opened.splits.items()}

    def __enter__(self) -> Encoding:
        encoder = self.opened.encoder
        self._context = on_device(encoder, self.device, self.opened.hardware.precision == "bf16")
        self._embed = partial(self._context.__enter__(), encode, encoder)
        return self

    def __exit__(self, *error: Any) -> None:
        self._context.__exit__(*error)

    def add_bad(self, split: str, bad: dict[str, str]) -> None:
        """Count samples of a split that could not be read.

        Raises:
            BadData: they are more than are allowed.
        """
        budget = self._budgets[split] or Budget(len(self.opened.splits[split]), "raise", 0)
        for name, reason in bad.items():
            budget.add(name, reason)

    @torch.no_grad()
    def encode(self, piece: Piece) -> tuple[list[int], dict[str, Any], dict[str, str]]:
        """Return what a piece gives.

        Returns:
            The positions in the split of the samples that could be read; `{column: (B, D)}`, float32 arrays; and
            `{name: reason}` of the others.

        Raises:
            UserError: a sample cannot be read and none may be left out, or too many.
        """
        import numpy as np

        split, budget = self.opened.splits[piece.split], self._budgets[piece.split]
        before = set() if budget is None else set(budget.bad)
        index = torch.arange(piece.start, piece.stop)
        views, kept = looks(self.opened.policy, split, index, self.device, budget)
        bad = {} if budget is None else {name: why for name, why in budget.bad.items() if name not in before}
        if not views:
            return [], {column: np.empty((0, dim), np.float32) for column, dim in self.opened.dims.items()}, bad
        moved = by_name([view.map(lambda x: x.to(self.device)) for view in views])
        paired = isinstance(self.opened.encoder, PairedEncoder)
        found = {
            f"vector_{member}" if paired else "vector": mean_over(each, self._embed).cpu().numpy()
            for member, each in moved.items()
        }
        return kept.tolist(), found, bad

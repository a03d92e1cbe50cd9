"""The embeddings of samples as a file: what an encoder is used for outside this package."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ssl_zoo.batch import encode
from ssl_zoo.data.memory import free_bytes
from ssl_zoo.data.open import OpenData
from ssl_zoo.data.source import Split, ViewPolicy
from ssl_zoo.errors import UserError, shown_name
from ssl_zoo.evaluation.evaluate import check_input, recipe_of
from ssl_zoo.evaluation.feature_files import WRITERS, Chunk, Columns
from ssl_zoo.evaluation.features import at_a_time, by_name, looks, mean_over, on_device
from ssl_zoo.evaluation.overrides import check_views
from ssl_zoo.hardware import choose
from ssl_zoo.methods.build import build_views, open_recipe_data
from ssl_zoo.methods.members import PairedEncoder
from ssl_zoo.runs.atomic import check_place, replacing, write_atomically
from ssl_zoo.runs.card import read_card
from ssl_zoo.runs.encoder import load_encoder
from ssl_zoo.runs.folder import RunFolder

Log = Callable[[str], None]

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
        device: where the encoder runs.
        half: whether it computes in bfloat16.
    """

    folder: RunFolder
    encoder: nn.Module
    policy: ViewPolicy
    data: OpenData
    device: torch.device
    half: bool


def embed(
    run: str | Path,
    out: str | Path,
    *,
    data: str | None = None,
    overrides: Sequence[str] = (),
    log: Log = print,
) -> dict[str, Any]:
    """Write the embeddings h of samples by a run's encoder, without augmentation, into a file.

    A parquet file is written as samples are read, and may be larger than the memory. It has a row for each sample:
    `name`, `split`, `label` and `class` where there are any, and `vector`; of samples that are mappings, one
    `vector_MEMBER` for each. An npz file has the same as arrays, with -1 for no label and the names of the classes
    once. Where the view policy looks at a sample several times, its vector is the mean.

    Args:
        run: a finished run folder.
        out: FEATURES.parquet or FEATURES.npz; the names of samples that could not be read, which `data.on_error=skip`
            allows, go into FEATURES.bad_files.txt beside it.
        data: other data than the run's.
        overrides: dotted keys on the run's recipe, such as `data.on_error=skip`.
        log: prints a line for the user.

    Returns:
        `out`, `num` (samples), `dims` (`{column: D}`), `bad` (`{name: reason}`) and `not_finite`, the number of samples
        whose vector has a nan or an inf.

    Raises:
        UserError: another ending of `out`, no such run or data, an encoder that does not take the samples, samples that
            cannot be read, or an npz file that does not fit into the memory.
        CannotWrite: the disk is full.
    """
    path = Path(out)
    write = WRITERS.get(path.suffix)
    if write is None:
        raise UserError(f"--out {path}: name a file that ends in {' or '.join(WRITERS)}.")
    check_place(path, "--out")
    opened = open_run(RunFolder(run), data, overrides)
    bad, counts = dict(opened.data.bad), {"num": 0, "not_finite": 0}
    columns = _columns(opened)
    if path.suffix == ".npz":
        _check_fits(path, opened, columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        write(file, _counted(chunks(opened, bad), counts), columns)
    listed = path.with_suffix(".bad_files.txt")
    if bad:
        write_atomically(listed, "".join(f"{shown_name(name)}\t{shown_name(why)}\n" for name, why in bad.items()))
        log(f"{len(bad)} samples cannot be read and are left out; {listed} has their names")
    else:
        listed.unlink(missing_ok=True)  # of a file that is replaced
    if counts["not_finite"]:
        log(f"the vectors of {counts['not_finite']} samples are not finite (nan or inf)")
    return {"out": str(path), **counts, "dims": dict(columns.dims), "bad": bad}


def open_run(folder: RunFolder, data: str | None, overrides: Sequence[str]) -> OpenRun:
    """Open a run's encoder and the samples that it is to embed.

    Raises:
        UserError: as `embed`.
    """
    recipe = recipe_of(folder, data, overrides)
    encoder, policy = load_encoder(folder.path), build_views(recipe)
    check_input(read_card(folder.card).spec, policy.spec, encoder, recipe.encoder.name)
    hardware = choose(recipe.training.precision, for_training=False)
    opened = open_recipe_data(recipe, policy.spec)
    check_views(str(folder.recipe), overrides, policy, opened.train)
    return OpenRun(folder, encoder, policy, opened, hardware.device, hardware.precision == "bf16")


def splits_of(opened: OpenRun) -> dict[str, Split]:
    """Return the splits of an open run that have samples."""
    found = {"train": opened.data.train, "test": opened.data.test}
    return {name: split for name, split in found.items() if split is not None and len(split)}


def chunks(opened: OpenRun, bad: dict[str, str]) -> Iterator[Chunk]:
    """Yield the embeddings of all samples, split by split.

    Args:
        opened: the run and the data.
        bad: gets the samples that cannot be read, and why.

    Raises:
        UserError: a sample cannot be read and none may be left out, or too many.
    """
    encoder: Any = opened.encoder
    with torch.no_grad(), on_device(encoder, opened.device, opened.half) as call:
        h = partial(call, encode, encoder)
        for name, split in splits_of(opened).items():
            budget = split.budget()
            for part in torch.arange(len(split)).split(at_a_time(opened.policy.spec, BATCH)):
                views, kept = looks(opened.policy, split, part, opened.device, budget)
                if not views:
                    continue
                moved = by_name([view.map(lambda x: x.to(opened.device)) for view in views])
                found = {member: mean_over(each, h).cpu().numpy() for member, each in moved.items()}
                index = kept.tolist()
                labels = [-1] * len(index) if split.labels is None else split.labels[kept].tolist()
                vectors = {_column(encoder, member): x for member, x in found.items()}
                yield Chunk([shown_name(split.name(i)) for i in index], name, labels, vectors)
            if budget is not None:
                bad |= budget.bad


def _column(encoder: Any, member: str) -> str:
    return f"vector_{member}" if isinstance(encoder, PairedEncoder) else "vector"


def _counted(found: Iterator[Chunk], counts: dict[str, int]) -> Iterator[Chunk]:
    """Yield chunks and count their samples, and those with a vector that is not finite."""
    import numpy as np

    for chunk in found:
        finite = np.ones(len(chunk.names), dtype=bool)
        for x in chunk.vectors.values():
            finite &= np.isfinite(x).all(axis=1)
        counts["num"] += len(finite)
        counts["not_finite"] += int((~finite).sum())
        yield chunk


def _columns(opened: OpenRun) -> Columns:
    encoder: Any = opened.encoder
    dims = encoder.out_dims if isinstance(encoder, PairedEncoder) else {"": encoder.out_dim}
    labelled = [split for split in splits_of(opened).values() if split.labels is not None]
    card = json.loads(opened.folder.card.read_text(encoding="utf-8"))
    about = json.dumps({key: card.get(key) for key in ("method", "seed", "steps", "sha256")})
    classes = labelled[0].class_names if labelled else None
    return Columns({_column(encoder, name): dim for name, dim in dims.items()}, bool(labelled), classes, about)


def _check_fits(path: Path, opened: OpenRun, columns: Columns) -> None:
    """Make sure that an npz file, which is made in memory, fits there.

    Raises:
        UserError: it does not.
    """
    num = sum(map(len, splits_of(opened).values()))
    needed, free = 2 * 4 * num * sum(columns.dims.values()), free_bytes()  # the chunks, and the array of them
    if needed > free:
        raise UserError(
            f"--out {path}: {num} vectors need about {needed / 2**30:.1f} GiB of memory as npz, and "
            f"{free / 2**30:.1f} GiB are free; name a .parquet file, which is written piece by piece."
        )

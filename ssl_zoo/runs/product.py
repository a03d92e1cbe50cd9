"""Writing the product: the encoder as `encoder.safetensors`, and `encoder.json`, the card that says how to use it."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from hashlib import file_digest
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ssl_zoo.errors import TrainingFailed
from ssl_zoo.methods.build import build_views
from ssl_zoo.methods.members import PairedEncoder
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.runs.card import input_of
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.runs.imports import used_modules


def save_encoder(
    folder: RunFolder, encoder: nn.Module, recipe: Recipe, steps: int, environment: dict[str, Any]
) -> None:
    """Write the encoder's weights and its card into the run folder.

    Both are on the disk before either takes its name. A kill between the two leaves files that do not belong together,
    which the checksum in the card tells to `load_encoder`.

    Raises:
        TrainingFailed: weights that are not finite; nothing is written.
        OSError: the folder cannot be written; what was there stays.
    """
    weights = own_weights(encoder.state_dict())
    broken = not_finite(weights)
    if broken:
        raise TrainingFailed(
            f"the encoder has {listed(broken)} with values that are not finite (nan or inf), so it is not exported."
        )
    partial = {path: path.with_name(path.name + ".partial") for path in (folder.encoder, folder.card)}
    try:
        partial[folder.card].write_bytes(b"")  # with the mode that the user's umask gives
        write_weights(weights, partial[folder.encoder])
        shutil.copymode(partial[folder.card], partial[folder.encoder])
        card = {**_card(encoder, recipe, steps, environment), "sha256": checksum(partial[folder.encoder])}
        partial[folder.card].write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        for each in partial.values():
            _to_disk(each)
        for path, each in partial.items():
            each.replace(path)
        _to_disk(folder.path)
    finally:
        for each in partial.values():
            with suppress(OSError):
                each.unlink()


def own_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights on the CPU, none of which shares memory with another: the format has no tied weights."""
    weights: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in state.items():
        tensor = value.detach().cpu().contiguous()
        storage = tensor.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != tensor.nbytes:
            tensor = tensor.clone()
        seen.add(storage.data_ptr())
        weights[name] = tensor
    return weights


def write_weights(weights: dict[str, Tensor], path: Path) -> None:
    """Write weights as safetensors.

    Raises:
        OSError: the disk is full.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(weights, path)
    except SafetensorError as error:  # a full disk comes as this
        full = "os error 28" in str(error)
        raise OSError(errno.ENOSPC if full else errno.EIO, str(error), str(path)) from error


def _card(encoder: Any, recipe: Recipe, steps: int, environment: dict[str, Any]) -> dict[str, Any]:
    heads = ("projector", "predictor") if isinstance(encoder, PairedEncoder) else ()
    return {
        "encoder": recipe.encoder.plain(),
        **{name: recipe.options[name].plain() for name in heads},
        "views": recipe.views.plain(),
        "decode": dict(recipe.data.decode),
        "input": input_of(build_views(recipe).spec),
        "out_dim": encoder.out_dims if isinstance(encoder, PairedEncoder) else encoder.out_dim,
        "branch": "online",
        "method": recipe.method,
        "seed": recipe.seed,
        "imports": used_modules(recipe),
        "steps": steps,
        "environment": environment,
    }


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _to_disk(path: Path) -> None:
    """Make sure that a file, or the names in a folder, would survive a loss of power."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def not_finite(weights: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the tensors that hold a nan or an inf."""
    return [name for name, value in weights.items() if value.is_floating_point() and not value.isfinite().all()]


def listed(names: list[str]) -> str:
    return f"{len(names)} tensor{'s' * (len(names) > 1)} ({', '.join(names[:3])}{', ...' * (len(names) > 3)})"

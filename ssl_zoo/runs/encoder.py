"""The product: the encoder as `encoder.safetensors`, and `encoder.json`, the card that says how to use it.

Of samples that are mappings it is a `PairedEncoder`, whose card states the heads too.
"""

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

import torch
from torch import Tensor, nn

from ssl_zoo import registry
from ssl_zoo.batch import LibraryModel
from ssl_zoo.errors import TrainingFailed, UserError
from ssl_zoo.methods.build import build_views
from ssl_zoo.methods.contract import without_memory
from ssl_zoo.methods.members import PairedEncoder
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.runs.card import input_of, read_card
from ssl_zoo.runs.encoder_files import EncoderFiles, find_files
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.runs.imports import check_imported, used_modules
from ssl_zoo.runs.loaded import LoadedEncoder
from ssl_zoo.runs.weights import read_tensors, shapes_in


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
            f"the encoder has {_listed(broken)} with values that are not finite (nan or inf), so it is not exported."
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


def _listed(names: list[str]) -> str:
    return f"{len(names)} tensor{'s' * (len(names) > 1)} ({', '.join(names[:3])}{', ...' * (len(names) > 3)})"


def load_encoder(run: str | Path) -> LoadedEncoder:
    """Return a run's trained encoder, in evaluation mode, on the CPU.

    Args:
        run: a run folder; a folder that `ssl-zoo export` wrote, or a copy of one from a Hugging Face hub (its folder in
            the local cache, or a snapshot in it); or any folder with `encoder.safetensors` and `encoder.json`. Of a run
            that has not finished it is the encoder of its last checkpoint; `RUN@stepN`, `RUN@best` and `RUN@last` name
            one.

    Returns:
        A module that maps plain samples, such as `(B, C, H, W)` floats, normalised as the card states, to
        `(B, out_dim)`; `embed` takes files and pictures, which it prepares as the evaluation does, and `preprocess` is
        a transform that does so. Of a run on samples that are mappings, it takes views: `encode(view)`,
        `embedding(view)`, `align(view, towards)`. The module as it was trained is `module`.

    Raises:
        UserError: the folder holds no encoder, or weights that do not belong to the card, were damaged, or are not
            finite.
    """
    files = find_files(run)
    return LoadedEncoder(_read(files), read_card(files.card), files.folder)


def read_encoder(run: str | Path) -> nn.Module:
    """Return the module of a run's trained encoder, in evaluation mode, on the CPU; see `load_encoder`.

    Raises:
        UserError: as `load_encoder`.
    """
    return _read(find_files(run))


def _read(files: EncoderFiles) -> nn.Module:
    card = read_card(files.card)
    shapes = shapes_in(files.weights)
    if card.sha256 is not None and checksum(files.weights) != card.sha256:
        raise UserError(
            f"{files.weights}: is not the file that encoder.json was written for (its checksum differs): one of them "
            "was damaged, changed or put in place of another; take both from one run, or let the run write them again "
            "by --resume."
        )
    try:
        for kind, name in card.names:
            registry.find(kind, name)
    except UserError:
        check_imported(files.folder)  # of a module that is not imported, rather than misspelt
        raise
    outline = without_memory(card.build)
    _check_fit(files.weights, outline, card.library, shapes)  # before memory is asked for
    encoder, weights = card.build(), read_tensors(files.weights)
    broken = not_finite(weights)
    if broken:
        raise UserError(
            f"{files.weights}: {_listed(broken)} with values that are not finite (nan or inf): the training diverged, "
            "and there is no encoder to use."
        )
    try:
        encoder.load_state_dict(_named_here(encoder, card.library, weights))
    except RuntimeError as error:
        raise UserError(f"{files.weights}: does not fit its card: {str(error).splitlines()[-1].strip()}") from None
    return encoder.eval()


def _named_here(encoder: nn.Module, library: str | None, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under the encoder's names, where they have those of a library."""
    model = None if library is None else library_models(encoder).get(library)
    return model.named_here(weights) if isinstance(model, LibraryModel) else weights


def library_models(encoder: nn.Module) -> dict[str, LibraryModel | str]:
    """Return what an encoder says of the models that it is in other libraries; see `ssl_zoo.batch.Encoder`."""
    states: Any = getattr(encoder, "library_models", None)
    return {} if states is None else dict(states())


def _check_fit(path: Path, outline: nn.Module, library: str | None, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Make sure that weights of some shapes are those of an encoder."""
    stand_ins = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    stand_ins = _named_here(outline, library, stand_ins)
    try:
        outline.to("meta").load_state_dict(stand_ins, assign=True)
    except RuntimeError as error:
        raise UserError(f"{path}: does not fit its card: {str(error).splitlines()[-1].strip()}") from None

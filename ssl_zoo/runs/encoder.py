"""Reading the product: the encoder of a run, of an exported folder or of a copy from a hub.

Of samples that are mappings it is a `PairedEncoder`, whose card states the heads too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_zoo import registry
from ssl_zoo.batch import LibraryModel
from ssl_zoo.errors import UserError
from ssl_zoo.methods.contract import without_memory
from ssl_zoo.runs.card import read_card
from ssl_zoo.runs.encoder_files import EncoderFiles, find_files
from ssl_zoo.runs.imports import check_imported
from ssl_zoo.runs.loaded import LoadedEncoder
from ssl_zoo.runs.product import checksum, listed, not_finite
from ssl_zoo.runs.weights import read_tensors, shapes_in


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
            f"{files.weights}: {listed(broken)} with values that are not finite (nan or inf): the training diverged, "
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

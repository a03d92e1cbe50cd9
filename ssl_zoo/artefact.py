"""The product: the encoder as `encoder.safetensors`, and `encoder.json`, the card that says how to use it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import nn

from ssl_zoo.errors import UserError
from ssl_zoo.imports import check_imported, used_modules
from ssl_zoo.initial import read_tensors
from ssl_zoo.recipe import Recipe
from ssl_zoo.run_folder import RunFolder, write_atomically


def save_encoder(
    folder: RunFolder, encoder: nn.Module, recipe: Recipe, steps: int, environment: dict[str, Any]
) -> None:
    """Write the encoder's weights and its card into the run folder."""
    from safetensors.torch import save_file

    partial = folder.encoder.with_name(folder.encoder.name + ".partial")
    save_file({name: value.detach().cpu().contiguous() for name, value in encoder.state_dict().items()}, partial)
    partial.replace(folder.encoder)
    card = {
        "encoder": recipe.encoder.plain(),
        "views": recipe.views.plain(),
        "input": {
            "modality": "image",
            "channels": encoder.in_channels,
            "size": recipe.views.knobs.get("size"),
            "mean": recipe.views.knobs.get("mean"),
            "std": recipe.views.knobs.get("std"),
        },
        "out_dim": encoder.out_dim,
        "branch": "online",
        "method": recipe.method,
        "seed": recipe.seed,
        "imports": used_modules(recipe),
        "steps": steps,
        "environment": environment,
    }
    write_atomically(folder.card, json.dumps(card, indent=2) + "\n")


def load_encoder(run: str | Path) -> nn.Module:
    """Return a run's trained encoder, in evaluation mode, on the CPU.

    Args:
        run: a run folder that has finished, or any folder with `encoder.safetensors` and `encoder.json`.

    Returns:
        A module that maps `(B, C, H, W)` floats, normalised as the card says, to `(B, out_dim)`.

    Raises:
        UserError: the folder holds no encoder, or weights that do not belong to the card.
    """
    from ssl_zoo import registry

    check_imported(run)
    folder = RunFolder(run)
    if not folder.card.is_file() or not folder.encoder.is_file():
        raise UserError(f"{run}: holds no finished encoder (encoder.safetensors with encoder.json).")
    try:
        card = json.loads(folder.card.read_text(encoding="utf-8"))
        part, size = dict(card["encoder"]), card["input"]["size"]
        name = part.pop("name")
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{folder.card}: is not the card of an encoder of ssl_zoo.") from None
    encoder = registry.build("encoder", name, part, size=size)
    weights = read_tensors(folder.encoder)
    try:
        encoder.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{folder.encoder}: does not fit its card: {str(error).splitlines()[-1].strip()}") from None
    return encoder.eval()

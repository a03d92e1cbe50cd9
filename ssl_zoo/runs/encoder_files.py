"""Where the encoder of a folder lies: in a run, an exported folder, or a copy of one from a Hugging Face hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ssl_zoo.errors import UserError
from ssl_zoo.runs.at_step import encoder_folder
from ssl_zoo.runs.folder import RunFolder

WEIGHTS = "model.safetensors"
"""The name of the weights in an exported folder, which hubs and libraries look for."""

_LONGEST = 256
"""Characters of a revision's name that are read."""


@dataclass(frozen=True)
class EncoderFiles:
    """The files of an encoder.

    Attributes:
        folder: that they are in.
        card: `encoder.json`.
        weights: `encoder.safetensors` of a run, `model.safetensors` of an exported folder.
    """

    folder: Path
    card: Path
    weights: Path


def find_files(place: str | Path) -> EncoderFiles:
    """Return the files of the encoder in a folder.

    Args:
        place: what `encoder_folder` takes, such as a run folder; an exported folder; or the folder of a model in a
            local cache of Hugging Face (`models--ORG--NAME`, of which the revision `main` is taken, or its only one) or
            one of its snapshots.

    Raises:
        UserError: there is none.
    """
    folder = _snapshot(encoder_folder(place))
    run = RunFolder(folder)
    weights = run.encoder if run.encoder.is_file() else folder / WEIGHTS
    if run.card.is_file() and weights.is_file():
        return EncoderFiles(folder, run.card, weights)
    if run.card.is_file() and not run.recipe.is_file():
        raise UserError(
            f"{place}: holds the card of an encoder, and no weights of it as safetensors; "
            "`ssl-zoo export RUN --to safetensors` writes a folder that has both."
        )
    if weights.is_file() and not run.recipe.is_file():
        raise UserError(
            f"{place}: has {weights.name}, and no encoder.json that says what it is; folders by `ssl-zoo export` have "
            "one."
        )
    raise UserError(f"{place}: holds no finished encoder (encoder.safetensors with encoder.json).")


def _snapshot(folder: Path) -> Path:
    """Return the snapshot that a model's folder in a cache of Hugging Face stands for; any other folder as it is."""
    snapshots = folder / "snapshots"
    if RunFolder(folder).card.is_file() or not snapshots.is_dir():
        return folder
    revisions = sorted(each.name for each in snapshots.iterdir() if each.is_dir())
    main = folder / "refs" / "main"
    if main.is_file():
        with main.open(encoding="utf-8", errors="replace") as file:
            named = file.read(_LONGEST).strip()
        if named in revisions:
            return snapshots / named
    if len(revisions) == 1:
        return snapshots / revisions[0]
    raise UserError(
        f"{folder}: holds {len(revisions)} snapshots of a model, and none of them is its revision main; name one: "
        f"{', '.join(str(snapshots / name) for name in revisions[:3]) or 'there is none'}."
    )

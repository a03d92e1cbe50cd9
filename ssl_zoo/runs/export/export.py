"""An encoder as a file of another library: written, read again by that library, and compared on samples."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_zoo.errors import CannotWrite, TrainingFailed, UserError, suggest
from ssl_zoo.runs.atomic import check_place
from ssl_zoo.runs.encoder_files import WEIGHTS
from ssl_zoo.runs.export.graph_targets import prepared
from ssl_zoo.runs.export.model_card import model_card
from ssl_zoo.runs.export.samples import Compared, samples_for
from ssl_zoo.runs.export.subject import Subject, open_subject
from ssl_zoo.runs.export.target import Forward, Target
from ssl_zoo.runs.export.targets import TARGETS
from ssl_zoo.runs.product import checksum

Log = Callable[[str], None]


@dataclass(frozen=True)
class Difference:
    """How far the features of a file are from those of the encoder.

    Attributes:
        largest: difference of two features.
        num: samples that were compared.
        what: the samples, in words.
    """

    largest: float
    num: int
    what: str


def export(
    run: str | Path,
    *,
    to: str,
    out: str | Path,
    member: str | None = None,
    with_preprocessing: bool = False,
    data: str | None = None,
    log: Log = print,
) -> dict[str, Any]:
    """Write a run's encoder so that another library loads it, and make sure that its features are the same.

    The file is loaded again by that library and compared on samples of the run, or on random ones where its data are
    gone. Features may differ by 1e-5 (ONNX 1e-4), or by that part of the largest one where it is above 1.

    Args:
        run: a finished run folder, or another that `load_encoder` reads.
        to: `safetensors`, `torchvision`, `timm`, `onnx` or `torchscript`.
        out: a new folder, which gets the file, a model card `README.md` and `encoder.json`, ready for a hub; or a new
            file with the ending of the target (`.safetensors`, `.onnx`, `.pt`), which is written alone.
        member: whose encoder, of samples that are mappings.
        with_preprocessing: whether the file takes uint8 samples as they are, and holds resize, crop and normalisation
            (onnx and torchscript).
        data: samples to compare on, in place of the run's.
        log: prints a line for the user.

    Returns:
        `out`, `file`, `to`, `largest_difference`, `tolerance`, `compared_on`, and `load`, the lines of Python that load
        it.

    Raises:
        UserError: no such run, target or member; a target that cannot hold the encoder; a package that is missing;
            `out` exists.
        TrainingFailed: the features differ. Nothing is left behind.
        CannotWrite: the disk is full.
    """
    target = TARGETS.get(to)
    if target is None:
        raise UserError(f"--to {to}: there is no such target{suggest(to, TARGETS)}")
    place = Path(out)
    if place.exists() or place.is_symlink():
        raise UserError(f"--out {place}: is there already; name a new file or folder.")
    alone = place.suffix == Path(target.file).suffix
    check_place(place, "--out", folder=not alone)
    subject = open_subject(run, member, to)
    target.check(subject, with_preprocessing)
    compared = None if subject.is_whole else samples_for(subject, data, log)
    with _new_folder(place) as folder:
        target.write(subject, folder, with_preprocessing)
        found = _difference(target, subject, folder, compared, with_preprocessing)
        if alone:
            (folder / target.file).rename(place)
        else:
            _describe(target, subject, folder, found, with_preprocessing)
            folder.rename(place)
    file = place if alone else place / target.file
    return {
        "out": str(place),
        "file": str(file),
        "to": to,
        "largest_difference": found.largest,
        "tolerance": target.tolerance,
        "compared_on": found.what,
        "load": target.lines(subject, str(file)),
    }


@contextmanager
def _new_folder(place: Path) -> Iterator[Path]:
    """A context with a new folder beside a place; at the end it is removed, if it is still there."""
    folder = place.with_name(f".{place.name}.partial")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)  # of an export that was killed
        folder.mkdir()
        yield folder
    except OSError as error:
        raise CannotWrite(f"cannot write {place}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _difference(
    target: Target, subject: Subject, folder: Path, compared: Compared | None, with_preprocessing: bool
) -> Difference:
    """Return how far the features of the written file are from those of the encoder.

    Raises:
        TrainingFailed: too far.
    """
    read = target.read(subject, folder)
    if compared is None:
        return Difference(0.0, 0, "the weights, which are those of the run")
    with torch.no_grad():
        pairs = list(_features(subject, read, compared, with_preprocessing))
    largest = max(float((one - other).abs().max()) for one, other in pairs)
    scale = max(1.0, *(float(one.abs().max()) for one, _ in pairs))
    if not largest <= target.tolerance * scale:  # true for nan
        raise TrainingFailed(
            f"--to {target.name}: the features of the written file differ by up to {largest:.2g} from those of the "
            f"encoder on {compared.what}, more than {target.tolerance * scale:.2g}; nothing was written."
        )
    return Difference(largest, len(compared.views), compared.what)


def _features(
    subject: Subject, read: Forward, compared: Compared, with_preprocessing: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield pairs of features, those of the encoder first: of the batch, and of one sample alone."""
    if not with_preprocessing:
        for batch in (compared.views, compared.views[:1]):
            yield subject.module(batch), read(batch)
        return
    policy = subject.inputs.policy if subject.inputs is not None else None
    if policy is None or not compared.raw:
        raise UserError("--with-preprocessing: takes samples of 8 bits, and these have more; leave it out.")
    prepared(subject)
    for sample in compared.raw:
        yield subject.module(policy.plain([sample]).tensor), read(sample[None])


def _describe(target: Target, subject: Subject, folder: Path, found: Difference, with_preprocessing: bool) -> None:
    """Write the cards of an exported folder, for people and for `load_encoder`."""
    card = {key: value for key, value in subject.card.items() if key != "sha256"}
    if target.file == WEIGHTS:
        card["sha256"] = checksum(folder / WEIGHTS)
    if target.library in ("torchvision", "timm"):
        card["library"] = target.library
    (folder / "encoder.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    facts = {
        "largest difference": f"{found.largest:.2g}",
        "compared on": found.what,
        "tolerance": f"{target.tolerance:g}",
    }
    text = model_card(subject, target, facts, with_preprocessing)
    (folder / "README.md").write_text(text, encoding="utf-8", errors="backslashreplace")

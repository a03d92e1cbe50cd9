"""Samples that an exported file is compared on: the first ones of the run's data, or random ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.source import Sample, Split
from ssl_zoo.errors import UserError
from ssl_zoo.methods.build import build_views, open_recipe_data
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.rng import generator
from ssl_zoo.runs.export.subject import Subject
from ssl_zoo.runs.folder import RunFolder

NUM = 8
"""Samples that are compared."""


@dataclass(frozen=True)
class Compared:
    """Samples for a comparison.

    Attributes:
        views: plain ones, as the encoder takes them, `(B, ...)`.
        raw: of uint8, as the data have them, each `(C, ...)`; for files with the preprocessing inside.
        what: they are, in words.
    """

    views: Tensor
    raw: list[Tensor]
    what: str


def samples_for(subject: Subject, data: str | None, log: Callable[[str], None]) -> Compared:
    """Return samples to compare on.

    Args:
        subject: the encoder.
        data: other data than the run's.
        log: prints why the samples are random.

    Raises:
        UserError: `data` cannot be read.
    """
    if subject.inputs is not None and (data is not None or RunFolder(subject.files.folder).recipe.is_file()):
        try:
            found = _first(subject, data)
            views = torch.cat([subject.inputs.policy.plain([each]).tensor for each in found])
            raw = [each for each in found if isinstance(each, Tensor) and each.dtype == torch.uint8]
            return Compared(views, raw, f"{len(found)} samples of {'the run' if data is None else data}")
        except UserError as error:
            if data is not None:
                raise
            log(f"the run's data cannot be read, and random samples are compared: {error}")
    spec = subject.spec.views[0]
    g = generator(0, "export")
    if subject.spec.vocabulary is not None:
        views = torch.randint(1, subject.spec.vocabulary, (NUM, *spec.shape), generator=g).to(spec.dtype)
    else:
        views = torch.randn(NUM, *spec.shape, generator=g).to(spec.dtype)
    shape = (spec.shape[0], *(side + side // 3 for side in spec.shape[1:]))
    raw = [torch.randint(0, 256, shape, dtype=torch.uint8, generator=g) for _ in range(NUM)]
    return Compared(views, raw, f"{NUM} random samples")


def _first(subject: Subject, data: str | None) -> list[Sample]:
    recipe = load_recipe(str(RunFolder(subject.files.folder).recipe), data=data)
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"cache": "none"})})
    split = open_recipe_data(recipe, build_views(recipe).spec).train
    found: list[Sample] = []
    for i in range(min(len(split), 4 * NUM)):
        if len(found) < NUM:
            found += _read(split, i, subject.member)
    if not found:
        raise UserError(f"none of the first {4 * NUM} samples of {data or 'its data'} can be read.")
    return found


def _read(split: Split, i: int, member: str | None) -> list[Sample]:
    try:
        sample = split.read(i)
    except BadSample:
        return []
    return [sample if member is None else sample[member]]

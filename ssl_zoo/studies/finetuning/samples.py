"""The labelled samples of a fine-tuning: what is learnt from, what is held out to stop by, and what is tested on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ssl_zoo.data.source import Split, ViewPolicy
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.encoding import OpenRun
from ssl_zoo.evaluation.holdout import holdout
from ssl_zoo.evaluation.labels import Labels, divide, labels_of, learnt
from ssl_zoo.evaluation.labels import notes as label_notes
from ssl_zoo.evaluation.subject import Subject
from ssl_zoo.methods.build import build_policy
from ssl_zoo.recipe.part import Part

HELD_OUT = 0.2
"""The fraction of each class of train that early stopping looks at."""


@dataclass(frozen=True)
class LabelledSamples:
    """The parts of labelled data.

    Attributes:
        learn: what the weights are trained on.
        held: what is looked at to stop; of train, drawn by class.
        test: what the classifier is tested on, once.
        classes: `(K,)` the labels of the classes that can be learnt, ascending: score k is of `classes[k]`.
        labels: the labels and their names.
    """

    learn: Subject
    held: Subject
    test: Subject
    classes: Tensor
    labels: Labels

    @property
    def names(self) -> list[str]:
        """The name of each class that can be learnt."""
        return [self.labels.name(int(label)) for label in self.classes]

    def places(self, labels: Tensor) -> Tensor:
        """Return the positions of labels `(N,)` among `classes`, -1 for a class that cannot be learnt."""
        at = torch.searchsorted(self.classes, labels).clamp(max=len(self.classes) - 1)
        return torch.where(self.classes[at] == labels, at, -1)


def labelled_samples(opened: OpenRun, num: int | None, seed: int, log: Callable[[str], None]) -> LabelledSamples:
    """Divide the labelled samples of an open run.

    Args:
        opened: the encoder and the data.
        num: labelled samples of train to use, drawn by class, at least one of each; None uses all.
        seed: of the draws.
        log: gets sentences on what the labels are like.

    Raises:
        UserError: no labels, labels of another kind than one class for each sample, one class only, or no class with
            two labels.
    """
    train, test = opened.data.train, opened.data.test
    _check_kind(train, test)
    labels = labels_of(train, test)
    division = divide(labels.train, labels.test)
    if division.reason:
        raise UserError(
            f"fine-tuning needs labels, and {division.reason}; put the samples of each class into a folder of its "
            "name, or name a column of labels with -s data.source.label=COLUMN."
        )
    for line in label_notes(labels):
        log(line)
    index, y = division.learn[1], learnt(labels, division)
    if num is not None:
        index, y = _drawn(index, y, num, seed)
    classes, counts = y.unique(return_counts=True)
    if len(classes) < 2:
        raise UserError(f"fine-tuning needs two classes, and all labels are of one ({labels.listed(classes)}).")
    kept, held = holdout(y, HELD_OUT, seed, "finetune_holdout")
    if not len(held):
        raise UserError(
            f"fine-tuning holds samples out to know when to stop, and none of {len(classes)} classes has two labels."
        )
    if bool((counts == 1).any()):
        single = classes[counts == 1]
        log(f"{len(single)} of {len(classes)} classes have one label ({labels.listed(single)}): it is trained on, and "
            "none is held out")  # fmt: skip
    splits = {"train": train, "test": test or train}
    hardware = opened.hardware

    def subject(name: str, at: Tensor) -> Subject:
        half = hardware.precision == "bf16"
        return Subject(opened.encoder, opened.policy, splits[name], at, hardware.device, half, opened.data.modality)

    learn = subject(division.learn[0], index)
    return LabelledSamples(learn.take(kept), learn.take(held), subject(*division.test), classes, labels)


def _check_kind(*splits: Split | None) -> None:
    for split in splits:
        y = None if split is None else split.labels
        if y is not None and (y.ndim != 1 or y.is_floating_point()):
            raise UserError(
                "fine-tuning takes one class for each sample, and these labels are several for a sample, or numbers to "
                f"predict (a tensor of {str(y.dtype).removeprefix('torch.')} {tuple(y.shape)})."
            )


def _drawn(index: Tensor, y: Tensor, num: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return `num` samples by class, as near as rounding allows, and their labels."""
    if num >= len(index):
        return index, y
    _, some = holdout(y, num / len(index), seed, "finetune_labels")
    return index[some], y[some]


def mild_views(policy: ViewPolicy, part: Part) -> ViewPolicy:
    """Return the policy of a fine-tuning's views: of a run's, what is mild, such as crops and flips.

    Args:
        policy: of the run.
        part: what it was built from.
    """
    if not policy.mild:
        return policy
    options: dict[str, Any] = {**part.options, **policy.mild}
    if options.get("num_views") == 1:  # a list of probabilities has one for each view
        options |= {key: value[0] for key in policy.per_view if isinstance(value := options.get(key), list)}
    return build_policy(Part(name=part.name, options=options))

"""Division of labelled samples into those that classifiers learn from and those that test them, and notes on it.

A label below 0 means that a sample has none. Everything here is a function of the labels, so that it is known before a
run starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_zoo.data.source import Split
from ssl_zoo.evaluation.features import chosen
from ssl_zoo.evaluation.holdout import holdout

TEST_FRACTION = 0.2
"""The part of the labelled samples that serves as the test where only one split has labels."""

_SHOWN = 5


@dataclass(frozen=True)
class Labels:
    """The labels of both splits, as far as an evaluation takes their samples.

    Attributes:
        train: `(N,)` int64, below 0 where a sample has no label.
        test: the same of the test split, or None where there is none.
        names: the name of each class, where they have names.
        limit: largest number of samples of each split.
    """

    train: Tensor
    test: Tensor | None
    names: Sequence[str] | None = None
    limit: int | None = None

    def of(self, split: str, index: Tensor) -> Tensor:
        """Return some labels of a split."""
        return (self.train if split == "train" or self.test is None else self.test)[index]

    def name(self, label: int) -> str:
        """Return the name of a class, in characters that can be printed on one line."""
        name = str(label) if self.names is None or label >= len(self.names) else str(self.names[label])
        return name if name.isprintable() else repr(name)[1:-1]

    def listed(self, classes: Tensor) -> str:
        """Return the names of some classes, the first five of many."""
        shown = ", ".join(self.name(int(label)) for label in classes[:_SHOWN])
        return shown + (f" and {len(classes) - _SHOWN} more" if len(classes) > _SHOWN else "")


@dataclass(frozen=True)
class Division:
    """The samples for protocols that need labels.

    Attributes:
        learn: the split that classifiers learn from and the indices of its samples `(N,)`.
        test: the same of what they are tested on.
        reason: why there can be no such protocol, else empty.
    """

    learn: tuple[str, Tensor]
    test: tuple[str, Tensor]
    reason: str = ""


def labels_of(train: Split, test: Split | None, limit: int | None = None) -> Labels:
    """Return the labels of two splits, of the samples that an evaluation takes."""

    def of(split: Split) -> Tensor:
        index = chosen(len(split), limit)
        return torch.full((len(index),), -1) if split.labels is None else split.labels[index]

    names = train.class_names if train.labels is not None or test is None else test.class_names
    limited = limit is not None and limit < max(len(train), 0 if test is None else len(test))
    return Labels(of(train), None if test is None else of(test), names, limit if limited else None)


def divide(train: Tensor, test: Tensor | None) -> Division:
    """Return which samples classifiers learn from and which test them.

    Each split plays its role where both have labels. Where only one has, a fifth of its labelled samples, stratified by
    class and the same every time, is the test.

    Args:
        train: labels `(N,)`, below 0 where a sample has none.
        test: the same of the test split, or None.
    """
    found = {"train": _labelled(train), "test": _labelled(test)}
    if len(found["train"]) and len(found["test"]):
        return Division(("train", found["train"]), ("test", found["test"]))
    name = "train" if len(found["train"]) or not len(found["test"]) else "test"
    pool, none = found[name], torch.empty(0, dtype=torch.int64)
    labels = test if name == "test" else train
    if labels is None or not len(pool):
        return Division((name, none), (name, none), "the data has none")
    kept, held = holdout(labels[pool.to(labels.device)], TEST_FRACTION, seed=0, stream="test_split")
    if not len(held):
        reason = f"no class of {name} has two labelled samples, to hold one out as the test"
        return Division((name, none), (name, none), reason)
    return Division((name, pool[kept]), (name, pool[held]))


def _labelled(labels: Tensor | None) -> Tensor:
    return torch.empty(0, dtype=torch.int64) if labels is None else (labels.cpu() >= 0).nonzero().flatten()


def learnt(labels: Labels, division: Division) -> Tensor:
    """Return the labels that classifiers learn from `(N,)`."""
    return labels.of(*division.learn)


def notes(labels: Labels) -> list[str]:
    """Return sentences for the user about the accuracies that labels give; none where all is as usual."""
    division = divide(labels.train, labels.test)
    if division.reason:
        return []
    known, tested = learnt(labels, division), labels.of(*division.test)
    found = [*_unlabelled(labels), *_held_out(labels, division, known, tested), *_missing(labels, known, tested)]
    if len(known.unique()) == 1:
        found.append(f"classifiers learn from one class only ({labels.listed(known[:1])}): accuracies mean nothing")
    if found and labels.limit is not None:
        found.append(f"these counts are of the {labels.limit} samples per split that evaluation.limit takes")
    return found


def _unlabelled(labels: Labels) -> list[str]:
    found = []
    for name, part in (("train", labels.train), ("test", labels.test)):
        num = 0 if part is None else int((part < 0).sum())
        if part is not None and 0 < num < len(part):
            found.append(f"{num} of {len(part)} {name} samples have no label: accuracies leave them out")
    return found


def _held_out(labels: Labels, division: Division, known: Tensor, tested: Tensor) -> list[str]:
    """Return how a test was made where only one split has labels."""
    name, _ = division.learn
    if division.test[0] != name:
        return []
    if name == "test":
        why = "train has no labels"
    elif labels.test is None:
        why = "there is no test split"
    else:
        why = "test has no labels" if len(labels.test) else "the test split is empty"
    found = [f"{why}: accuracies are of {len(tested)} labelled {name} samples, held out; {len(known)} are learnt from"]
    classes, counts = torch.cat([known, tested]).unique(return_counts=True)
    single = classes[counts == 1]
    if len(single):
        found.append(f"{_classes(len(single))} of one labelled sample ({labels.listed(single)}): learnt, not tested")
    return found


def _missing(labels: Labels, known: Tensor, tested: Tensor) -> list[str]:
    """Return a sentence on classes of the test that cannot be learnt."""
    lacking = ~torch.isin(tested, known)
    if not lacking.any():
        return []
    classes, num = tested[lacking].unique(), int(lacking.sum())
    most = 100 * (1 - num / len(tested))
    return [
        f"test has {_classes(len(classes))} that train lacks: {labels.listed(classes)}; their samples ({num} of "
        f"{len(tested)}) count as wrong, so no accuracy can be above {most:.1f} %"
    ]


def _classes(num: int) -> str:
    return f"{num} class{'es' if num != 1 else ''}"

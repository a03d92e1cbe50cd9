"""The evaluator: protocols on frozen features, and always the same ones on what the encoder has to beat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ssl_zoo.data.source import Modality, Split, ViewPolicy
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.contract import build_protocol, protocol_class
from ssl_zoo.evaluation.features import Features, extract, raw
from ssl_zoo.evaluation.labels import Labels, divide

Results = dict[str, dict[str, float]]
"""{protocol: {metric: value}}."""

Protocols = Sequence[tuple[str, Mapping[str, Any]]]
"""(name, options) of each."""

Log = Callable[[str], None]

NAMES = {"encoder": "the encoder", "untrained": "the untrained encoder", "raw": "the raw input"}
"""What sentences call the representations."""


def usable(protocols: Protocols, labelled: bool) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the protocols that the data allows: all of them on labelled data, else those that need no labels."""
    return [(name, options) for name, options in protocols if labelled or not protocol_class(name).needs_labels]


def check_labels(protocols: Protocols, reason: str) -> None:
    """Make sure that the labels allow all protocols.

    Args:
        protocols: (name, options) of each.
        reason: `Division.reason`: why no protocol that needs labels can run, or empty.

    Raises:
        UserError: one of them needs labels, and there is a reason.
    """
    for name, _ in protocols:
        if reason and protocol_class(name).needs_labels:
            raise UserError(
                f"evaluation: protocol {name!r} needs labels and {reason}; leave it out (label_free needs none) or "
                "give data with labels in train and test."
            )


def protocol_notes(protocols: Protocols, learnt: Tensor, labels: Labels) -> list[str]:
    """Return the notes of protocols, given the labels that are learnt from `(N,)`."""
    return [line for name, options in protocols for line in build_protocol(name, options).notes(learnt, labels)]


def evaluate_features(train: Features, test: Features | None, protocols: Protocols) -> Results:
    """Run protocols on features, where they are.

    Protocols that need labels get the labelled samples, as `labels.divide` shares them out; the others get train and
    test as they are, without a test split what is held out, and without labels train as both.

    Args:
        train: what classifiers may learn and choose from; a label below 0 is none.
        test: what they are tested on, once; None where there is no test split.
        protocols: (name, options) of each; one that is listed again gets the key `name_2`, and so on.

    Returns:
        {protocol: {metric: value}}.

    Raises:
        UserError: an unknown protocol or option, a protocol that needs labels where there are none, or features that
            are not finite.
    """
    division = divide(_labels(train), None if test is None else _labels(test))
    check_labels(protocols, division.reason)
    fault = not_finite(train, test)
    if fault:
        raise UserError(f"evaluation: {fault}, so that no number can be given.")
    splits = {"train": train, "test": train if test is None else test}
    (learn, learnt), (role, tested) = division.learn, division.test
    labelled = splits[learn].take(learnt), splits[role].take(tested)
    plain = (train, test) if test is not None else (train, train) if division.reason else labelled
    results: Results = {}
    times: Counter[str] = Counter()
    for name, options in protocols:
        times[name] += 1
        key = name if times[name] == 1 else f"{name}_{times[name]}"
        protocol = build_protocol(name, options)
        results[key] = protocol(*(labelled if protocol.needs_labels else plain))
    return results


def _labels(features: Features) -> Tensor:
    return torch.full((len(features),), -1) if features.y is None else features.y


def not_finite(train: Features, test: Features | None) -> str:
    """Return that, and how many, features are not finite; empty where all are."""
    for name, part in (("train", train), ("test", test)):
        num = 0 if part is None else int((~part.x.isfinite().all(dim=1)).sum())
        if part is not None and num:
            return f"the features of {num} of {len(part)} {name} samples are not finite (nan or inf)"
    return ""


def _is_used(test: Split | None, protocols: Protocols) -> bool:
    """Return whether any protocol uses a test split, which has to have samples and, where they are needed, labels."""
    if test is None or not len(test):
        return False
    labelled = test.labels is not None and bool((test.labels >= 0).any())
    return labelled or not all(protocol_class(name).needs_labels for name, _ in protocols)


@dataclass(frozen=True)
class EvaluationData:
    """The samples of an evaluation, and how features are made of them.

    Attributes:
        policy: the view policy, for its `plain` samples.
        modality: of the samples.
        train: samples to learn from.
        test: samples to test on, or None.
        device: where encoders and protocols run.
        limit: largest number of samples of each split.
        half: whether encoders compute in bfloat16.
    """

    policy: ViewPolicy
    modality: Modality
    train: Split
    test: Split | None
    device: torch.device | str = "cpu"
    limit: int | None = None
    half: bool = False

    def encoded(self, encoder: nn.Module, split: Split) -> Features:
        """Return the features of a split by an encoder, on the device."""
        made = extract(encoder, self.policy, split, device=self.device, limit=self.limit, half=self.half)
        return made.to(self.device)

    def raw(self, split: Split) -> Features:
        """Return the plain samples of a split as features, on the device."""
        return raw(self.modality, self.policy, split, self.limit).to(self.device)


def compare_representations(
    encoder: nn.Module,
    untrained: nn.Module | None,
    data: EvaluationData,
    protocols: Protocols,
    log: Log | None = None,
) -> dict[str, Results]:
    """Run the same protocols on a frozen encoder, on an untrained one and on the raw input.

    A number means little without the other two: nearest neighbours in pixel space can be good on easy data, and random
    convolutions are no bad features.

    Where only one split has labels, or there is no test split, a fifth of the labelled samples, stratified by class and
    the same every time, is held out as the test; unlabelled data is train and test in one.

    Args:
        encoder: the trained encoder, view -> h `(B, D)`; unchanged, see `features.extract`.
        untrained: the same architecture as initialised; None leaves out both baselines.
        data: the samples.
        protocols: (name, options) of each; with none, nothing is read.
        log: gets a sentence for each representation that is left without numbers because its features are not finite;
            None makes that an error.

    Returns:
        {"encoder", "untrained", "raw"}, each {protocol: {metric: value}}.

    Raises:
        UserError: as `evaluate_features`.
    """
    splits = [split for split in (data.train, data.test) if split is not None]
    if all(split.labels is None for split in splits):
        check_labels(protocols, "the data has none")  # before anything is read
    makers: dict[str, Callable[[Split], Features]] = {"encoder": partial(data.encoded, encoder)}
    if untrained is not None:
        makers |= {"untrained": partial(data.encoded, untrained), "raw": data.raw}
    return {name: _results(name, make, data, protocols, log) for name, make in makers.items()}


def _results(
    name: str, make: Callable[[Split], Features], data: EvaluationData, protocols: Protocols, log: Log | None
) -> Results:
    """Return the results of one representation; empty without protocols, and where `log` got why there are none."""
    if not protocols:
        return {}
    test_split = data.test if _is_used(data.test, protocols) else None
    train, test = make(data.train), None if test_split is None else make(test_split)
    fault = not_finite(train, test)
    if fault and log is not None:
        log(f"nothing is measured of {NAMES[name]}: {fault}")
        return {}
    return evaluate_features(train, test, protocols)

"""The evaluator: protocols on frozen features, and always the same ones on what the encoder has to beat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ssl_zoo import registry
from ssl_zoo.data.source import Modality, Split, ViewPolicy
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.features import Features, extract, raw
from ssl_zoo.evaluation.labels import Labels, divide

Results = dict[str, dict[str, float]]
"""{protocol: {metric: value}}."""

Protocols = Sequence[tuple[str, Mapping[str, Any]]]
"""(name, options) of each."""

Log = Callable[[str], None]

NAMES = {"encoder": "the encoder", "untrained": "the untrained encoder", "raw": "the raw input"}
"""What sentences call the representations."""


def needs_labels(name: str) -> bool:
    """Return whether a protocol needs labels."""
    protocol: Any = registry.find("protocol", name)[0].factory
    return protocol.needs_labels


def usable(protocols: Protocols, labelled: bool) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the protocols that the data allows: all of them on labelled data, else those that need no labels."""
    return [(name, options) for name, options in protocols if labelled or not needs_labels(name)]


def check_labels(protocols: Protocols, reason: str) -> None:
    """Make sure that the labels allow all protocols.

    Args:
        protocols: (name, options) of each.
        reason: `Division.reason`: why no protocol that needs labels can run, or empty.

    Raises:
        UserError: one of them needs labels, and there is a reason.
    """
    for name, _ in protocols:
        if reason and needs_labels(name):
            raise UserError(
                f"evaluation: protocol {name!r} needs labels and {reason}; leave it out (label_free needs none) or "
                "give data with labels in train and test."
            )


def protocol_notes(protocols: Protocols, learnt: Tensor, labels: Labels) -> list[str]:
    """Return what protocols have to say before they run, given the labels that are learnt from `(N,)`."""
    built = [registry.build("protocol", name, options) for name, options in protocols]
    return [line for protocol in built if hasattr(protocol, "notes") for line in protocol.notes(learnt, labels)]


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
        results[key] = registry.build("protocol", name, options)(*(labelled if needs_labels(name) else plain))
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


def _looked_at(test: Split | None, protocols: Protocols) -> bool:
    """Return whether any protocol looks at a test split: an empty one and labels that are not there are no test."""
    if test is None or not len(test):
        return False
    labelled = test.labels is not None and bool((test.labels >= 0).any())
    return labelled or not all(needs_labels(name) for name, _ in protocols)


def evaluate_encoder(
    encoder: nn.Module,
    policy: ViewPolicy,
    modality: Modality,
    train_split: Split,
    test_split: Split | None,
    protocols: Protocols,
    *,
    device: torch.device | str,
    limit: int | None = None,
    half: bool = False,
) -> Results:
    """Run protocols on a frozen encoder.

    Where only one split has labels, or there is no test split, a fifth of the labelled samples, stratified by class and
    the same every time, is held out as the test; unlabelled data is train and test in one.

    Args:
        encoder: view -> h `(B, D)`; unchanged, see `features.extract`.
        policy: the view policy, for its `plain` samples.
        modality: of the samples.
        train_split: samples to learn from.
        test_split: samples to test on, or None.
        protocols: (name, options) of each; with none, nothing is read.
        device: where the encoder and the protocols run.
        limit: at most so many samples of each split.
        half: whether the encoder computes in bfloat16.

    Raises:
        UserError: as `evaluate_features`.
    """
    return compare_representations(
        encoder, None, policy, modality, train_split, test_split, protocols, device=device, limit=limit, half=half
    )["encoder"]


def compare_representations(
    encoder: nn.Module,
    untrained: nn.Module | None,
    policy: ViewPolicy,
    modality: Modality,
    train_split: Split,
    test_split: Split | None,
    protocols: Protocols,
    *,
    device: torch.device | str,
    limit: int | None = None,
    half: bool = False,
    log: Log | None = None,
) -> dict[str, Results]:
    """Run the same protocols on the encoder, on an untrained one and on the raw input.

    A number says little without the other two: nearest neighbours in pixel space can be good on easy data, and random
    convolutions are no bad features.

    Args:
        encoder: the trained encoder.
        untrained: the same architecture as initialised; None leaves out both baselines.
        policy: as in `evaluate_encoder`, and so are the other arguments.
        modality: of the samples, for the raw baseline.
        train_split: samples to learn from.
        test_split: samples to test on, or None.
        protocols: (name, options) of each; with none, nothing is read.
        device: where encoders and protocols run.
        limit: at most so many samples of each split.
        half: whether the encoders compute in bfloat16.
        log: told in a sentence which representation is left without numbers because its features are not finite; None
            makes that an error.

    Returns:
        {"encoder", "untrained", "raw"}, each {protocol: {metric: value}}.

    Raises:
        UserError: as `evaluate_features`.
    """
    splits = [split for split in (train_split, test_split) if split is not None]
    if all(split.labels is None for split in splits):
        check_labels(protocols, "the data has none")  # before anything is read

    if not _looked_at(test_split, protocols):
        test_split = None

    def encoded(module: nn.Module) -> Callable[[Split], Features]:
        return lambda split: extract(module, policy, split, device=device, limit=limit, half=half).to(device)

    makers: dict[str, Callable[[Split], Features]] = {"encoder": encoded(encoder)}
    if untrained is not None:
        makers |= {
            "untrained": encoded(untrained),
            "raw": lambda split: raw(modality, policy, split, limit).to(device),
        }
    results: dict[str, Results] = {}
    for name, features in makers.items():
        if not protocols:
            results[name] = {}
            continue
        train, test = features(train_split), None if test_split is None else features(test_split)
        fault = not_finite(train, test)
        if fault and log is not None:
            log(f"nothing is measured of {NAMES[name]}: {fault}")
        results[name] = {} if fault and log is not None else evaluate_features(train, test, protocols)
    return results

"""The evaluator: protocols on frozen features, and always the same ones on what the encoder has to beat."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ssl_zoo import registry
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.features import Features, extract, pixels
from ssl_zoo.evaluation.holdout import holdout

Results = dict[str, dict[str, float]]
"""{protocol: {metric: value}}."""

Protocols = Sequence[tuple[str, Mapping[str, Any]]]
"""(name, knobs) of each."""

TEST_FRACTION = 0.2
"""The part of a labelled data set without test split that serves as one."""


def _needs_labels(name: str) -> bool:
    protocol: Any = registry.find("protocol", name)[0].factory
    return protocol.needs_labels


def usable(protocols: Protocols, labelled: bool) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the protocols that the data allows: all of them on labelled data, else those that need no labels."""
    return [(name, knobs) for name, knobs in protocols if labelled or not _needs_labels(name)]


def _check_labels(protocols: Protocols, labelled: bool) -> None:
    for name, _ in protocols:
        if _needs_labels(name) and not labelled:
            raise UserError(
                f"evaluation: protocol {name!r} needs labels and the data has none; leave it out "
                "(label_free needs none) or give labelled data."
            )


def evaluate_features(train: Features, test: Features, protocols: Protocols) -> Results:
    """Run protocols on features, where they are.

    Args:
        train: what classifiers may learn and choose from.
        test: what they are tested on, once.
        protocols: (name, knobs) of each; one that is listed again gets the key `name_2`, and so on.

    Returns:
        {protocol: {metric: value}}.

    Raises:
        UserError: an unknown protocol or knob, or a protocol that needs labels where there are none.
    """
    _check_labels(protocols, train.y is not None and test.y is not None)
    results: Results = {}
    times: Counter[str] = Counter()
    for name, knobs in protocols:
        times[name] += 1
        key = name if times[name] == 1 else f"{name}_{times[name]}"
        results[key] = registry.build("protocol", name, knobs)(train, test)
    return results


def _with_test(train: Features, test: Features | None) -> tuple[Features, Features]:
    """Return train and test features; see `evaluate_encoder` for what happens without a test split."""
    if test is not None:
        return train, test
    if train.y is None:
        return train, train
    kept, held = holdout(train.y, TEST_FRACTION, seed=0, stream="test_split")
    if not len(held):
        raise UserError("no class has two labelled samples, so none can be held out as a test: give a test split.")
    return train.take(kept), train.take(held)


def evaluate_encoder(
    encoder: nn.Module,
    policy: Any,
    train_split: Any,
    test_split: Any | None,
    protocols: Protocols,
    *,
    device: torch.device | str,
    limit: int | None = None,
    half: bool = False,
) -> Results:
    """Run protocols on a frozen encoder.

    Without a test split a fifth of the labelled train samples, stratified by class and the same every time, is held
    out as the test; unlabelled data is train and test in one.

    Args:
        encoder: view -> h `(B, D)`; unchanged, see `features.extract`.
        policy: the view policy, for its `plain` samples.
        train_split: samples to learn from.
        test_split: samples to test on, or None.
        protocols: (name, knobs) of each.
        device: where the encoder and the protocols run.
        limit: at most so many samples of each split.
        half: whether the encoder computes in bfloat16.

    Raises:
        UserError: as `evaluate_features`.
    """
    _check_labels(protocols, all(split.labels is not None for split in (train_split, test_split) if split is not None))

    def features(split: Any) -> Features:
        return extract(encoder, policy, split, device=device, limit=limit, half=half).to(device)

    train, test = features(train_split), None if test_split is None else features(test_split)
    return evaluate_features(*_with_test(train, test), protocols)


def compare_representations(
    encoder: nn.Module,
    untrained: nn.Module | None,
    policy: Any,
    train_split: Any,
    test_split: Any | None,
    protocols: Protocols,
    *,
    device: torch.device | str,
    limit: int | None = None,
    half: bool = False,
) -> dict[str, Results]:
    """Run the same protocols on the encoder, on an untrained one and on the raw pixels.

    A number says little without the other two: nearest neighbours in pixel space can be good on easy data, and random
    convolutions are no bad features.

    Args:
        encoder: the trained encoder.
        untrained: the same architecture as initialised; None leaves out both baselines.
        policy: as in `evaluate_encoder`, and so are the other arguments.
        train_split: samples to learn from.
        test_split: samples to test on, or None.
        protocols: (name, knobs) of each.
        device: where encoders and protocols run.
        limit: at most so many samples of each split.
        half: whether the encoders compute in bfloat16.

    Returns:
        {"encoder", "untrained", "pixels"}, each {protocol: {metric: value}}.

    Raises:
        UserError: as `evaluate_features`.
    """

    options: dict[str, Any] = {"device": device, "limit": limit, "half": half}

    def judge(module: nn.Module) -> Results:
        return evaluate_encoder(module, policy, train_split, test_split, protocols, **options)

    if untrained is None:
        return {"encoder": judge(encoder)}
    results = {"encoder": judge(encoder), "untrained": judge(untrained)}
    train = pixels(policy, train_split, limit).to(device)
    test = None if test_split is None else pixels(policy, test_split, limit).to(device)
    return {**results, "pixels": evaluate_features(*_with_test(train, test), protocols)}

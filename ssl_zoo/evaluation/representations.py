"""The evaluator: protocols on frozen features, and always the same ones on what the encoder has to beat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.contract import NotOffered, build_protocol
from ssl_zoo.evaluation.features import Features
from ssl_zoo.evaluation.labels import divide
from ssl_zoo.evaluation.protocol_lists import Protocols, Results, by_input, check_labels, is_used, keyed, uses_train
from ssl_zoo.evaluation.report_data import Keeper
from ssl_zoo.evaluation.seen import OF_ANYTHING, EvaluationData, Judged

Log = Callable[[str], None]

Measured = tuple[Results, list[str]]
"""Results, and sentences on whatever is left out of them."""

Keep = Callable[[nn.Module | None, type[Any], Protocols, Callable[[], Measured]], Measured]
"""(untrained encoder or None for the raw input, what protocols see, the protocols, a measurement) -> its numbers."""

NAMES = {"encoder": "the encoder", "untrained": "the untrained encoder", "raw": "the raw input"}
"""What sentences call the representations."""


def evaluate_features(
    train: Judged | None,
    test: Judged | None,
    protocols: Protocols,
    log: Log | None = None,
    on_guesses: Callable[[str, Tensor, Tensor], None] | None = None,
) -> Results:
    """Run protocols that see the same, such as features.

    Protocols that need labels get the labelled samples, as `labels.divide` shares them out; the others get train and
    test as they are, without a test split what is held out, and without labels train as both.

    Args:
        train: what classifiers may learn and choose from; a label below 0 is none. None where no protocol uses it.
        test: what they are tested on, once; None where there is no test split.
        protocols: (name, options) of each; one that is listed again gets the key `name_2`, and so on.
        log: gets a sentence for each protocol that is left out since what it asks for is not there; None makes that
            an error.
        on_guesses: gets the key, the true classes `(N,)` and the guessed ones of each protocol that is a classifier.

    Returns:
        {protocol: {metric: value}}.

    Raises:
        UserError: an unknown protocol or option, a protocol that needs labels where there are none, or features that
            are not finite.
    """
    fault = not_finite(train, test)
    if train is None:
        if test is None:
            raise ValueError("neither train nor test is given")
        known = test.take((_labels(test) >= 0).nonzero().flatten())
        labelled, plain = (known, known), (test, test)
    else:
        division = divide(_labels(train), None if test is None else _labels(test))
        check_labels(protocols, division.reason)
        splits = {"train": train, "test": train if test is None else test}
        (learn, learnt), (role, tested) = division.learn, division.test
        labelled = splits[learn].take(learnt), splits[role].take(tested)
        plain = (train, test) if test is not None else (train, train) if division.reason else labelled
    if fault:
        raise UserError(f"evaluation: {fault}, so that no number can be given.")
    results: Results = {}
    for key, name, options in keyed(protocols):
        protocol = build_protocol(name, options)
        try:
            results[key] = protocol(*(labelled if protocol.needs_labels else plain))
        except NotOffered as error:
            _left_out([key], error, log)
            continue
        if on_guesses is not None and protocol.needs_labels and protocol.guesses is not None:
            on_guesses(key, _labels(labelled[1]), protocol.guesses)
    return results


def _left_out(protocols: Sequence[str], error: NotOffered, log: Log | None) -> None:
    """Say why protocols are left out.

    Raises:
        NotOffered: there is no `log` to say it.
    """
    names, reason = ", ".join(protocols), str(error).removesuffix(".")
    if log is None:
        raise NotOffered(f"evaluation: protocol {names}: {reason}.") from None
    log(f"without {names}: {reason}")


def _labels(judged: Judged) -> Tensor:
    return torch.full((len(judged),), -1) if judged.y is None else judged.y


def not_finite(train: Judged | None, test: Judged | None) -> str:
    """Return that, and how many, features are not finite; empty where all are."""
    for name, part in (("train", train), ("test", test)):
        num = 0 if part is None else int((~part.finite).sum())
        if part is not None and num:
            return f"the features of {num} of {len(part)} {name} samples are not finite (nan or inf)"
    return ""


def compare_representations(
    encoder: nn.Module,
    untrained: nn.Module | None,
    data: EvaluationData,
    protocols: Protocols,
    log: Log | None = None,
    insist: bool | None = None,
    keeper: Keeper | None = None,
    keep: Keep | None = None,
) -> dict[str, Results]:
    """Run the same protocols on a frozen encoder, on an untrained one and on the raw input.

    A number means little without the other two: nearest neighbours in pixel space can be good on easy data, and random
    convolutions are no bad features.

    Where only one split has labels, or there is no test split, a fifth of the labelled samples, stratified by class and
    the same every time, is held out as the test; unlabelled data is train and test in one.

    Args:
        encoder: the trained encoder, view -> h `(B, D)`; unchanged, see `features.extract_each`.
        untrained: the same architecture as initialised; None leaves out both baselines.
        data: the samples.
        protocols: (name, options) of each; with none, nothing is read.
        log: gets a sentence for whatever is left out or limited.
        insist: whether features that are not finite, and protocols that the encoder does not offer what they see, are
            an error, rather than left without numbers; None: without a `log`.
        keeper: keeps what a report shows.
        keep: returns what is kept of the numbers of a baseline, or measures and keeps them.

    Returns:
        {"encoder", "untrained", "raw"}, each {protocol: {metric: value}}.

    Raises:
        UserError: as `evaluate_features`.
    """
    splits = [split for split in (data.train, data.test) if split is not None]
    if all(split.labels is None for split in splits):
        check_labels(protocols, "the data has none")  # before anything is read
    judged: dict[str, nn.Module | None] = {"encoder": encoder}
    if untrained is not None:
        judged |= {"untrained": untrained, "raw": None}
    insist = log is None if insist is None else insist
    told: set[str] = set()

    def once(line: str) -> None:
        if log is not None and line not in told:
            told.add(line)
            log(line)

    found: dict[str, Results] = {name: {} for name in judged}
    for name, module in judged.items():
        for sees, group in by_input(protocols).items():
            if module is None and sees not in OF_ANYTHING:
                continue
            measure = partial(_results, name, module, data, sees, group, insist, keeper)
            if keep is None or name == "encoder":
                results, lines = measure()
            else:
                results, lines = _kept(keep, measure, name, module, data, sees, group, keeper)
            for line in lines:
                once(line)
            found[name] |= results
    return found


def _kept(
    keep: Keep,
    measure: Callable[[], Measured],
    name: str,
    module: nn.Module | None,
    data: EvaluationData,
    sees: type[Any],
    group: Protocols,
    keeper: Keeper | None,
) -> Measured:
    """Return the numbers of a baseline that are kept; a report gets the features that were not computed for them."""
    fresh = False

    def again() -> Measured:
        nonlocal fresh
        fresh = True
        return measure()

    results, lines = keep(module, sees, group, again)
    if not fresh and results and keeper is not None and sees is Features and module is not None:
        role = "test" if is_used(data.test, group) else "train"
        split = data.test if role == "test" and data.test is not None else data.train
        for member, seen in data.seen(module, sees, split, lines.append).items():
            if isinstance(seen, Features):
                keeper.features(name, member, role, seen)
    return results, lines


def _results(
    name: str,
    encoder: nn.Module | None,
    data: EvaluationData,
    sees: type[Any],
    group: Protocols,
    insist: bool,
    keeper: Keeper | None,
) -> Measured:
    """Return the results of one representation by protocols that see the same, and the reasons of what is left out."""
    results: Results = {}
    lines: list[str] = []
    log = lines.append
    test_split = data.test if is_used(data.test, group) else None
    needed = {"train": data.train if uses_train(test_split, group) else None, "test": test_split}
    try:
        parts = {
            split: data.seen(encoder, sees, needed_split, log)
            for split, needed_split in needed.items()
            if needed_split is not None
        }
    except NotOffered as error:
        _left_out([protocol for protocol, _ in group], error, None if insist else log)
        return {}, lines
    for member in next(iter(parts.values())):
        train, test = (parts[split][member] if split in parts else None for split in ("train", "test"))
        fault = "" if insist else not_finite(train, test)
        if fault:
            log(f"nothing is measured of {NAMES[name]}{f' of {member}' if member else ''}: {fault}")
            continue
        keep = partial(_keep_guesses, keeper, member) if keeper is not None and name == "encoder" else None
        seen = train if test is None else test
        if keeper is not None and sees is Features and isinstance(seen, Features):
            keeper.features(name, member, "train" if test is None else "test", seen)
        found = evaluate_features(train, test, group, None if insist else log, keep)
        results |= {f"{member}/{key}" if member else key: metrics for key, metrics in found.items()}
    return results, lines


def _keep_guesses(keeper: Keeper, member: str, key: str, labels: Tensor, guesses: Tensor) -> None:
    keeper.guesses(f"{member}/{key}" if member else key, labels, guesses)

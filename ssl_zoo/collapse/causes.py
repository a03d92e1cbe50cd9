"""The likely cause of a collapse: which part of this recipe, compared with the method's own, and how to undo it.

What the weights show comes first: weight decay that has taken them away, or a learning rate that has blown them up.
Then a term that is missing or switched off, then the stop-gradient and the predictor: putting a stop-gradient back does
not help where a term is what is missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ssl_zoo.collapse.overrides import typed

PULL = {"negative_cosine", "mse", "smooth_l1", "softmax_cross_entropy", "column_mse"}
"""Terms that only pull views together; an objective of these alone collapses without asymmetry."""

PURPOSE = {
    "variance": "keeps each dimension spread",
    "covariance": "keeps the dimensions from repeating each other",
}

DECAYED, BLOWN_UP = 0.3, 100.0
"""The encoder's weights have shrunk to this part of the start's, or changed by this multiple of them."""

OFF: dict[str, float] = {"momentum": 1.0}
"""The value at which an option of a term does nothing, where it is not 0."""

NO_SWITCH = ("weight", "warmup")
"""Options of terms that switch nothing off."""

ENOUGH, LEAST_SEEN = 0.1, 1e-8
"""The change of the weights, relative to their size, that a first part of a run is to make; the least that is seen."""


@dataclass(frozen=True)
class Cause:
    """The likely cause.

    Attributes:
        part: `weight decay`, `learning rate`, `term`, `target`, `predictor`, or empty where none is known.
        text: one sentence.
        remedies: overrides that undo it, and what else the recipe lacks, with what they do, the likeliest first.
    """

    part: str
    text: str
    remedies: tuple[str, ...] = ()


UNKNOWN = Cause("", "no part of the recipe stands out as the cause")


def terms_of(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the objective's terms in their plain form; a name stands for a term at its defaults."""
    return [{"name": term} if isinstance(term, str) else dict(term) for term in facts.get("terms", ())]


def cause_of(kind: str, metrics: Mapping[str, float], facts: Mapping[str, Any]) -> Cause:
    """Return the likely cause of a collapse.

    Args:
        kind: of collapse, see `ssl_zoo.collapse.seen`.
        metrics: of the last check.
        facts: of the recipe, see `ssl_zoo.collapse.remedies.remedies`; `own` are those of the method's own recipe.
    """
    causes = [*_of_the_weights(kind, metrics, facts)]
    if kind not in ("non-finite", "divergence", "no learning", "apart"):
        causes += [*_missing_terms(facts, kind), *_switched_off(facts), *_asymmetry(facts)]
    if kind == "apart":
        causes += [*_weak_pull(facts)]
    if not causes:
        return UNKNOWN
    first = causes[0]
    return replace(first, remedies=tuple(dict.fromkeys(text for each in causes for text in each.remedies)))


def _number(value: float) -> float:
    return float(f"{value:.3g}")


def _of_the_weights(kind: str, metrics: Mapping[str, float], facts: Mapping[str, Any]) -> Iterator[Cause]:
    size, change = metrics.get("weight_norm", 1.0), metrics.get("weight_change", 0.0)
    lr, decay = facts.get("base_lr"), facts.get("weight_decay")
    if kind == "no learning":
        factor = _ten_to(ENOUGH / max(change, LEAST_SEEN))
        higher = f"raise the learning rate: {typed('training.base_lr', _number(lr * factor))}" if lr else None
        text = f"the likely cause is a learning rate that is too low, training.base_lr = {lr:g}" if lr else UNKNOWN.text
        yield Cause("learning rate", text, (higher,) if higher else ())
    elif size < DECAYED and decay:
        text = (
            f"the likely cause is the weight decay of {decay:g}: the encoder's weights have shrunk to {size:.2g} of "
            "what they were"
        )
        less = [_number(decay / factor) for factor in (100, 1000)]
        what = "lower the weight decay: "
        yield Cause("weight decay", text,
                    tuple(what + typed("training.optimizer.weight_decay", value) for value in less))  # fmt: skip
    elif kind == "divergence" or not size < BLOWN_UP or not change < BLOWN_UP:
        text = (
            f"the likely cause is the learning rate, training.base_lr = {lr:g}: the encoder's weights have changed by "
            f"{change:.2g} times their size"
            if lr
            else "the likely cause is the learning rate"
        )
        grown = max(size, change)
        first = 10 * _ten_to(grown) if kind == "divergence" and math.isfinite(grown) else 10.0
        rates = [typed("training.base_lr", _number(lr / factor)) for factor in (first, 10 * first)] if lr else []
        yield Cause("learning rate", text, tuple(f"lower the learning rate: {rate}" for rate in rates))


def _ten_to(factor: float) -> float:
    """Return the power of ten at or above a factor, 1 at least."""
    return 10.0 ** max(0, math.ceil(math.log10(factor) - 1e-9))


def _purpose(name: str) -> str:
    return f", which {PURPOSE[name]}," if name in PURPOSE else ""


def _missing_terms(facts: Mapping[str, Any], kind: str) -> Iterator[Cause]:
    """Yield the terms that the method has and this recipe has not, or has at the weight 0."""
    method, own = facts.get("method", "the method"), terms_of(facts.get("own", {}))
    now = terms_of(facts)
    names = [term["name"] for term in now]
    if {"target", "own"} <= facts.keys() and not any(name in names for name in (term["name"] for term in own)):
        if kind == "cluster" and own:
            text = f"the likely cause is the objective, which has none of the terms that {method} has"
            yield Cause("term", text, (f"put the method's own objective back: {typed('objective', own)}",))
        return  # what another objective altogether lacks is not known
    factor = _factor(now, own)
    for term in own:
        if term["name"] in PULL:
            continue
        weight = _number(factor * term.get("weight", 1.0))
        if term["name"] not in names:
            what = f"the term {term['name']!r}{_purpose(term['name'])}"
            text = f"the likely cause is that {what} is missing; {method} has it"
            added = typed("objective", [*now, {**term, "weight": weight}])
            yield Cause("term", text, (f"add the term {term['name']!r}: {added}",))
        elif not any(each.get("weight", 1.0) for each in now if each["name"] == term["name"]):
            key = f"objective.{_place(names, term['name'])}.weight"
            text = f"the likely cause is {key} = 0: the term {term['name']!r}{_purpose(term['name'])} has no weight"
            yield Cause("term", text, (f"give the term {term['name']!r} its weight again: {typed(key, weight)}",))


def _place(names: Sequence[str], name: str) -> str:
    return name if names.count(name) == 1 else str(names.index(name))


def _factor(now: Sequence[Mapping[str, Any]], own: Sequence[Mapping[str, Any]]) -> float:
    """Return what the weights of the recipe are multiples of the method's own, by its heaviest term of both."""
    theirs = {term["name"]: term.get("weight", 1.0) for term in own}
    both = [(theirs[t["name"]], t.get("weight", 1.0)) for t in now if theirs.get(t["name"]) and t.get("weight", 1.0)]
    return max(both)[1] / max(both)[0] if both else 1.0


def _switched_off(facts: Mapping[str, Any]) -> Iterator[Cause]:
    """Yield options of terms that are at the value at which they do nothing, and in the method's own recipe are not."""
    now, own = terms_of(facts), {term["name"]: term for term in terms_of(facts.get("own", {}))}
    names = [term["name"] for term in now]
    for term in now:
        for option, value in term.items():
            theirs = own.get(term["name"], {}).get(option)
            hot = option == "target_temperature" and value >= term.get("temperature", value + 1)
            off = hot or (isinstance(value, float | int) and value == OFF.get(option, 0.0))
            if option in NO_SWITCH or not off or theirs is None or theirs == value:
                continue
            key = f"objective.{_place(names, term['name'])}.{option}"
            text = f"the likely cause is {key} = {value:g}; {facts.get('method', 'the method')} has {theirs:g}"
            yield Cause("term", text, (f"put {option} back: {typed(key, theirs)}",))


def _asymmetry(facts: Mapping[str, Any]) -> Iterator[Cause]:
    """Yield a stop-gradient and a predictor that are missing, where nothing else prevents a collapse."""
    names = {term["name"] for term in terms_of(facts) if term.get("weight", 1.0)}
    own = facts.get("own", {})
    theirs = own.get("target", "shared")
    if facts.get("target") == "shared" and ((names and names <= PULL) or theirs != "shared"):
        target = theirs if theirs != "shared" else "stop_gradient"
        text = "the likely cause is the target 'shared': gradient flows through both branches, which come together"
        what = "put the stop-gradient back" if target == "stop_gradient" else "put the method's own target back"
        yield Cause("target", text, (f"{what}: {typed('target', target)}",))
    if facts.get("predictor") == "identity" and names and names <= PULL and own.get("predictor") != "identity":
        dim = int(facts.get("dim", 2048))
        predictor = {"name": "mlp", "dims": [max(dim // 4, 1), dim]}
        text = "the likely cause is that there is no predictor: this objective only pulls views together"
        yield Cause("predictor", text, (f"put a predictor in: {typed('predictor', predictor)}",))


def _weak_pull(facts: Mapping[str, Any]) -> Iterator[Cause]:
    """Yield the pull between views, where it is weak beside the other terms."""
    terms = terms_of(facts)
    names = [term["name"] for term in terms]
    heaviest = max((abs(term.get("weight", 1.0)) for term in terms), default=0.0)
    for term in terms:
        weight = term.get("weight", 1.0)
        if term["name"] in PULL and weight < heaviest / 100:
            key = f"objective.{_place(names, term['name'])}.weight"
            text = f"the likely cause is {key} = {weight:g}: the pull between views is weak beside the other terms"
            yield Cause("term", text, (f"give the pull between views weight: {typed(key, heaviest)}",))

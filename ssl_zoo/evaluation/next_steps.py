"""What to try next: changes of a recipe, each as options that can be typed as they are."""

from __future__ import annotations

import copy
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypedDict

from ssl_zoo import registry
from ssl_zoo.collapse.overrides import typed
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.contract import protocol_class
from ssl_zoo.recipe.load import load_recipe, method_names
from ssl_zoo.recipe.model import kind_of, parse
from ssl_zoo.recipe.overrides import put, split
from ssl_zoo.recipe.sections import Training

DONORS = ("vicreg", "barlow_twins")
"""Methods whose target, predictor, pairing and objective may take the place of a recipe's: they need no widths of their
own, and what prevents collapse is in the objective."""

SWAPPED = ("predictor", "target", "pairing", "objective")

FAR = 10.0
"""A learning rate that is so many times that of the method's recipe, or so many times below it, is put right first."""

STEP = 3.0
"""By how much a learning rate is changed to see whether another one is better."""

ALIKE = 0.4
"""Least area of a crop, as a fraction of the sample, of views that are alike."""

MOST = 5
"""Suggestions."""


class Step(TypedDict):
    """A suggestion: `why`, and `override`, the options to type, such as `-s training.max_steps=600`."""

    why: str
    override: str


Suggestion = tuple[str, list[tuple[str, Any]]]
"""Why, and the (key, value) pairs that it puts into the recipe."""


def next_steps(level: str, recipe: Mapping[str, Any], *, epochs: float | None = None, seeds: int = 1) -> list[Step]:
    """Return what to try next, the most promising first; every one gives a valid recipe.

    Args:
        level: of the verdict; `collapsed, with remedies` where the guard has named some, to which these are added.
        recipe: the whole recipe as plain data, as `Recipe.dump` or `recipe.yaml` has it; for one that is not valid here
            there are none.
        epochs: passes over the samples so far.
        seeds: the number of runs that were compared.
    """
    try:
        plain = parse(copy.deepcopy(dict(recipe)), "recipe").dump()
    except UserError:
        return []  # such as one with parts of a module that is not imported
    found = []
    for suggest in _BY_LEVEL.get(level, ()):
        for why, changes in suggest(plain, epochs, seeds):
            if _is_valid(plain, changes):
                found.append(Step(why=why, override=" ".join(typed(key, value) for key, value in changes)))
    return found[:MOST]


def _is_valid(recipe: Mapping[str, Any], changes: Sequence[tuple[str, Any]]) -> bool:
    """Return whether overrides, read as they are typed, change a recipe into another valid one."""
    raw = copy.deepcopy(dict(recipe))
    try:
        for key, value in changes:
            (override,) = shlex.split(typed(key, value).removeprefix("-s "))
            put(raw, *split(override))
        return parse(raw, "recipe").dump() != recipe
    except UserError:
        return False


def _longer(recipe: Mapping[str, Any], epochs: float | None, _: int) -> Iterator[Suggestion]:
    training = recipe["training"]
    so_far = "" if epochs is None else f"; so far it has seen each sample {epochs:.3g} times"
    key = "epochs" if training.get("max_steps") is None else "max_steps"
    length = 2 * training[key]
    yield f"train twice as long{so_far}", [(f"training.{key}", int(length) if length == int(length) else length)]


def _usual_rate(recipe: Mapping[str, Any], *_: Any) -> Iterator[Suggestion]:
    """Yield the learning rate of the method's recipe, at this batch, where this one is far from it."""
    usual = _shipped(recipe["method"])
    if usual is None or usual["training"]["optimizer"]["name"] != recipe["training"]["optimizer"]["name"]:
        return
    training = Training.model_construct(**{**usual["training"], "batch_size": recipe["training"]["batch_size"]})
    ratio = Training.model_construct(**recipe["training"]).lr / training.lr
    if ratio >= FAR or ratio <= 1 / FAR:
        times = f"{ratio:.4g} times as high" if ratio > 1 else f"{1 / ratio:.4g} times lower"
        why = f"take the learning rate of the method's own recipe; this one is {times}"
        yield why, [("training.base_lr", _rounded(recipe["training"]["base_lr"] / ratio))]


def _other_rates(recipe: Mapping[str, Any], *_: Any) -> Iterator[Suggestion]:
    lr = recipe["training"]["base_lr"]
    yield "try a lower learning rate", [("training.base_lr", _rounded(lr / STEP))]
    yield "try a higher learning rate", [("training.base_lr", _rounded(lr * STEP))]


def _lower_rate(recipe: Mapping[str, Any], *_: Any) -> Iterator[Suggestion]:
    yield "lower the learning rate", [("training.base_lr", _rounded(recipe["training"]["base_lr"] / 4))]


def _other_views(recipe: Mapping[str, Any], *_: Any) -> Iterator[Suggestion]:
    """Yield views that are more alike, or less where they are alike already."""
    views = recipe["views"]
    places = {"views": views} if "name" in views else {f"views.{member}": each for member, each in views.items()}
    for place, options in places.items():
        scale = options.get("scale")
        if not isinstance(scale, (list, tuple)) or options.get("num_views") == 1:
            continue
        low, high = scale
        if low < ALIKE <= high:
            yield "make the views more alike: larger crops", [(f"{place}.scale", [ALIKE, high])]
        else:
            yield "make the views differ more: smaller crops", [(f"{place}.scale", [_rounded(low / 2), high])]
        return


def _other_method(recipe: Mapping[str, Any], *_: Any) -> Iterator[Suggestion]:
    """Yield another method's objective, and what goes with it, on this encoder, these views and this training."""
    per_member = "name" not in recipe["views"]
    for name in DONORS:
        other = _shipped(name)
        if other is None or kind_of(other) != kind_of(recipe) or other["objective"] == recipe.get("objective"):
            continue
        # A pairing of members stays: the one of views of one sample would pair what is not to be compared.
        taken = [key for key in SWAPPED if other[key] != recipe.get(key) and not (per_member and key == "pairing")]
        changes = [(key, _short(other[key])) for key in taken]
        projector = recipe.get("projector") or {}
        changes += [
            (f"projector.{key}", other["projector"][key])
            for key in ("last_norm", "last_bias")
            if key in projector and projector[key] != other["projector"][key]
        ]
        yield f"try another method, {name}, in the place of {recipe['method']}", changes
        return


def _other_seed(recipe: Mapping[str, Any], _: Any, seeds: int) -> Iterator[Suggestion]:
    if seeds == 1:
        yield "train with another seed: one run does not show how much results vary", [("seed", recipe["seed"] + 1)]


def _more_samples(recipe: Mapping[str, Any], *_: Any) -> Iterator[Suggestion]:
    if (recipe.get("evaluation") or {}).get("limit") is not None:
        yield "test on all samples, for a smaller spread (also with ssl-zoo eval)", [("evaluation.limit", None)]


def _measure(recipe: Mapping[str, Any], *_: Any) -> Iterator[Suggestion]:
    """Yield what to measure where nothing was that says how good the encoder is."""
    evaluation = recipe.get("evaluation") or {}
    if not evaluation.get("baselines", True):
        yield "measure the baselines too (also with ssl-zoo eval)", [("evaluation.baselines", True)]
    names = [part["name"] for part in evaluation.get("protocols", ())]
    for name in registry.names("protocol"):
        if name not in names and protocol_class(name).stand_in:
            changes = [("evaluation.protocols", [*names, name])]
            yield f"measure {name}, which needs no labels (also with ssl-zoo eval)", changes


def _short(part: Any) -> Any:
    """Return a part without options as its name."""
    if isinstance(part, list):
        return [_short(each) for each in part]
    return part["name"] if isinstance(part, dict) and set(part) == {"name"} else part


@cache
def _shipped(method: str) -> dict[str, Any] | None:
    """Return the shipped recipe of a method; None where there is none, or it is not valid here."""
    try:
        return load_recipe(method).dump() if method in method_names() else None
    except UserError:
        return None


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


_BY_LEVEL: dict[str, tuple[Callable[..., Iterator[Suggestion]], ...]] = {
    "better": (_longer, _other_seed),
    "unclear": (_usual_rate, _longer, _more_samples, _other_seed, _other_method),
    "worse": (_usual_rate, _longer, _other_views, _other_method, _other_rates),
    "collapsed": (_usual_rate, _other_method, _lower_rate),
    "collapsed, with remedies": (_usual_rate,),
    "not measured": (_measure,),
}

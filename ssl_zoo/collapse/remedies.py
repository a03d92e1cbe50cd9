"""Remedies for a collapse: three changes, the likeliest first, as overrides that can be typed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

PULL = {"negative_cosine", "mse", "smooth_l1", "softmax_cross_entropy"}
"""Terms that only pull views together; an objective of these alone collapses without asymmetry."""

OPEN = {"variance": 1.0, "covariance": 0.04}
"""Terms that prevent collapse, with their weight relative to the heaviest term: VICReg's 25 : 25 : 1."""

PURPOSE = {"variance": "keeps each dimension spread", "covariance": "keeps the dimensions from repeating each other"}

END = "\n..."
"""The end marker that YAML writes after a bare scalar."""

LARGE_CROPS = 0.4
"""Least area of a crop, as a fraction of the image, for views that are alike enough."""


def _typed(key: str, value: Any) -> str:
    """Return an override as a user types it, quoted for the shell."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=float("inf"))
    return "-s " + shlex.quote(f"{key}={text.partition(END)[0].strip()}")


def _terms(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the objective's terms in their plain form; a name stands for a term at its defaults."""
    return [{"name": term} if isinstance(term, str) else dict(term) for term in given.get("terms", ())]


def _structure(given: Mapping[str, Any]) -> Iterator[str]:
    """Yield the remedies for what the method itself lacks, as far as the facts show it."""
    names = {term["name"] for term in _terms(given) if term.get("weight", 1.0)}
    if not names or not names <= PULL:
        return
    if given.get("target") == "shared":
        yield f"put the stop-gradient back: {_typed('target', 'stop_gradient')}"
    if given.get("predictor") == "identity":
        dim = int(given.get("dim", 2048))
        predictor = {"name": "mlp", "dims": [max(dim // 4, 1), dim]}
        yield f"put a predictor in: {_typed('predictor', predictor)}"


def _open_space(metric: str, given: Mapping[str, Any]) -> Iterator[str]:
    """Yield terms that prevent collapse, to add or to give a weight again, those that fit the metric first."""
    terms = _terms(given)
    names = [term["name"] for term in terms]
    heaviest = max((abs(term.get("weight", 1.0)) for term in terms), default=1.0) or 1.0
    for name in reversed(OPEN) if metric == "effective_rank" else OPEN:
        weight = float(f"{OPEN[name] * heaviest:.3g}")
        if name not in names:
            if name == "covariance" and "cross_correlation" in names:
                continue
            more = {"name": name, "weight": weight}
            what = f"add the term {name!r}, which {PURPOSE[name]}: "
            yield what + (_typed("objective", [*terms, more]) if terms else f"weight {weight:g} in objective")
        elif not any(term.get("weight", 1.0) for term in terms if term["name"] == name):
            key = f"objective.{name if names.count(name) == 1 else names.index(name)}.weight"
            yield f"give the term {name!r} a weight again, it {PURPOSE[name]}: {_typed(key, weight)}"


def _slower_target(given: Mapping[str, Any]) -> Iterator[str]:
    """Yield how to let the target lag behind, which keeps the predictor from having tokens their own way."""
    momentum = given.get("momentum")
    if momentum is None:
        yield f"predict tokens of a moving average of the network: {_typed('target', 'ema')}"
    elif momentum < 1:
        slower = _typed("target.momentum", float(f"{1 - (1 - momentum) / 4:.6g}"))
        yield f"let the target follow more slowly: {slower}"


def _setting(metric: str, given: Mapping[str, Any]) -> list[str]:
    """Return remedies that change settings of the training and the views."""
    lr, batch, crops = given.get("base_lr"), given.get("batch_size"), given.get("views", {}).get("scale")
    lower = _typed("training.base_lr", float(f"{float(lr) / 4:.3g}")) if lr else "a quarter of training.base_lr"
    larger = _typed("training.batch_size", int(batch) * 2) if batch else "twice training.batch_size"
    rate = f"lower the learning rate: {lower}"
    size = f"take a larger batch, for steadier statistics: {larger}"
    views = []
    if "views" not in given or (crops is not None and crops[0] < LARGE_CROPS):
        views = [f"make the views more alike, their crops larger first: {_typed('views.scale', [LARGE_CROPS, 1.0])}"]
    warmup = given.get("schedule", {}).get("warmup_epochs")
    slower = [] if warmup is None else [_typed("training.schedule.warmup_epochs", max(10, 2 * warmup))]
    rest = [f"warm the learning rate up for longer: {text}" for text in slower]
    if given.get("clip_grad", 0) is None:
        rest.append(f"clip the gradient: {_typed('training.clip_grad', 1.0)}")
    if metric == "finite":
        precise = given.get("precision", "fp32") == "fp32"
        exact = [] if precise else [f"compute in single precision: {_typed('training.precision', 'fp32')}"]
        return [rate, *exact, *rest, *views, size]
    orders = {"effective_rank": [size, rate, *views], "similarity_gap": [*views, rate, size]}
    orders |= dict.fromkeys(("token_std", "sample_std"), [*_slower_target(given), rate, size])
    return [*orders.get(metric, [rate, *views, size]), *rest, "look at the views: ssl-zoo views"]


def remedies(metric: str, recipe_facts: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return exactly three things to try against a collapse, the likeliest first.

    What the method lacks comes first (stop-gradient, predictor), then a term that prevents collapse, then settings.
    Only a term prevents a loss of scale, so the term comes first there. Each override changes one thing and nothing
    else: an objective is written out with all of its terms, their weights and their options.

    Args:
        metric: the metric that shows the collapse: `std`, `scale`, `effective_rank`, `similarity_gap`, `token_std`,
            `sample_std` or `finite`.
        recipe_facts: values of the recipe, all optional: `target` and `predictor` (names), `terms` (of the objective,
            names or plain forms), `base_lr`, `batch_size`, `clip_grad`, `precision`, `views` and `schedule` (their
            options), `momentum` (of a target that is a moving average), `dim` (width of z).
    """
    structure, terms = list(_structure(recipe_facts)), list(_open_space(metric, recipe_facts))[:1]
    missing = {"finite": [], "scale": [*terms, *structure]}.get(metric, [*structure, *terms])
    first, second, third, *_ = [*missing, *_setting(metric, recipe_facts)]
    return first, second, third

"""Remedies for a collapse: three changes, the likeliest first, as overrides that can be typed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ssl_zoo.collapse.causes import PURPOSE, Cause, cause_of, terms_of
from ssl_zoo.collapse.overrides import typed

OPEN = {"variance": 1.0, "covariance": 0.04}
"""Terms that prevent collapse, with their weight relative to the heaviest term: VICReg's 25 : 25 : 1."""

LARGE_CROPS = 0.4
"""Least area of a crop, as a fraction of the image, for views that are alike enough."""

ONLY_SETTINGS = {"finite": "non-finite", "weight_norm": "divergence", "weight_change": "no learning", "across": "apart"}
"""Metrics that no added term mends, and the kinds that they show."""


def _open_space(metric: str, given: Mapping[str, Any]) -> Iterator[str]:
    """Yield terms that prevent collapse, to add or to give a weight again, those that fit the metric first."""
    terms = terms_of(given)
    names = [term["name"] for term in terms]
    heaviest = max((abs(term.get("weight", 1.0)) for term in terms), default=1.0) or 1.0
    for name in reversed(OPEN) if metric == "effective_rank" else OPEN:
        weight = float(f"{OPEN[name] * heaviest:.3g}")
        if name not in names:
            if name == "covariance" and "cross_correlation" in names:
                continue
            more = {"name": name, "weight": weight}
            what = f"add the term {name!r}, which {PURPOSE[name]}: "
            yield what + (typed("objective", [*terms, more]) if terms else f"weight {weight:g} in objective")
        elif not any(term.get("weight", 1.0) for term in terms if term["name"] == name):
            key = f"objective.{name if names.count(name) == 1 else names.index(name)}.weight"
            yield f"give the term {name!r} a weight again, it {PURPOSE[name]}: {typed(key, weight)}"


def _slower_target(given: Mapping[str, Any]) -> Iterator[str]:
    """Yield how to let the target lag behind, which keeps the predictor from having tokens their own way."""
    momentum = given.get("momentum")
    if momentum is None:
        yield f"predict tokens of a moving average of the network: {typed('target', 'ema')}"
    elif momentum < 1:
        slower = typed("target.momentum", float(f"{1 - (1 - momentum) / 4:.6g}"))
        yield f"let the target follow more slowly: {slower}"


def _setting(metric: str, given: Mapping[str, Any]) -> list[str]:
    """Return remedies that change settings of the training and the views."""
    lr, batch, crops = given.get("base_lr"), given.get("batch_size"), given.get("views", {}).get("scale")
    lower = typed("training.base_lr", float(f"{float(lr) / 4:.3g}")) if lr else "a quarter of training.base_lr"
    larger = typed("training.batch_size", int(batch) * 2) if batch else "twice training.batch_size"
    rate = f"lower the learning rate: {lower}"
    size = f"take a larger batch, for steadier statistics: {larger}"
    views = []
    if "views" not in given or (crops is not None and crops[0] < LARGE_CROPS):
        views = [f"make the views more alike, their crops larger first: {typed('views.scale', [LARGE_CROPS, 1.0])}"]
    warmup = given.get("schedule", {}).get("warmup_epochs")
    slower = [] if warmup is None else [typed("training.schedule.warmup_epochs", max(10, 2 * warmup))]
    rest = [f"warm the learning rate up for longer: {text}" for text in slower]
    if given.get("clip_grad", 0) is None:
        rest.append(f"clip the gradient: {typed('training.clip_grad', 1.0)}")
    if metric == "finite":
        precise = given.get("precision", "fp32") == "fp32"
        exact = [] if precise else [f"compute in single precision: {typed('training.precision', 'fp32')}"]
        return [rate, *exact, *rest, *views, size]
    orders = {"effective_rank": [size, rate, *views], "similarity_gap": [*views, rate, size]}
    orders |= dict.fromkeys(("token_std", "sample_std"), [*_slower_target(given), rate, size])
    return [*orders.get(metric, [rate, *views, size]), *rest, "look at the views: ssl-zoo views"]


def remedies(metric: str, recipe_facts: Mapping[str, Any], cause: Cause | None = None) -> tuple[str, str, str]:
    """Return exactly three things to try against a collapse, the likeliest first.

    What undoes the likely cause comes first, then a term that prevents collapse, then settings. Each override changes
    one thing and nothing else: an objective is written out with all of its terms, their weights and their options.

    Args:
        metric: the metric that shows the collapse: `std`, `scale`, `effective_rank`, `similarity_gap`, `token_std`,
            `sample_std`, `clusters`, `clusters_each`, `agreement`, `across`, `weight_norm`, `weight_change` or
            `finite`.
        recipe_facts: values of the recipe, all optional: `method` (name), `own` (target, predictor and terms of the
            method's own recipe), `target` and `predictor` (names), `terms` (of the objective, names or plain forms),
            `base_lr`, `weight_decay`, `batch_size`, `clip_grad`, `precision`, `views` and `schedule` (their options),
            `momentum` (of a target that is a moving average), `dim` (width of z).
        cause: the likely cause, see `cause_of`; None looks for it in the facts alone.
    """
    cause = cause or cause_of(ONLY_SETTINGS.get(metric, "complete"), {}, recipe_facts)
    undone, terms = list(cause.remedies), []
    if metric not in ONLY_SETTINGS and cause.part in ("", "target", "predictor"):
        terms = list(_open_space(metric, recipe_facts))[:1]
    missing = [*terms, *undone] if metric == "scale" else [*undone, *terms]
    first, second, third, *_ = dict.fromkeys([*missing, *_others(_setting(metric, recipe_facts), undone)])
    return first, second, third


def _others(settings: list[str], undone: list[str]) -> list[str]:
    """Return the settings without those of a key that is set already."""
    keys = {text.partition("-s ")[2].partition("=")[0] for text in undone}
    return [text for text in settings if text.partition("-s ")[2].partition("=")[0] not in keys]

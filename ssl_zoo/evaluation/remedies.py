"""What to do about a collapse: three things to change, the likeliest first, as overrides that can be typed."""

from collections.abc import Mapping
from typing import Any

PULL = {"negative_cosine", "mse", "softmax_cross_entropy"}
"""Terms that only pull views together; an objective of these alone needs asymmetry to stay open."""


def _structure(facts: Mapping[str, Any]) -> list[str]:
    """Return what is missing from the method itself, as far as the facts tell."""
    terms, dim = list(facts.get("terms", ())), int(facts.get("dim", 2048))
    target, predictor = facts.get("target"), facts.get("predictor")
    if not terms or not set(terms) <= PULL:
        return []
    found = []
    if target == "shared":
        found.append("put the stop-gradient back: -s target=stop_gradient")
    if predictor == "identity":
        found.append(f"put a predictor in: -s 'predictor={{name: mlp, dims: [{max(dim // 4, 1)}, {dim}]}}'")
    return found


def _open_space(metric: str, facts: Mapping[str, Any]) -> list[str]:
    """Return the terms to add that keep the space open, those first that fit the metric."""
    terms = list(facts.get("terms", ()))
    what = {"variance": "keeps each dimension spread", "covariance": "keeps the dimensions from repeating each other"}
    order = ["covariance", "variance"] if metric == "effective_rank" else ["variance", "covariance"]
    listed = "".join(f"{term}, " for term in terms) or "..., "
    return [
        f"add the term {name!r}, which {what[name]}: -s 'objective=[{listed}{{name: {name}}}]'"
        for name in order
        if name not in terms and not (name == "covariance" and "cross_correlation" in terms)
    ]


def _setting(metric: str, facts: Mapping[str, Any]) -> list[str]:
    """Return the settings of the training and the views to change."""
    lr, batch = facts.get("base_lr"), facts.get("batch_size")
    lower = f"-s training.base_lr={float(lr) / 4:.3g}" if lr else "a quarter of training.base_lr"
    larger = f"-s training.batch_size={int(batch) * 2}" if batch else "twice training.batch_size"
    rate = f"lower the learning rate: {lower}"
    views = "make the views more alike, their crops larger first: -s 'views.scale=[0.4, 1.0]'"
    size = f"take a larger batch, for steadier statistics: {larger}"
    orders = {"effective_rank": [size, rate, views], "similarity_gap": [views, rate, size]}
    return orders.get(metric, [rate, views, size])


def remedies(metric: str, facts: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return exactly three things to try against a collapse, the likeliest first.

    What the method lacks comes first (stop-gradient, predictor), then a term that keeps the space open, then settings.

    Args:
        metric: the metric that gave the collapse away: `std`, `effective_rank` or `similarity_gap`.
        facts: what is known of the recipe, all optional: `target` and `predictor` (names), `terms` (names of the
            objective's terms), `base_lr`, `batch_size`, `dim` (width of z).
    """
    first, second, third, *_ = [*_structure(facts), *_open_space(metric, facts)[:1], *_setting(metric, facts)]
    return first, second, third

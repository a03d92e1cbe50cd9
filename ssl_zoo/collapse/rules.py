"""The rules of the collapse guard: from the means over the last checks to a kind of collapse.

Each rule compares a metric with the run's own start and knows one kind. The rules of spread, rank and similarity are
applied to the projection z, which the objective sees, and to the encoder's output h, which is what is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from ssl_zoo.collapse.seen import Finding, H, Seen, Z

STD_LOW, STD_FALL = 0.1, 0.5
"""Complete collapse: below 0.1 of the isotropic spread (a mean cosine of about 0.99) and half of the start's, and not
coming back, see `_may_recover`."""

STD_DEAD, STD_GROWTH = 0.02, 1.5
"""Dead from the start: below 0.02, and not growing by half from the first to the last of the checks."""

SCALE_LOW, SCALE_FALL = 0.1, 0.2
"""Loss of scale: below 0.1 in the units of z (VICReg keeps each dimension at 1) and a fifth of the start's."""

RANK_LOW, RANK_FALL = 5.0, 0.1
"""Dimensional collapse: fewer than 5 effective dimensions and less than a tenth of the start's."""

RANK_LOST = 0.25
"""The same where the objective only pulls views together and they share no more of their variance than at the
start: less than a quarter of the start's rank is enough. Methods that learn lose as much at times, but in them views
come to agree on what is left."""

ENTROPY_LOW, ENTROPY_FALL = 0.15, 0.25
"""The same for narrow projectors and small batches, where a tenth of the start is less than one dimension: the entropy
of the singular values, log(rank), is below 0.15 of what width and batch allow and below a quarter of the start's."""

SIMILARITY_HIGH, SPREAD_FALL, GAP_LOW = 0.5, 0.5, 0.1
"""Uninformative views: random pairs have a cosine above 0.5, their distance 1 - cosine is below half of the start's,
and the gap to positive pairs is below a tenth of that distance."""

TOKENS_LOW, TOKENS_FALL = 0.2, 0.4
"""Token collapse: below 0.2 of the isotropic spread, over places or over samples, and 0.4 of the start's."""

ONE_CLUSTER, TOLD_APART = 1.5, 1.01
"""Cluster collapse: all samples together use fewer than 1.5 clusters; or each is spread over so many of them that
knowing the sample says nothing, their number being all samples' to 1 %."""

STILL_ALIKE = 1.005
"""The same of a head that was so from the start, a twelfth of the run gone: to 0.5 %."""

GROWN = 50.0
"""Divergence: the weights of the encoder have grown by this factor. Small healthy networks grow thirtyfold."""

SHRUNK = 0.05
"""Complete collapse of the weights: less than a twentieth of those of the start is left."""

STILL, STILL_AFTER = 1e-4, 0.08
"""No learning: a twelfth of the run has passed and the encoder's weights have changed by less than this fraction."""

APART, APART_AFTER = 0.1, 0.5
"""Members apart: half of the run has passed and two of them share less than a tenth of their variance."""

DRIFT = 0.6
"""Drift: two views share less than 0.6 of the part of the variance of h that they shared at the start."""


def spread(seen: Seen) -> Finding | None:
    """Complete collapse: all embeddings point the same way (Chen & He 2021, section 4.1)."""
    std, first = seen.mean.get("std", math.inf), seen.start.get("std", 0.0)
    # a collapse that holds, holds
    recovers = seen.ease == 1.0 and math.isfinite(seen.growth) and _may_recover(seen)
    if std < seen.ease * STD_LOW and std < seen.ease * STD_FALL * first and not recovers:
        fall = f"their spread fell from {first:.2f} to {std:.3f} (isotropic is 1)"
        return seen.found("complete", "std", std, first, f"have collapsed to almost one point, {fall}")
    if std < seen.ease * STD_DEAD and seen.growth < STD_GROWTH:
        text = f"are almost one point and stay so, their spread is {std:.4f} (isotropic is 1)"
        return seen.found("complete", "std", std, 1.0, text)
    return None


def _may_recover(seen: Seen) -> bool:
    """Return whether a low spread may come back: it grows, or a term that can bring it back has had no time yet.

    First steps may move the mean of z far from 0, so that all directions are alike. An objective that only pulls views
    together does not undo that; one that also asks for spread may, and is given twice as many checks to let it grow.
    """
    if seen.spreads:
        return not seen.lasting or seen.growth > 1
    return seen.growth >= STD_GROWTH


def scale(seen: Seen) -> Finding | None:
    """Complete collapse: embeddings shrink to one point and keep their directions, where that solves the objective."""
    value, first = seen.mean.get("scale", math.inf), seen.start.get("scale", 0.0)
    if not seen.shrinks or not (value < seen.ease * SCALE_LOW and value < seen.ease * SCALE_FALL * first):
        return None
    text = (
        f"have shrunk to almost one point, which solves this objective: their scale, the standard deviation of a "
        f"dimension, fell from {first:.2g} to {value:.2g}"
    )
    return seen.found("complete", "scale", value, first, text)


def rank(seen: Seen) -> Finding | None:
    """Dimensional collapse: embeddings lie on a few lines."""
    value, first = seen.mean.get("effective_rank", math.inf), seen.start.get("effective_rank", 0.0)
    few = value < seen.ease * RANK_LOW and value < seen.ease * RANK_FALL * first
    unlearned = "agreement" in seen.mean and not seen.learned and not seen.spreads
    few = few or (unlearned and value < seen.ease * RANK_LOST * first)
    if not few and seen.limit > 1 and first > 1:
        entropy = math.log(max(value, 1.0))
        few = entropy < seen.ease * ENTROPY_LOW * math.log(seen.limit)
        few = few and entropy < seen.ease * ENTROPY_FALL * math.log(first)
    if not few:
        return None
    allow = f"this width and batch allow {seen.limit}"
    text = f"have collapsed onto few dimensions, their effective rank fell from {first:.3g} to {value:.1f} ({allow})"
    return seen.found("dimensional", "effective_rank", value, first, text)


def similarity(seen: Seen) -> Finding | None:
    """Complete collapse of outputs with BatchNorm: a few samples apart and all others together."""
    mean, start, ease = seen.mean, seen.start, seen.ease
    if "similarity_gap" not in mean or "random_similarity" not in start:
        return None
    gap, random = mean["similarity_gap"], mean["random_similarity"]
    apart, first = 1 - random, 1 - start["random_similarity"]
    if random < SIMILARITY_HIGH / ease or apart > ease * SPREAD_FALL * first or gap > ease * GAP_LOW * apart:
        return None
    text = (
        f"of views of different samples are as similar as those of the same one, cosine {random:.2f} against "
        f"{random + gap:.2f}, at the start {start['random_similarity']:.2f}"
    )
    return seen.found("complete", "similarity_gap", gap, start.get("similarity_gap", 0.0), text)


_TOKENS = {
    "token_std": "the tokens of a sample have become almost the same, their spread over its places",
    "sample_std": "tokens depend on little but their place, their spread over the samples",
}


def tokens(seen: Seen) -> Finding | None:
    """Token collapse, which no pooled embedding shows."""
    for metric, text in _TOKENS.items():
        value, first = seen.mean.get(metric, math.inf), seen.start.get(metric, 0.0)
        if value < seen.ease * TOKENS_LOW and value < seen.ease * TOKENS_FALL * first:
            told = f"{text} fell from {first:.2f} to {value:.3f} (isotropic is 1)"
            return Finding("tokens", "", metric, value, first, told)
    return None


def clusters(seen: Seen) -> Finding | None:
    """Cluster collapse of a softmax head: one cluster for all samples, or all clusters alike for each."""
    if "clusters" not in seen.mean or "clusters" not in seen.start:
        return None
    together, each = seen.mean["clusters"], seen.mean["clusters_each"]
    first = seen.start["clusters"]
    if together < 1 + seen.ease * (ONE_CLUSTER - 1) and together < seen.ease * first / 2:
        text = f"all samples are in one cluster: together they use {together:.2f} clusters, at the start {first:.1f}"
        return Finding("cluster", Z, "clusters", together, first, text)
    told, before = together / each, first / seen.start["clusters_each"]
    fell = told < 1 + seen.ease * (TOLD_APART - 1) and told - 1 < seen.ease * (before - 1) / 2
    late = seen.progress is not None and seen.progress >= STILL_AFTER
    if fell or (late and told < 1 + seen.ease * (STILL_ALIKE - 1)):
        text = (
            f"each sample is spread over the clusters as all are ({each:.1f} of {together:.1f}), so that its cluster "
            "says nothing about it"
        )
        return Finding("cluster", Z, "clusters_each", each, together, text)
    return None


def divergence(seen: Seen) -> Finding | None:
    """Divergence: weights that have grown far beyond those of the start."""
    grown = seen.mean.get("weight_norm", 0.0)
    if grown * seen.ease < GROWN:
        return None
    text = f"the training diverges: the encoder's weights have grown to {grown:.3g} times those of the start"
    return Finding("divergence", H, "weight_norm", grown, 1.0, text)


def vanishing(seen: Seen) -> Finding | None:
    """Complete collapse of the weights: weight decay has taken them away, and a norm hides it from the spread."""
    left = seen.mean.get("weight_norm", 1.0)
    if left >= seen.ease * SHRUNK:
        return None
    text = f"the encoder's weights have shrunk to {left:.2g} of those of the start, which leaves a norm with rounding"
    return Finding("complete", H, "weight_norm", left, 1.0, text)


def no_learning(seen: Seen) -> Finding | None:
    """No learning: weights that stay where they started."""
    change = seen.mean.get("weight_change", math.inf)
    if seen.progress is None or seen.progress < STILL_AFTER or change >= seen.ease * STILL:
        return None
    text = (
        f"the run stays where it started: after {seen.progress:.0%} of it the encoder's weights have changed by "
        f"{change:.1g} of their size"
    )
    return Finding("no learning", H, "weight_change", change, 1.0, text)


def apart(seen: Seen) -> Finding | None:
    """Members of a pair that never come together."""
    shared = seen.mean.get("across", math.inf)
    if seen.progress is None or seen.progress < APART_AFTER or shared >= seen.ease * APART:
        return None
    text = (
        f"the embeddings have nothing to do with those of the other members: after {seen.progress:.0%} of the run they "
        f"share {shared:.2f} of their variance (1 is all)"
    )
    return Finding("apart", Z, "across", shared, 1.0, text)


def drift(seen: Seen) -> Finding | None:
    """Drift away from good first weights: views of one sample are no longer told apart from others as they were."""
    now, first = seen.mean.get("agreement", math.inf), seen.start.get("agreement", 0.0)
    if not seen.given or seen.of != H or now >= seen.ease * DRIFT * first:
        return None
    text = (
        f"drift away from the weights that the run was given: two views of a sample share {now:.2f} of their variance, "
        f"at the start {first:.2f}"
    )
    return seen.found("drift", "agreement", now, first, text)


Rule = Callable[[Seen], Finding | None]
OF_BOTH: tuple[Rule, ...] = (spread, scale, rank, similarity, drift)
OF_THE_RUN: tuple[Rule, ...] = (divergence, clusters, tokens, apart, vanishing, no_learning)


def judge(seen: Seen) -> Iterator[Finding]:
    """Yield what the rules find, what is worst first: divergence, then z before h."""
    first, *rest = OF_THE_RUN
    judged = [first(seen), *(rule(seen) for rule in (*OF_BOTH, *rest))]
    if (features := seen.features) is not None:
        judged += [rule(features) for rule in OF_BOTH]
    yield from (finding for finding in judged if finding is not None)


def not_finite(metrics: Mapping[str, float]) -> Finding | None:
    """Return the finding that embeddings are not finite, or None."""
    own = {key: value for key, value in metrics.items() if not key.startswith("weight_")}
    broken = not all(map(math.isfinite, own.values()))
    share = min((value for key, value in own.items() if key in ("finite", "h.finite")), default=0.0 if broken else 1.0)
    if not broken and share == 1:
        return None
    text = f"the embeddings of {1 - share:.3g} of the samples are not finite (nan or infinity)"
    return Finding("non-finite", Z, "finite", share, 1.0, text)

"""Protocols of metrics without labels: of features, of several views of each sample, and of the features of places."""

import math
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from ssl_zoo.evaluation import label_free
from ssl_zoo.evaluation.augmented import AugmentedViews
from ssl_zoo.evaluation.contract import EvaluationProtocol, NotOffered
from ssl_zoo.evaluation.features import Features, Tokens, chosen
from ssl_zoo.registry import register
from ssl_zoo.rng import generator

METRICS: dict[str, Callable[[Tensor], float]] = {
    "std": label_free.normalised_std,
    "scale": label_free.scale,
    "effective_rank": label_free.effective_rank,
    "rankme": label_free.rankme,
    "alpha_req": label_free.alpha_req,
    "explained_variance_auc": label_free.explained_variance_auc,
    "idest": label_free.mst_dimension,
    "uniformity": label_free.uniformity,
    "mean_absolute_correlation": label_free.mean_absolute_correlation,
    "dead_dimensions": label_free.dead_dimensions,
}
"""Metrics of features `(N, D)` by name."""

Metric = Literal[
    "std",
    "scale",
    "effective_rank",
    "rankme",
    "alpha_req",
    "explained_variance_auc",
    "idest",
    "uniformity",
    "mean_absolute_correlation",
    "dead_dimensions",
]


def _finite(metrics: dict[str, float]) -> dict[str, float]:
    """Return metrics without those that are not defined of these features."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


@register("protocol", "label_free")
class LabelFree(EvaluationProtocol):
    """Metrics of the test features without labels, as they come from the encoder.

    `std` is `normalised_std` (1 = isotropic, 0 = constant); `effective_rank` counts directions and is not a fraction.
    All depend on the number of samples and on the layer: compare runs of one method at one setting. None tells whether
    an encoder is good; see `ssl_zoo.evaluation.label_free` for each. What is not defined of these features is left out.

    Args:
        samples: the most features that are used, drawn at random with a fixed seed.
        metrics: which; all by default.
    """

    needs_labels = False
    quality = ()

    def __init__(
        self,
        *,
        samples: Annotated[int, Field(ge=2)] = 10_000,
        metrics: Annotated[list[Metric], Field(min_length=1)] = list(METRICS),  # type: ignore[arg-type]  # noqa: B006
    ):
        self.samples, self.metrics = samples, metrics

    def __call__(self, train: Features, test: Features) -> dict[str, float]:
        """Return the metrics of `test.x`."""
        index = torch.randperm(len(test.x), generator=generator(0, "label_free"))[: self.samples].sort().values
        x = test.x[index.to(test.x.device)]
        return _finite({name: METRICS[name](x) for name in self.metrics})


@register("protocol", "label_free_views")
class LabelFreeViews(EvaluationProtocol):
    """LiDAR and alignment, which need several views of each sample, made as in training; no labels.

    `lidar` counts the directions in which samples differ more than views of one sample do; `alignment` is the mean
    squared distance of two views on the unit sphere. Both depend on the views.

    Args:
        samples: the most samples, drawn at random with a fixed seed.
        views: of each sample, for `lidar` (the paper has 50); each costs a pass over the samples.
        delta: what `lidar` adds to the variance within samples.
    """

    needs_labels = False
    needs_train = False
    sees = AugmentedViews

    def __init__(
        self,
        *,
        samples: Annotated[int, Field(ge=2)] = 1000,
        views: Annotated[int, Field(ge=2)] = 10,
        delta: Annotated[float, Field(gt=0)] = 1e-4,
    ):
        self.samples, self.views, self.delta = samples, views, delta

    def __call__(self, train: AugmentedViews, test: AugmentedViews) -> dict[str, float]:
        """Return {"lidar", "alignment"}."""
        x = test.features(self.samples, self.views)
        if len(x) < 2:
            raise NotOffered("fewer than two samples have views")
        return {"lidar": label_free.lidar(x, self.delta), "alignment": label_free.alignment(x[:, 0], x[:, 1])}


@register("protocol", "label_free_tokens")
class LabelFreeTokens(EvaluationProtocol):
    """DSE, the structure of the features of places, for dense tasks; encoders with `tokens(view)`, no labels.

    `dse` is `separation` of clusters minus their `radius` plus `dimension`. It compares checkpoints of one run.

    Args:
        samples: the most samples, drawn at random with a fixed seed.
        together: samples whose places are clustered together.
        local_clusters: clusters in one sample.
        global_clusters: clusters in samples together.
    """

    needs_labels = False
    needs_train = False
    sees = Tokens

    def __init__(
        self,
        *,
        samples: Annotated[int, Field(ge=2)] = 256,
        together: Annotated[int, Field(ge=2)] = 8,
        local_clusters: Annotated[int, Field(ge=2)] = 3,
        global_clusters: Annotated[int, Field(ge=2)] = 24,
    ):
        self.samples, self.together = samples, together
        self.clusters = (local_clusters, global_clusters)

    def __call__(self, train: Tokens, test: Tokens) -> dict[str, float]:
        """Return {"dse", "separation", "radius", "dimension"}."""
        x = test.x[chosen(len(test), self.samples).to(test.x.device)]
        found = label_free.dense_structure(x, self.together, *self.clusters)
        if not found:
            raise NotOffered("samples have fewer places than clusters, or all places have the same features")
        return found

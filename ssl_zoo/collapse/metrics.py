"""Label-free metrics of embeddings: spread, scale, effective rank, similarity; of clusters; and the spread of tokens.

All statistics are computed in fp32 or better, whatever the precision of the embeddings. Zero vectors stay zero when
they are normalised; embeddings that are all the same have spread 0 and effective rank 0.

What begins with `defer_` computes on the device and leaves the rest to whoever reads the numbers, see
`ssl_zoo.collapse.readback`; so all metrics of a check are read at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_zoo.collapse.moments import RANK_ROWS as RANK_ROWS
from ssl_zoo.collapse.moments import Moments, head_rows, moments, rank_of, smaller_gram, views_at_once
from ssl_zoo.collapse.readback import Deferred, Values, read


def normalised_std(z: Tensor) -> float:
    """Return the spread of the directions: 0 for a constant, about 1 for an isotropic Gaussian.

    The (biased) standard deviation over the batch of z/|z| in each dimension, averaged over the dimensions and
    multiplied by sqrt(D), since an isotropic z has 1/sqrt(D) (Chen & He 2021, arXiv 2011.10566, section 4.1). It does
    not see a collapse onto few dimensions; `effective_rank` does.

    Args:
        z: embeddings `(B, D)`.

    Returns:
        A number in [0, 1].
    """
    return F.normalize(z.double(), dim=1).std(dim=0, correction=0).mean().item() * z.shape[1] ** 0.5


def effective_rank(z: Tensor) -> float:
    """Return exp(-sum_k p_k log p_k) with p_k = sigma_k / sum sigma (Roy & Vetterli 2007, definition 1).

    sigma are the singular values of the centred z (RankMe, arXiv 2210.02885, does not centre: its values are not
    comparable). There is no epsilon in p; a singular value below fp32's rounding of z,
    1.2e-7 |z|, counts as 0, so that what rounding leaves of a constant has no rank.

    Args:
        z: embeddings `(B, D)`, not normalised.

    Returns:
        A number in [1, min(B - 1, D)]; 0 if all rows are the same, nan if z is not finite.
    """
    z = z.double()
    centred = z - z.mean(dim=0)
    gram = smaller_gram(centred)
    return rank_of(gram, z.square().sum().item()) if gram.isfinite().all() else float("nan")


def scale(z: Tensor) -> float:
    """Return the root mean square of the dimensions' (biased) standard deviations, in the units of z itself.

    The only metric here that detects all embeddings shrinking together: the others are about directions and ratios.

    Args:
        z: embeddings `(B, D)`, not normalised.

    Returns:
        A number from 0; not finite if z is not.
    """
    return z.double().var(dim=0, correction=0).mean().sqrt().item()


def positive_similarity(z1: Tensor, z2: Tensor) -> float:
    """Return the mean cosine of matching rows, two views of one sample; both `(B, D)`."""
    return _of_two(z1, z2)["positive_similarity"]


def random_similarity(z1: Tensor, z2: Tensor) -> float:
    """Return the mean cosine of rows that do not match, over all B (B - 1) of them; both `(B, D)`, B >= 2."""
    return _of_two(z1, z2)["random_similarity"]


def agreement(z1: Tensor, z2: Tensor) -> float:
    """Return the part of the variance that two views `(B, D)` of the same samples share.

    tr C12 / sqrt(tr C11 tr C22), with the (cross-)covariances over the batch: 1 where the views are equal up to a shift
    and a factor, 0 where they have nothing to do with each other, whatever the scale and the mean; 0 for a constant.
    """
    return _of_two(z1, z2)["agreement"]


PAIRS = ("random_similarity", "positive_similarity", "agreement")
"""Metrics of two views."""


def _of_two(z1: Tensor, z2: Tensor) -> Values:
    found = moments([steps(z1), steps(z2)], [range(2)])
    table = Table(Moments(*(x.double().cpu() for x in found.tensors)), (1, *z1.shape))
    return {name: values[0, 1].item() for name, values in table.pairs.items()}


def steps(z: Tensor) -> Tensor:
    """Return embeddings `(n, B, D)`: of one step, n is 1."""
    return z if z.ndim == 3 else z[None]


class Table:
    """The metrics of views and of all their pairs, on the host.

    Args:
        found: their moments, on the host.
        shape: of the embeddings of a view `(n, B, D)`.

    Attributes:
        std: of each view `(V,)`.
        scale: of each view.
        finite: whether each view is finite.
        pairs: the metrics `PAIRS` of each two views, `(V, V)`.
    """

    def __init__(self, found: Moments, shape: Sequence[int]):
        num_steps, rows, width = shape
        few, correction, num = head_rows(num_steps, rows), int(num_steps > 1), num_steps * rows
        self._found = found
        units, totals, centred, off, head, head_off, std, finite = (x.numpy() for x in found.tensors[:8])
        self.std = std * (width / (num_steps * (rows - correction))) ** 0.5
        self.finite = finite == 1
        with np.errstate(all="ignore"):  # what is not finite stays so, and is not reported
            variance = (head - head_off / few).diagonal() / (num_steps * (few - correction) * width)
            self.scale = np.sqrt(variance.clip(min=0))
            shared = centred - off / rows
            size = shared.diagonal().clip(min=0)
            shared = shared / np.sqrt(size[:, None] * size).clip(min=np.finfo(np.float64).tiny)
            # The sum over all pairs of samples is the product of the sums: no (B, B) matrix is needed.
            random = (totals - units) / (num * (rows - 1))
        self.pairs = dict(zip(PAIRS, (random, units / num, shared), strict=True))

    def metrics(self, group: int, views: range) -> Values:
        """Return what `embedding_metrics` returns, of some of the views: those of a group of the moments."""
        share = self._found.all_finite[group].item()
        if share < 1:
            return {"finite": share}
        one, other = views.start, slice(views.start, views.stop)
        metrics = {
            "std": self.std[other].mean().item(),
            "scale": self.scale[other].mean().item(),
            "effective_rank": rank_of(self._found.grams[group], self._found.sizes[group].item()),
        }
        if len(views) == 1:
            metrics["random_similarity"] = self.pairs["random_similarity"][one, one].item()
        else:
            above = _above(len(views))
            metrics |= {name: values[other, other][above].mean().item() for name, values in self.pairs.items()}
        if not all(map(math.isfinite, metrics.values())):
            return {"finite": 1.0}
        if len(views) > 1:
            metrics["similarity_gap"] = metrics["positive_similarity"] - metrics["random_similarity"]
        return metrics


@lru_cache(maxsize=8)
def _above(num: int) -> tuple[Any, Any]:
    """Return the indices above the diagonal of a matrix of `num` rows."""
    return np.triu_indices(num, 1)


def embedding_metrics(z: Sequence[Tensor]) -> Values:
    """Return the label-free metrics of one batch, or of several, which the collapse guard judges.

    Args:
        z: embeddings `(B, D)` of each view of the batch, in the same order of samples; or `(n, B, D)` of n steps. Each
            step is then centred by itself, so that a network that moves does not look like spread, and variances are
            unbiased, as small batches need.

    Returns:
        `std` and `scale`, averaged over the views, and `effective_rank`, of the first view (the latter two of the first
        256 rows); `random_similarity`, and with two views or more `positive_similarity`, `similarity_gap` (positive
        minus random) and `agreement`, averaged over the pairs of views. Where some embeddings are not finite, `finite`
        alone: the share of the samples whose embeddings are. Empty for a batch of one sample.
    """
    return read(defer_embeddings(z))


def defer_embeddings(z: Sequence[Tensor]) -> Deferred:
    """Compute what `embedding_metrics` needs from the device; it returns what `finish` returns."""
    z = [steps(x) for x in z]
    if z[0].shape[1] < 2:
        return defer_of_one(z)
    return _deferred(moments(z, [range(len(z))]), z)


def defer_two(z: Sequence[Tensor], h: Sequence[Tensor]) -> tuple[Deferred, Deferred]:
    """Return `defer_embeddings` of z and that of h, computed in one pass where they are alike."""
    z, h = [steps(x) for x in z], [steps(x) for x in h]
    if len({(x.shape, x.dtype) for x in [*z, *h]}) > 1 or z[0].shape[1] < 2:
        return defer_embeddings(z), defer_embeddings(h)
    each = (range(len(z)), range(len(z), len(z) + len(h)))
    found = moments([*z, *h], each)
    one, two = (found.part(views, group) for group, views in enumerate(each))
    return _deferred(one, z), _deferred(two, h)


def _deferred(found: Moments, z: Sequence[Tensor]) -> Deferred:
    shape, views = z[0].shape, range(len(z))
    return Deferred(found.tensors, lambda got: Table(Moments(*got), shape).metrics(0, views))


def defer_of_one(z: Sequence[Tensor]) -> Deferred:
    """Return the metrics of batches of one sample: none, or `finite`, 0, where one is not finite."""
    finite = torch.stack([x.isfinite().all() for x in z]).all()
    return Deferred([finite], lambda got: {} if got[0] else {"finite": 0.0})


def cluster_metrics(z: Sequence[Tensor], temperature: float) -> Values:
    """Return how many clusters are in use, of z that are scores of clusters.

    With p = softmax(z / temperature) of each sample and H the entropy in nats:

    Args:
        z: scores `(B, K)` of each view, or `(n, B, K)`, those of n steps.
        temperature: of the softmax.

    Returns:
        `clusters`, exp H(mean p), the number of clusters that the samples use together, in [1, K]; `clusters_each`, exp
        mean H(p), the number that a sample is spread over, in [1, `clusters`]. If they are equal, a sample's cluster
        says nothing about it. Empty where a score is not finite.
    """
    return read(defer_clusters(z, temperature))


@torch.no_grad()
def defer_clusters(z: Sequence[Tensor], temperature: float) -> Deferred:
    """Compute what `cluster_metrics` needs from the device."""
    together, each = [], []
    for views in views_at_once(z):
        p = (torch.stack(list(views)).float() / temperature).softmax(dim=-1).flatten(1, -2).double()  # (V, rows, K)
        together.append(torch.special.entr(p.mean(dim=1)).sum(dim=1))
        each.append(torch.special.entr(p).sum(dim=(1, 2)) / p.shape[1])

    def finish(got: list[Tensor]) -> Values:
        found = {"clusters": got[0].mean().exp().item(), "clusters_each": got[1].mean().exp().item()}
        return found if all(map(math.isfinite, found.values())) else {}

    return Deferred([torch.cat(together), torch.cat(each)], finish)


@torch.no_grad()
def token_moments(tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the means over the samples that `token_metrics` is made of; of several processes, average them.

    Args:
        tokens: embeddings of the places of a view, `(B, N, D)`.

    Returns:
        The spread over the places of a sample `()`; the directions `(N, D)`, and their squares, in float64.
    """
    unit = F.normalize(tokens.double(), dim=2)
    within = unit.std(dim=1, correction=0).mean() * tokens.shape[2] ** 0.5
    return within, unit.mean(dim=0), unit.square().mean(dim=0)


def token_metrics(moments: Sequence[Sequence[Tensor]]) -> Values:
    """Return the spread of tokens, from the moments of each view: 0 for a constant, about 1 for isotropic directions.

    Both are `normalised_std`, averaged over the views: `token_std` over the places of a sample, 0 where all tokens of a
    sample are the same; `sample_std` over the samples at a place, 0 where tokens depend on nothing but their place.
    """
    return read(defer_tokens(moments))


@torch.no_grad()
def defer_tokens(moments: Sequence[Sequence[Tensor]]) -> Deferred:
    """Compute what `token_metrics` needs from the device."""
    within, between = [], []
    for spread, mean, square in moments:
        within.append(spread)
        deviation = (square - mean.square()).clamp_min(0).sqrt()
        between.append(deviation.mean() * mean.shape[1] ** 0.5)
    both = [torch.stack(within).mean(), torch.stack(between).mean()]
    return Deferred(both, lambda got: {"token_std": got[0].item(), "sample_std": got[1].item()})

"""Label-free metrics of embeddings: spread, scale, effective rank, similarity; of clusters; and the spread of tokens.

All statistics are computed in fp32 or better, whatever the precision of the embeddings. Zero vectors stay zero when
they are normalised; embeddings that are all the same have spread 0 and effective rank 0.

The metrics of a check are read from the device once, all together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

RANK_ROWS = 256
"""Rows of a batch that `embedding_metrics` uses for scale and effective rank, so that their cost is bounded."""


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
    return _std(z[None]).item()


def _std(z: Tensor) -> Tensor:
    """Return the spread of the directions of z `(n, B, D)` within each of n batches."""
    unit = F.normalize(z.float(), dim=2)
    spread = unit.std(dim=1, correction=0) if len(z) == 1 else unit.var(dim=1).mean(dim=0).sqrt()
    return spread.mean() * z.shape[2] ** 0.5


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
    return _rank(z[None]).item() if z.isfinite().all() else float("nan")


def _rank(z: Tensor) -> Tensor:
    """Return the effective rank of z `(n, B, D)`, each of n batches centred by itself; 0 if nothing is left."""
    z = z.double()
    centred = (z - z.mean(dim=1, keepdim=True)).flatten(0, 1)
    gram = centred @ centred.T if centred.shape[0] < centred.shape[1] else centred.T @ centred
    sigma = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()
    sigma = sigma.where(sigma > torch.finfo(torch.float32).eps * z.norm(), 0)
    p = sigma / sigma.sum().clamp_min(torch.finfo(torch.float64).tiny)
    return torch.special.entr(p).sum().exp() * (sigma.sum() > 0)


def scale(z: Tensor) -> float:
    """Return the root mean square of the dimensions' (biased) standard deviations, in the units of z itself.

    The only metric here that detects all embeddings shrinking together: the others are about directions and ratios.

    Args:
        z: embeddings `(B, D)`, not normalised.

    Returns:
        A number from 0; not finite if z is not.
    """
    return _scale(z[None]).item()


def _scale(z: Tensor) -> Tensor:
    return z.double().var(dim=1, correction=0 if len(z) == 1 else 1).mean().sqrt()


def positive_similarity(z1: Tensor, z2: Tensor) -> float:
    """Return the mean cosine of matching rows, two views of one sample; both `(B, D)`."""
    return _positive(_steps(z1), _steps(z2)).item()


def _positive(z1: Tensor, z2: Tensor) -> Tensor:
    return (F.normalize(z1.float(), dim=2) * F.normalize(z2.float(), dim=2)).sum(dim=2).mean()


def random_similarity(z1: Tensor, z2: Tensor) -> float:
    """Return the mean cosine of rows that do not match, over all B (B - 1) of them; both `(B, D)`, B >= 2."""
    return _random(_steps(z1), _steps(z2)).item()


def _random(z1: Tensor, z2: Tensor) -> Tensor:
    u1, u2 = F.normalize(z1.double(), dim=2), F.normalize(z2.double(), dim=2)
    num = u1.shape[1]
    # The sum over all pairs is the product of the sums: no (B, B) matrix is needed.
    every = (u1.sum(dim=1) * u2.sum(dim=1)).sum(dim=1) - (u1 * u2).sum(dim=(1, 2))
    return (every / (num * (num - 1))).mean()


def agreement(z1: Tensor, z2: Tensor) -> float:
    """Return the part of the variance that two views `(B, D)` of the same samples share.

    tr C12 / sqrt(tr C11 tr C22), with the (cross-)covariances over the batch: 1 where the views are equal up to a shift
    and a factor, 0 where they have nothing to do with each other, whatever the scale and the mean; 0 for a constant.
    """
    return _agreement(_steps(z1), _steps(z2)).item()


def _agreement(z1: Tensor, z2: Tensor) -> Tensor:
    a, b = (x.double() - x.double().mean(dim=1, keepdim=True) for x in (z1, z2))
    size = (a.square().sum() * b.square().sum()).sqrt()
    return (a * b).sum() / size.clamp_min(torch.finfo(torch.float64).tiny)


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean()


def _steps(z: Tensor) -> Tensor:
    """Return embeddings `(n, B, D)`: of one step, n is 1."""
    return z if z.ndim == 3 else z[None]


def numbers(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Return scalars on the device as numbers, which waits for the device once."""
    return dict(zip(values, torch.stack([x.double() for x in values.values()]).tolist(), strict=True))


@torch.no_grad()
def embedding_metrics(z: Sequence[Tensor]) -> dict[str, float]:
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
    z = [_steps(x) for x in z]
    if z[0].shape[1] < 2:
        return {} if all(x.isfinite().all() for x in z) else {"finite": 0.0}
    pairs = list(combinations(z, 2)) or [(z[0], z[0])]
    few = max(2, RANK_ROWS // len(z[0]))
    finite = torch.stack([x.isfinite().all(dim=2) for x in z]).all(dim=0)
    first = z[0][:, :few]
    values = {
        "finite": finite.float().mean(),
        "std": _mean([_std(x) for x in z]),
        "scale": _mean([_scale(x[:, :few]) for x in z]),
        "effective_rank": _rank(first.where(first.isfinite(), 0)),  # eigenvalues of infinities raise
        "random_similarity": _mean([_random(a, b) for a, b in pairs]),
    }
    if len(z) > 1:
        values["positive_similarity"] = _mean([_positive(a, b) for a, b in pairs])
        values["agreement"] = _mean([_agreement(a, b) for a, b in pairs])
    metrics = numbers(values)
    share = metrics.pop("finite")
    if share < 1 or not all(map(math.isfinite, metrics.values())):
        return {"finite": share}
    if len(z) > 1:
        metrics["similarity_gap"] = metrics["positive_similarity"] - metrics["random_similarity"]
    return metrics


@torch.no_grad()
def cluster_metrics(z: Sequence[Tensor], temperature: float) -> dict[str, float]:
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
    p = torch.stack([(x.float() / temperature).softmax(dim=-1).flatten(0, -2) for x in z]).double()  # (V, rows, K)
    together = torch.special.entr(p.mean(dim=1)).sum(dim=1).mean().exp()
    each = torch.special.entr(p).sum(dim=2).mean().exp()
    found = numbers({"clusters": together, "clusters_each": each})
    return found if all(map(math.isfinite, found.values())) else {}


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


def token_metrics(moments: Sequence[Sequence[Tensor]]) -> dict[str, float]:
    """Return the spread of tokens, from the moments of each view: 0 for a constant, about 1 for isotropic directions.

    Both are `normalised_std`, averaged over the views: `token_std` over the places of a sample, 0 where all tokens of a
    sample are the same; `sample_std` over the samples at a place, 0 where tokens depend on nothing but their place.
    """
    within, between = [], []
    for spread, mean, square in moments:
        within.append(spread)
        deviation = (square - mean.square()).clamp_min(0).sqrt()
        between.append(deviation.mean() * mean.shape[1] ** 0.5)
    return numbers({"token_std": _mean(within), "sample_std": _mean(between)})

"""Label-free metrics of embeddings: spread, scale, effective rank, similarity; and the spread of tokens.

All statistics are computed in fp32 or better, whatever the precision of the embeddings. Zero vectors stay zero when
they are normalised; embeddings that are all the same have spread 0 and effective rank 0.
"""

import math
from collections.abc import Sequence
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

RANK_ROWS = 512
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
    unit = F.normalize(z.float(), dim=1)
    return unit.std(dim=0, correction=0).mean().item() * z.shape[1] ** 0.5


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
    if not z.isfinite().all():
        return float("nan")
    centred = z - z.mean(dim=0)
    gram = centred @ centred.T if z.shape[0] < z.shape[1] else centred.T @ centred
    sigma = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()
    sigma = sigma[sigma > torch.finfo(torch.float32).eps * z.norm()]
    if not len(sigma):
        return 0.0
    p = sigma / sigma.sum()
    return torch.special.entr(p).sum().exp().item()


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
    return (F.normalize(z1.float(), dim=1) * F.normalize(z2.float(), dim=1)).sum(dim=1).mean().item()


def random_similarity(z1: Tensor, z2: Tensor) -> float:
    """Return the mean cosine of rows that do not match, over all B (B - 1) of them; both `(B, D)`, B >= 2."""
    u1, u2 = F.normalize(z1.double(), dim=1), F.normalize(z2.double(), dim=1)
    num = len(u1)
    # The sum over all pairs is the product of the sums: no (B, B) matrix is needed.
    return ((u1.sum(dim=0) @ u2.sum(dim=0) - (u1 * u2).sum()) / (num * (num - 1))).item()


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


@torch.no_grad()
def embedding_metrics(z: Sequence[Tensor]) -> dict[str, float]:
    """Return the label-free metrics of one batch, which the collapse guard judges.

    Args:
        z: embeddings `(B, D)` of each view of the batch, in the same order of samples.

    Returns:
        `std`, `scale` and `effective_rank` (the latter two of the first 512 rows), averaged over the views;
        `random_similarity`, and with two views or more `positive_similarity` and `similarity_gap` (positive minus
        random), averaged over the pairs of views. Where some embeddings are not finite, `finite` alone: the share of
        the samples whose embeddings are. Empty for a batch of one sample.
    """
    if len(z[0]) < 2:
        return {} if all(x.isfinite().all() for x in z) else {"finite": 0.0}
    pairs = list(combinations(z, 2)) or [(z[0], z[0])]
    metrics = {
        "std": _mean([normalised_std(x) for x in z]),
        "scale": _mean([scale(x[:RANK_ROWS]) for x in z]),
        "effective_rank": _mean([effective_rank(x[:RANK_ROWS]) for x in z]),
        "random_similarity": _mean([random_similarity(a, b) for a, b in pairs]),
    }
    if len(z) > 1:
        metrics["positive_similarity"] = _mean([positive_similarity(a, b) for a, b in pairs])
        metrics["similarity_gap"] = metrics["positive_similarity"] - metrics["random_similarity"]
    if not all(map(math.isfinite, metrics.values())):
        finite = torch.stack([x.isfinite().all(dim=1) for x in z]).all(dim=0)
        return {"finite": finite.float().mean().item()}
    return metrics


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
        within.append(spread.item())
        deviation = (square - mean.square()).clamp_min(0).sqrt()
        between.append(deviation.mean().item() * mean.shape[1] ** 0.5)
    return {"token_std": _mean(within), "sample_std": _mean(between)}

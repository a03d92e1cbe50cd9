"""What can be said of embeddings without labels: spread, scale, rank, similarity; and the protocol `label_free`.

All statistics are computed in fp32 or better, whatever the precision of the embeddings. Zero vectors stay zero when
they are normalised; embeddings that are all the same have spread 0 and effective rank 0.
"""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ssl_zoo.evaluation.contract import EvaluationProtocol
from ssl_zoo.evaluation.features import Features
from ssl_zoo.registry import register
from ssl_zoo.rng import generator

RANK_ROWS = 512
"""How many rows of a batch `health` takes for the effective rank: a fixed depth, and a bound on its cost."""


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

    sigma are the singular values of z with the mean of each dimension taken off (RankMe, arXiv 2210.02885, does not
    centre: its values are not comparable). There is no epsilon in p; a singular value below fp32's rounding of z,
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

    It is the only number here that sees all embeddings shrink together: the others look at directions and ratios.

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
def health(z: Sequence[Tensor]) -> dict[str, float]:
    """Return the label-free metrics of one batch: what the collapse guard judges.

    Args:
        z: embeddings `(B, D)` of each view of the batch, in the same order of samples.

    Returns:
        `std`, `scale` and `effective_rank` (the latter two of the first 512 rows), averaged over the views;
        `random_similarity`, and with two views or more `positive_similarity` and `similarity_gap` (positive minus
        random), averaged over the pairs of views. Where embeddings are not finite nothing else means anything, and it
        is `finite` alone: the share of the samples whose embeddings are. Empty for a batch of one sample, of which
        nothing can be said.
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


@register("protocol", "label_free")
class LabelFree(EvaluationProtocol):
    """Spread and effective rank of the test features, as they come from the encoder (no labels needed).

    `std` is `normalised_std` (1 = isotropic, 0 = constant); `effective_rank` counts directions and is no fraction. Both
    depend on the number of samples and on the layer: compare runs of one method at one setting.

    Args:
        samples: at most so many features are taken, drawn at random with a fixed seed.
    """

    needs_labels = False

    def __init__(self, *, samples: Annotated[int, Field(ge=2)] = 10_000):
        self.samples = samples

    def __call__(self, train: Features, test: Features) -> dict[str, float]:
        """Return {"std", "effective_rank"} of `test.x`."""
        chosen = torch.randperm(len(test.x), generator=generator(0, "label_free"))[: self.samples].sort().values
        x = test.x[chosen.to(test.x.device)]
        return {"std": normalised_std(x), "effective_rank": effective_rank(x)}

"""DSE: the structure of the features of places, for dense tasks such as segmentation."""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_zoo.evaluation.label_free.spectrum import entropy_rank, singular_values

Array = npt.NDArray[np.float64]


def dense_structure(
    tokens: Tensor, together: int = 8, local_clusters: int = 3, global_clusters: int = 24, seed: int = 0
) -> dict[str, float]:
    """Return the Dense representation Structure Estimator (Dai et al. 2025, arXiv 2510.17299) and its three parts.

    DSE = separation - radius + dimension, of tokens of unit length (definitions of section 4 as in the authors' code):

    - `separation`: k-means finds clusters in the tokens of a few samples together, which stand for classes; the mean
      distance of a token to the nearest centre of another cluster, over the mean distance of tokens to their mean;
    - `radius`: the nuclear norm of a centred cluster of n tokens over sqrt(max(n - 1, D)), over the same distance; the
      mean over clusters within a sample and over those of samples together, half each;
    - `dimension`: exp of the entropy of the singular values of tokens, one of each sample, over the most there can be.

    Higher is better. The authors choose the checkpoint of a run for segmentation by it, where rank metrics of the whole
    sample may point the wrong way, and weigh the parts by their spread over the checkpoints; here they are added as
    they are. It compares checkpoints of one run, on the same samples. It is of dense tasks: for classification there is
    no claim.

    Args:
        tokens: features of places `(N, T, D)`.
        together: samples whose tokens are clustered together.
        local_clusters: in one sample.
        global_clusters: in samples together.
        seed: of k-means, and of the order of places in `dimension`.

    Returns:
        {"dse", "separation", "radius", "dimension"}; empty where a sample has fewer places than `local_clusters`, or
        all tokens are the same.
    """
    num, places, _ = tokens.shape
    unit = F.normalize(tokens.double(), dim=2).cpu()
    spread = (unit - unit.mean(dim=(0, 1))).norm(dim=2).mean().item()
    if places <= local_clusters or num * places <= global_clusters or spread <= torch.finfo(torch.float32).eps:
        return {}
    local = [radius for sample in unit.numpy() for radius in _clusters(sample, local_clusters, seed)[0]]
    wide, separations = [], []
    for part in unit.split(together):
        if part.shape[0] * places > global_clusters:
            radii, separation = _clusters(part.flatten(0, 1).numpy(), global_clusters, seed)
            wide += radii
            separations.append(separation)
    if not local or not wide:
        return {}
    found = {
        "separation": float(np.mean(separations)) / spread,
        "radius": (float(np.mean(local)) + float(np.mean(wide))) / 2 / spread,
        "dimension": _dimension(unit, seed),
    }
    return {"dse": found["separation"] - found["radius"] + found["dimension"], **found}


def _clusters(points: Array, num: int, seed: int) -> tuple[list[float], float]:
    """Return the radius of each cluster of points `(n, D)`, and the mean distance to the nearest other centre."""
    from sklearn.cluster import KMeans

    num = min(num, len(np.unique(points.round(6), axis=0)))
    fitted = KMeans(num, n_init=1, random_state=seed).fit(points)
    radii = []
    for label in range(num):
        own = torch.from_numpy(points[fitted.labels_ == label])
        if len(own) > 1:
            sigma = singular_values(own - own.mean(dim=0))
            radii.append(sigma.sum().item() / max(len(own) - 1, own.shape[1]) ** 0.5)
    distances = fitted.transform(points)
    distances[np.arange(len(points)), fitted.labels_] = np.inf
    return radii, float(distances.min(axis=1).mean()) if num > 1 else 0.0


def _dimension(unit: Tensor, seed: int) -> float:
    """Return the effective rank of tokens of different samples, a share of the most, mean over the places.

    The places of each sample are shuffled first, so that a place is not the same one in all samples.
    """
    source = torch.Generator().manual_seed(seed)
    order = torch.rand(unit.shape[:2], generator=source).argsort(dim=1)
    mixed = unit.gather(1, order[:, :, None].expand_as(unit))
    most = min(unit.shape[0], unit.shape[2])
    return sum(entropy_rank(singular_values(part), 1e-12) for part in mixed.unbind(1)) / unit.shape[1] / most

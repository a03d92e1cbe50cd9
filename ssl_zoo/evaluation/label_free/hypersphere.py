"""Alignment and uniformity of features on the unit sphere (Wang & Isola 2020, arXiv 2005.10242)."""

import torch.nn.functional as F
from torch import Tensor

SAMPLES = 2000
"""The most samples of uniformity, whose cost grows with their square."""


def alignment(one: Tensor, other: Tensor, power: float = 2.0) -> float:
    """Return the mean distance, to a power, of two views of a sample on the unit sphere (section 4.1.1).

    mean |u_i - v_i|^power. Lower is closer; a constant encoder has 0, so read it beside `uniformity`. It compares
    encoders on the same views.

    Args:
        one: features `(N, D)` of a view of each sample.
        other: those of another view.
        power: alpha of the paper.

    Returns:
        A number from 0 to 2^power.
    """
    distance = (F.normalize(one.double(), dim=1) - F.normalize(other.double(), dim=1)).norm(dim=1)
    return distance.pow(power).mean().item()


def uniformity(z: Tensor, t: float = 2.0, samples: int = SAMPLES) -> float:
    """Return how evenly features cover the unit sphere: log mean exp(-t |u_i - u_j|^2) over i < j (section 4.1.2).

    Lower is more even. It does not see a collapse onto some of many dimensions, and a mean that all features share
    dominates it: features after a ReLU are in one orthant.

    Args:
        z: features `(N, D)`, N >= 2.
        t: the width of the kernel.
        samples: the first so many are used.

    Returns:
        A number from -4t, which no more than two points reach, to 0, a constant.
    """
    unit = F.normalize(z[:samples].double(), dim=1)
    return F.pdist(unit).square().mul(-t).exp().mean().log().item()

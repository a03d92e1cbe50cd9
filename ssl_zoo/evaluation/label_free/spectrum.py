"""Metrics of the spectrum of features: RankMe, alpha-ReQ and the area under the cumulative explained variance.

The spectra are computed in double precision from the smaller of the two Gram matrices.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-7


def singular_values(z: Tensor) -> Tensor:
    """Return the singular values of `z` `(N, D)`, min(N, D) of them, descending, in double precision."""
    z = z.double()
    gram = z @ z.T if z.shape[0] < z.shape[1] else z.T @ z
    return torch.linalg.eigvalsh(gram).flip(0).clamp_min(0).sqrt()


def entropy_rank(values: Tensor, eps: float) -> float:
    """Return exp of the entropy of p = values / their sum + eps; `values` are not negative, and not all 0."""
    p = values / values.sum() + eps
    return torch.special.entr(p).sum().exp().item()


def rankme(z: Tensor, eps: float = EPS) -> float:
    """Return RankMe, a smooth count of the directions that features use.

    exp(-sum_k p_k log p_k) with p_k = sigma_k / |sigma|_1 + eps, sigma the singular values of z, not centred (Garrido
    et al. 2023, arXiv 2210.02885, equations 1 and 2). `effective_rank` is the same without eps, of centred features: of
    features with a large mean, such as those after a ReLU, it is much larger.

    It compares runs of one method that differ in hyper-parameters, on the same samples (the paper: 25,600) and layer.
    It does not compare methods, widths, or numbers of samples, and a high one is necessary for a good encoder, not
    sufficient. On dense tasks it may point the wrong way (arXiv 2510.17299).

    Args:
        z: features `(N, D)`.
        eps: added to each p_k.

    Returns:
        A number from 1, of features in one direction, to min(N, D); 0 where all features are 0.
    """
    sigma = singular_values(z)
    return entropy_rank(sigma, eps) if sigma.sum() > 0 else 0.0


def alpha_req(z: Tensor, first: int = 3, last: int = 100) -> float:
    """Return alpha-ReQ, the exponent with which the eigenvalues of the features' covariance fall off.

    lambda_j proportional to j^-alpha: minus the slope of a least-squares line through (log j, log lambda_j), j from 1
    (Agrawal et al. 2022, arXiv 2202.05808, section 3). The paper finds the best encoders near 1: lower is a spectrum
    that is flatter, such as noise, higher one that few directions dominate. The range of j is a choice that the number
    depends on: here from the third eigenvalue to the hundredth, or to the last above fp32's rounding.

    It compares as `rankme` does; a better encoder is nearer to 1, not higher. It means little where the spectrum is no
    power law, as after a collapse onto a few dimensions.

    Args:
        z: features `(N, D)`.
        first: the first j that is fitted.
        last: the last one.

    Returns:
        A number, 0 for a flat spectrum; nan where fewer than 3 eigenvalues are in the range.
    """
    sigma = singular_values(z.double() - z.double().mean(dim=0))
    num = int((sigma > torch.finfo(torch.float32).eps * z.double().norm()).sum())
    eigenvalues = sigma[first - 1 : min(last, num)].square()
    if len(eigenvalues) < 3:
        return float("nan")
    j = torch.arange(first, first + len(eigenvalues), dtype=torch.float64, device=z.device).log()
    log = eigenvalues.log()
    j = j - j.mean()
    return -((j * (log - log.mean())).sum() / j.square().sum()).item()


def explained_variance_auc(z: Tensor) -> float:
    """Return the area under the curve of cumulative explained variance: how few directions hold the features.

    (1 / D) sum_k (sum_{j <= k} sigma_j / sum_j sigma_j), sigma the singular values, descending, of the features of unit
    length, centred (Li, Efros & Pathak 2022, arXiv 2209.15007, section 4: partial dimensional collapse of SimSiam; the
    authors' code sums singular values, not their squares). For N < D the D - N missing ones count as 0.

    The paper forecasts accuracy with it across sizes of encoders and of data for SimSiam; lower is better. It compares
    encoders of one width, on the same samples.

    Args:
        z: features `(N, D)`.

    Returns:
        A number from (D + 1) / 2D, all directions alike, to 1, one direction; 1 where all features are the same.
    """
    unit = F.normalize(z.double(), dim=1)
    sigma = singular_values(unit - unit.mean(dim=0))
    if sigma.sum() <= torch.finfo(torch.float32).eps * len(z) ** 0.5:
        return 1.0
    share = (sigma.cumsum(0) / sigma.sum()).sum() + max(0, z.shape[1] - len(sigma))
    return (share / z.shape[1]).item()

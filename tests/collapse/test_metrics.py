"""Label-free metrics on embeddings whose values are known by construction."""

import math

import pytest
import torch
import torch.nn.functional as F

from ssl_zoo.collapse.metrics import (
    effective_rank,
    embedding_metrics,
    normalised_std,
    positive_similarity,
    random_similarity,
    scale,
)


def gaussian(num, dim, seed=0):
    return torch.randn(num, dim, generator=torch.Generator().manual_seed(seed))


def with_spectrum(sigma, num=50, seed=0):
    """Centred `(num, D)` whose singular values are sigma."""
    left = gaussian(num, len(sigma), seed)
    left = torch.linalg.qr((left - left.mean(dim=0)).double()).Q
    right = torch.linalg.qr(gaussian(len(sigma), len(sigma), seed + 1).double()).Q
    return left @ torch.diag(torch.tensor(sigma, dtype=torch.float64)) @ right


def test_spread_of_an_isotropic_gaussian_is_one():
    assert normalised_std(gaussian(4000, 64)) == pytest.approx(1, abs=0.01)


def test_spread_is_the_formula():
    z = gaussian(20, 6) + 1
    unit = z / z.norm(dim=1, keepdim=True)
    by_hand = ((unit - unit.mean(0)) ** 2).mean(0).sqrt().mean() * math.sqrt(6)
    assert normalised_std(z) == pytest.approx(by_hand.item(), rel=1e-5)
    assert normalised_std(10 * z) == pytest.approx(normalised_std(z), rel=1e-5)


def test_scale_is_the_formula_and_has_the_unit_of_z():
    z = gaussian(20, 6) + 100
    assert scale(z) == pytest.approx(z.numpy().astype("float64").var(axis=0).mean() ** 0.5)
    assert scale(1e-6 * z) == pytest.approx(1e-6 * scale(z), rel=1e-3)
    assert scale(torch.full((16, 8), 3.0)) == 0
    assert embedding_metrics([z, 3 * z])["scale"] == pytest.approx(2 * scale(z))


@pytest.mark.parametrize("z", [torch.full((16, 8), 3.0), torch.zeros(16, 8), gaussian(1, 8).expand(16, 8)])
def test_a_constant_has_no_spread_and_no_rank(z):
    assert normalised_std(z) == pytest.approx(0, abs=1e-6)
    assert effective_rank(z) == 0
    assert all(math.isfinite(value) for value in embedding_metrics([z, z]).values())


def test_what_rounding_leaves_of_a_constant_has_no_rank():
    """A constant computed by different roundings differs in its last bit: that is no dimension."""
    base = gaussian(1, 64).expand(32, 64)
    noise = gaussian(32, 64).sign() * base.abs() * 2e-8
    assert effective_rank((base + noise).float()) == 0


@pytest.mark.parametrize(
    "sigma, rank",
    [
        ([5.0, 0.0, 0.0, 0.0], 1),
        ([2.0, 2.0, 0.0, 0.0], 2),
        ([3.0, 3.0, 3.0, 3.0], 4),
        ([2.0, 1.0, 1.0], math.exp(0.5 * math.log(2) + 0.5 * math.log(4))),
    ],
)
def test_effective_rank_of_known_spectra(sigma, rank):
    assert effective_rank(with_spectrum(sigma)) == pytest.approx(rank, rel=1e-5)
    assert effective_rank(with_spectrum(sigma) + 100) == pytest.approx(rank, rel=1e-5), "the mean does not count"


def test_effective_rank_of_an_isotropic_gaussian_is_the_width():
    assert effective_rank(gaussian(20_000, 32)) == pytest.approx(32, abs=0.1)


def test_effective_rank_is_that_of_the_singular_values_for_wide_and_tall():
    for shape in ((30, 80), (80, 30)):
        z = gaussian(*shape)
        sigma = torch.linalg.svdvals((z - z.mean(dim=0)).double())
        p = sigma / sigma.sum()
        p = p[p > 1e-12]
        assert effective_rank(z) == pytest.approx((-(p * p.log()).sum()).exp().item(), rel=1e-5)


def test_effective_rank_of_something_not_finite_is_nan():
    z = gaussian(8, 4)
    z[0, 0] = float("inf")
    assert math.isnan(effective_rank(z))


def test_similarities_are_those_of_the_full_matrix():
    a, b = gaussian(12, 5) + 0.5, gaussian(12, 5, seed=1) + 0.5
    matrix = F.cosine_similarity(a[:, None], b[None], dim=2)
    off = matrix[~torch.eye(12, dtype=torch.bool)]
    assert positive_similarity(a, b) == pytest.approx(matrix.diagonal().mean().item(), abs=1e-6)
    assert random_similarity(a, b) == pytest.approx(off.mean().item(), abs=1e-6)


def test_zero_vectors_have_similarity_zero():
    zero = torch.zeros(4, 3)
    assert positive_similarity(zero, zero) == random_similarity(zero, zero) == 0


def test_metrics_of_views():
    a, b = gaussian(64, 16), gaussian(64, 16, seed=1)
    same, other = embedding_metrics([a, a.clone()]), embedding_metrics([a, b])
    assert same["positive_similarity"] == pytest.approx(1)
    assert same["similarity_gap"] == pytest.approx(1 - same["random_similarity"])
    assert abs(other["similarity_gap"]) < 0.15
    assert set(embedding_metrics([a])) == {"std", "scale", "effective_rank", "random_similarity"}
    assert set(same) == set(embedding_metrics([a])) | {"positive_similarity", "similarity_gap", "agreement"}
    assert embedding_metrics([a[:1], b[:1]]) == {}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_embeddings_that_are_not_finite_have_no_other_metric(value):
    a, b = gaussian(64, 16), gaussian(64, 16, seed=1)
    a[3, 2] = b[4, 5] = b[3, 0] = value
    assert embedding_metrics([a, b]) == {"finite": pytest.approx(62 / 64)}
    assert embedding_metrics([a[3:4], b[3:4]]) == {"finite": 0}


def test_metrics_is_the_mean_over_all_pairs_of_views():
    a, b, c = (gaussian(32, 8, seed) + 1 for seed in range(3))
    pairs = [positive_similarity(x, y) for x, y in ((a, b), (a, c), (b, c))]
    metrics = embedding_metrics([a, b, c])
    assert metrics["positive_similarity"] == pytest.approx(sum(pairs) / 3)
    assert metrics["std"] == pytest.approx(sum(map(normalised_std, (a, b, c))) / 3)


def test_half_precision_is_judged_in_full():
    z = gaussian(64, 16)
    assert normalised_std(z.bfloat16()) == pytest.approx(normalised_std(z), abs=0.01)
    assert embedding_metrics([z.half(), z.half()])["effective_rank"] == pytest.approx(effective_rank(z), rel=0.01)

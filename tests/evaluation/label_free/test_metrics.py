"""Metrics without labels, each against numpy, scikit-learn or a closed form."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LinearRegression

from ssl_zoo.evaluation import label_free
from ssl_zoo.evaluation.label_free.idest import tree_length


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def with_spectrum(values: np.ndarray, num: int = 60) -> torch.Tensor:
    """Return centred features `(num, D)` whose singular values are given."""
    left = np.linalg.qr(np.hstack([np.ones((num, 1)), normal(num, len(values)).numpy()]))[0][:, 1:]
    right = np.linalg.qr(normal(len(values), len(values), seed=1).numpy())[0]
    return torch.from_numpy(left * values @ right)


Z = normal(80, 12) * torch.linspace(0.1, 3, 12) + 2.0


def test_rankme_is_the_entropy_of_the_singular_values_that_are_not_centred():
    sigma = np.linalg.svd(Z.double().numpy(), compute_uv=False)
    p = sigma / sigma.sum() + 1e-7
    assert label_free.rankme(Z) == pytest.approx(math.exp(-(p * np.log(p)).sum()))
    assert label_free.rankme(with_spectrum(np.ones(8))) == pytest.approx(8, rel=1e-5)
    assert label_free.rankme(torch.ones(9, 4)) == pytest.approx(1, rel=1e-4)
    assert label_free.rankme(torch.zeros(9, 4)) == 0
    assert label_free.rankme(Z.T) == pytest.approx(label_free.rankme(Z))


def test_alpha_req_finds_the_exponent_of_a_power_law():
    j = np.arange(1, 31)
    for alpha in (0.0, 0.7, 1.5):
        z = with_spectrum(j ** (-alpha / 2)) + 5  # the mean has no part
        assert label_free.alpha_req(z, first=1) == pytest.approx(alpha, abs=1e-5)
    eigenvalues = np.sort(np.linalg.eigvalsh(np.cov(Z.double().numpy().T)))[::-1]
    fitted = LinearRegression().fit(np.log(np.arange(3, 9))[:, None], np.log(eigenvalues[2:8]))
    assert label_free.alpha_req(Z, last=8) == pytest.approx(-fitted.coef_[0])
    assert math.isnan(label_free.alpha_req(torch.ones(9, 4)))


def test_explained_variance_auc_from_one_direction_to_all_alike():
    unit = Z.double().numpy() / np.linalg.norm(Z.double().numpy(), axis=1, keepdims=True)
    sigma = np.linalg.svd(unit - unit.mean(axis=0), compute_uv=False)
    assert label_free.explained_variance_auc(Z) == pytest.approx(np.mean(np.cumsum(sigma) / sigma.sum()))
    poles = torch.cat([torch.eye(6), -torch.eye(6)])
    assert label_free.explained_variance_auc(poles) == pytest.approx(7 / 12)
    assert label_free.explained_variance_auc(poles[[0, 6]]) == pytest.approx(1)
    assert label_free.explained_variance_auc(torch.ones(9, 4)) == 1


def test_lidar_is_the_rank_of_a_discriminant_analysis_of_the_samples():
    x = normal(30, 1, 5) * torch.tensor([3.0, 2, 1, 1, 0.5]) + normal(30, 6, 5, seed=1) @ normal(5, 5, seed=2)
    fitted = LinearDiscriminantAnalysis(solver="eigen").fit(x.flatten(0, 1).double().numpy(), np.arange(30).repeat(6))
    ratios = fitted.explained_variance_ratio_  # the eigenvalues of S_w^-1 S_b, whatever the scale of either
    p = ratios / ratios.sum() + 1e-7
    assert label_free.lidar(x, delta=1e-12) == pytest.approx(math.exp(-(p * np.log(p)).sum()), rel=1e-6)
    assert label_free.lidar(normal(1, 6, 5).repeat(30, 1, 1)) == 0
    one_direction = normal(30, 1, 1) * torch.ones(5) + 0.01 * normal(30, 6, 5, seed=1)
    assert 1 <= label_free.lidar(one_direction) < 1.1
    with pytest.raises(ValueError, match="two of each"):
        label_free.lidar(normal(30, 1, 5))


def test_the_dimension_of_a_cube_in_more_dimensions():
    for dim, low, high in ((1, 0.9, 1.1), (2, 1.7, 2.3), (4, 3.0, 5.0)):
        cube = torch.rand(1000, dim, generator=torch.Generator().manual_seed(0)) @ normal(dim, 10)
        assert low < label_free.mst_dimension(cube) < high
    grid = np.stack(np.meshgrid(np.arange(5.0), np.arange(4.0)), axis=-1).reshape(-1, 2)
    assert tree_length(grid) == pytest.approx(19)  # 20 points, each one step from the next
    assert tree_length(np.array([[0.0], [1], [3], [7]])) == pytest.approx(7)
    assert label_free.mst_dimension(torch.ones(50, 4)) == 0 and math.isnan(label_free.mst_dimension(normal(10, 3)))
    twice = torch.cat([normal(200, 2), normal(200, 2)])  # equal points are one
    assert 1 < label_free.mst_dimension(twice) < 3


def test_alignment_and_uniformity():
    one, other = normal(20, 5), normal(20, 5, seed=1)
    u, v = (x.double().numpy() / np.linalg.norm(x.double().numpy(), axis=1, keepdims=True) for x in (one, other))
    assert label_free.alignment(one, other) == pytest.approx(np.mean(np.sum((u - v) ** 2, axis=1)))
    assert label_free.alignment(one, 3 * one) == pytest.approx(0)
    pairs = [np.exp(-2 * np.sum((u[i] - u[j]) ** 2)) for i in range(20) for j in range(i)]
    assert label_free.uniformity(one) == pytest.approx(np.log(np.mean(pairs)))
    assert label_free.uniformity(torch.ones(5, 3)) == 0
    assert label_free.uniformity(torch.tensor([[1.0], [-1.0]])) == -8


def test_dimensions_that_are_dead_or_correlated():
    z = Z.clone()
    z[:, 3], z[:, 4] = 7.0, Z[:, 0] * -2
    assert label_free.dead_dimensions(z) == pytest.approx(1 / 12)
    assert torch.allclose(label_free.dimension_std(z), torch.from_numpy(z.double().numpy().std(axis=0)))
    live = np.delete(z.double().numpy(), 3, axis=1)
    correlation = np.abs(np.corrcoef(live.T))
    assert label_free.mean_absolute_correlation(z) == pytest.approx((correlation.sum() - 11) / 110)
    assert label_free.dead_dimensions(torch.full((9, 4), 0.1)) == 1
    assert math.isnan(label_free.mean_absolute_correlation(torch.full((9, 4), 0.1)))


def test_cka_is_the_ratio_of_centred_kernels_and_sees_no_rotation():
    x, y = Z, normal(80, 7) + Z[:, :7]
    centre = np.eye(80) - 1 / 80
    k, other = (centre @ (a.double().numpy() @ a.double().numpy().T) @ centre for a in (x, y))
    hsic = (k * other).sum() / np.sqrt((k * k).sum() * (other * other).sum())
    assert label_free.linear_cka(x, y) == pytest.approx(hsic)
    rotation = torch.linalg.qr(normal(12, 12))[0]
    assert label_free.linear_cka(x, 3 * x @ rotation + 1) == pytest.approx(1)
    assert math.isnan(label_free.linear_cka(x, torch.full((80, 3), 0.1)))
    with pytest.raises(ValueError, match="same samples"):
        label_free.linear_cka(x, y[:5])


def test_dse_is_made_of_the_parts_that_numpy_finds():
    tokens = normal(5, 9, 4) + 3 * normal(5, 1, 4, seed=1)
    found = label_free.dense_structure(tokens, together=3, local_clusters=2, global_clusters=4)
    unit = tokens.double().numpy()
    unit /= np.linalg.norm(unit, axis=2, keepdims=True)
    spread = np.linalg.norm(unit - unit.mean(axis=(0, 1)), axis=2).mean()

    def clusters(points, num):
        fitted = KMeans(num, n_init=1, random_state=0).fit(points)
        radii = []
        for label in range(num):
            own = points[fitted.labels_ == label]
            if len(own) > 1:
                nuclear = np.linalg.norm(own - own.mean(axis=0), ord="nuc")
                radii.append(nuclear / np.sqrt(max(len(own) - 1, 4)))
        distances = np.sort(cdist(points, fitted.cluster_centers_), axis=1)
        return radii, distances[:, 1].mean()  # the nearest centre is a token's own

    local = np.concatenate([clusters(sample, 2)[0] for sample in unit])
    wide = [clusters(part.reshape(-1, 4), 4) for part in (unit[:3], unit[3:])]
    assert found["separation"] == pytest.approx(np.mean([separation for _, separation in wide]) / spread)
    assert found["radius"] == pytest.approx((local.mean() + np.concatenate([r for r, _ in wide]).mean()) / 2 / spread)
    assert found["dse"] == pytest.approx(found["separation"] - found["radius"] + found["dimension"])
    assert label_free.dense_structure(torch.ones(5, 9, 4)) == {} == label_free.dense_structure(tokens[:, :3])


def test_the_dimension_of_dse_is_a_share_of_the_most():
    same_place = torch.eye(4)[:, None].repeat(1, 9, 1)  # four samples, each with tokens of its own direction
    found = label_free.dense_structure(same_place, global_clusters=4, local_clusters=2)
    assert found == {} or found["dimension"] == pytest.approx(1)
    spread = label_free.dense_structure(normal(4, 40, 64), global_clusters=4, local_clusters=2)
    assert 0.9 < spread["dimension"] <= 1 + 1e-6

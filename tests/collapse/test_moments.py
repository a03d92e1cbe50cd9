"""All views and pairs of views in one pass: equal to their definitions, one pair at a time."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_zoo.collapse import moments
from ssl_zoo.collapse.members import metrics_of_members
from ssl_zoo.collapse.metrics import defer_two, embedding_metrics
from ssl_zoo.collapse.readback import Readback

SHAPES = [(1, 24, 10), (3, 8, 5), (1, 300, 7)]
"""Steps, batch and width: of one step, of several, and of more rows than a rank is computed from."""


def views(num: int, shape: tuple[int, int, int], seed: int = 0) -> list[Tensor]:
    """Views that share some of their variance, about a mean that is far from 0 in one dimension."""
    g = torch.Generator().manual_seed(seed)
    common, far = torch.randn(shape, generator=g), torch.eye(shape[2])[0] * 40
    return [common + 0.7 * torch.randn(shape, generator=g) + far for _ in range(num)]


def cosine_of_others(a: Tensor, b: Tensor) -> float:
    matrix = F.normalize(a.double(), dim=1) @ F.normalize(b.double(), dim=1).T
    return matrix[~torch.eye(len(a), dtype=torch.bool)].mean().item()


def shared(a: Tensor, b: Tensor) -> float:
    """The agreement of two views `(n, B, D)`, each step centred by itself."""
    a, b = a.double() - a.double().mean(dim=1, keepdim=True), b.double() - b.double().mean(dim=1, keepdim=True)
    return ((a * b).sum() / (a.norm() * b.norm())).item()


def by_definition(z: list[Tensor]) -> dict[str, float]:
    """The metrics by their definitions, in loops over views and pairs."""
    num_steps, rows, width = z[0].shape
    few, correction = max(2, 256 // num_steps), int(num_steps > 1)
    std, scale, positive, random, agreement = [], [], [], [], []
    for x in z:
        unit = F.normalize(x.double(), dim=2)
        std.append(unit.var(dim=1, correction=correction).mean(dim=0).sqrt().mean().item() * math.sqrt(width))
        scale.append(x[:, :few].double().var(dim=1, correction=correction).mean().sqrt().item())
    for a, b in combinations(z, 2):
        positive.append(F.cosine_similarity(a.double(), b.double(), dim=2).mean().item())
        random.append(sum(map(cosine_of_others, a, b)) / num_steps)
        agreement.append(shared(a, b))
    first = z[0][:, :few].double()
    sigma = torch.linalg.svdvals((first - first.mean(dim=1, keepdim=True)).flatten(0, 1))
    p = sigma[sigma > 1e-9] / sigma.sum()
    means = {"std": std, "scale": scale, "random_similarity": random, "positive_similarity": positive,
             "agreement": agreement}  # fmt: skip
    found = {name: sum(values) / len(values) for name, values in means.items()}
    found["effective_rank"] = (-(p * p.log()).sum()).exp().item()
    return found | {"similarity_gap": found["positive_similarity"] - found["random_similarity"]}


@pytest.mark.parametrize("at_once", (1, 2**18))
@pytest.mark.parametrize("num", (2, 5))
@pytest.mark.parametrize("shape", SHAPES)
def test_the_metrics_of_views_are_the_means_over_views_and_pairs(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int, int], num: int, at_once: int
) -> None:
    """Whether all rows are worked on at once, or one after the other."""
    monkeypatch.setitem(moments.AT_ONCE, "cpu", at_once)
    z = views(num, shape)
    assert embedding_metrics(z) == pytest.approx(by_definition(z), rel=1e-9)


def test_members_of_one_pass_are_what_they_are_by_themselves() -> None:
    """Members of one width are computed together, whatever the order of their views; one of another width is not."""
    image, text = views(2, (1, 24, 10)), views(1, (1, 24, 10), seed=1)
    wide = views(2, (1, 24, 12), seed=2)
    found = metrics_of_members([image[0], text[0], wide[0], image[1], wide[1]], ["image", "text", "w", "image", "w"])
    for member, own in (("image", image), ("w", wide)):
        for name, value in by_definition(own).items():
            assert found[f"{name}.{member}"] == pytest.approx(value, rel=1e-9), name
    across = max(shared(text[0], x) for x in image)
    assert found["across.text"] == pytest.approx(across)
    assert "across.w" not in found
    infinite = [image[0], torch.full_like(text[0], math.inf), image[1]]
    found = metrics_of_members(infinite, ["image", "text", "image"])
    assert found["finite.text"] == found["finite"] == 0 and "across.image" not in found
    assert found["std.image"] == embedding_metrics(image)["std"]


@pytest.mark.parametrize("width", [7, 5])
def test_z_and_h_of_one_width_in_one_pass_are_as_each_by_itself(width: int) -> None:
    z, h = views(2, (1, 300, 7)), views(3, (1, 300, width), seed=1)
    one, two = defer_two(z, h)
    for name, got in Readback({"z": one, "h": two}).get().items():
        assert got == pytest.approx(embedding_metrics({"z": z, "h": h}[name]), rel=1e-9) and len(got) == 7


def test_half_of_a_gram_matrix_has_its_eigenvalues() -> None:
    x = torch.randn(2, 200, 210, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    half = moments.smaller_gram(x)
    assert half.shape == (2, 200, 200) and not half[:, 0, -1].any()
    torch.testing.assert_close(torch.linalg.eigvalsh(half), torch.linalg.eigvalsh(x @ x.mT))

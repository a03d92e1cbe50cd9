"""The prototypes head: unit rows by either means, its layers, and lightly's DINO head."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ssl_zoo import registry
from ssl_zoo.heads.prototypes import Prototypes, WeightNormed
from ssl_zoo.recipe.load import load_recipe


def rows(head: Prototypes) -> torch.Tensor:
    if isinstance(head.last, WeightNormed):
        return head.last.length * F.normalize(head.last.direction, dim=1)
    return head.last.weight


@pytest.mark.parametrize("unit", ["renormalised", "weight_norm"])
def test_scores_are_cosines_and_stay_so(unit: str) -> None:
    torch.manual_seed(0)
    head = Prototypes(6, dims=[8, 4], num=5, unit=unit)
    optimizer = torch.optim.SGD(head.parameters(), lr=1.0)
    x = torch.randn(7, 6)
    for step in range(3):
        torch.testing.assert_close(rows(head).norm(dim=1), torch.ones(5))
        z = head(x)
        hidden = head.mlp(x)
        torch.testing.assert_close(z, F.cosine_similarity(hidden[:, None], rows(head)[None], dim=2))
        assert z.shape == (7, head.out_dim)
        optimizer.zero_grad()
        z.square().sum().backward()
        optimizer.step()
        head.after_step(step / 3)
    torch.testing.assert_close(rows(head).norm(dim=1), torch.ones(5))


def test_lengths_learn_only_where_asked() -> None:
    fixed, free = (Prototypes(6, dims=[4], num=5, unit="weight_norm", learn_length=flag) for flag in (False, True))
    assert not fixed.last.length.requires_grad and free.last.length.requires_grad


def test_dinos_initial_weights() -> None:
    head = Prototypes(64, dims=[512, 256], num=5, norm="none", init="truncated_normal", unit="weight_norm")
    for layer in (x for x in head.mlp if isinstance(x, nn.Linear)):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05) and layer.bias.abs().max() == 0


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
def test_agrees_with_lightlys_dino_head() -> None:
    from lightly.models.modules.heads import DINOProjectionHead

    torch.manual_seed(0)
    theirs = DINOProjectionHead(6, hidden_dim=8, bottleneck_dim=4, output_dim=5, norm_last_layer=False)
    head = Prototypes(6, dims=[8, 8, 4], num=5, norm="none", activation="gelu", unit="weight_norm", learn_length=True)
    for mine, other in zip(
        (x for x in head.mlp if isinstance(x, nn.Linear)),
        (x for x in theirs.layers.modules() if isinstance(x, nn.Linear)),
        strict=True,
    ):
        mine.load_state_dict(other.state_dict())
    sizes = {tuple(p.shape): p for p in theirs.last_layer.parameters()}
    with torch.no_grad():
        head.last.length.copy_(sizes[5, 1])
        head.last.direction.copy_(sizes[5, 4])
    x = torch.randn(3, 6)
    torch.testing.assert_close(head(x), theirs(x))


TABLE = {
    "swav": "2048-2048 batchnorm1d relu 2048-128 | 128-3000",
    "dino": "384-2048 gelu 2048-2048 gelu 2048-256 | 256-65536",
}


@pytest.mark.parametrize("method", TABLE)
def test_heads_are_those_of_the_papers(method: str) -> None:
    part = load_recipe(method).projector
    with torch.device("meta"):
        head = registry.build("head", part.name, part.options, in_dim=2048 if method == "swav" else 384)
    linear = nn.Linear
    layers = [f"{x.in_features}-{x.out_features}" if type(x) is linear else type(x).__name__.lower() for x in head.mlp]
    weight = head.last.weight if isinstance(head.last, linear) else head.last.direction
    assert f"{' '.join(layers)} | {weight.shape[1]}-{weight.shape[0]}" == TABLE[method]

"""lightly's heads: their own modules, weights and widths; mistakes in one sentence."""

from typing import Any

import pytest
import torch

from ssl_zoo import registry
from ssl_zoo.errors import UserError
from ssl_zoo.methods.build import build
from tests.tiny import small


def test_a_head_is_lightlys_module() -> None:
    from lightly.models.modules.heads import BYOLProjectionHead

    torch.manual_seed(0)
    theirs = BYOLProjectionHead(6, 8, 4)
    torch.manual_seed(0)
    ours = registry.build("head", "lightly/BYOLProjectionHead", {"hidden_dim": 8, "output_dim": 4}, in_dim=6)
    assert type(ours) is BYOLProjectionHead and (ours.in_dim, ours.out_dim) == (6, 4)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_a_target_network_follows_a_head_with_weight_normalisation() -> None:
    """torch's older weight normalisation keeps a product, which a copy must not hold on to."""
    head = {"name": "lightly/DINOProjectionHead", "hidden_dim": 8, "bottleneck_dim": 4, "output_dim": 8}
    recipe = small("dino", ["target.momentum=0.0", "target.schedule=constant", "views.size=12"])
    raw = recipe.dump()
    raw["projector"] = head
    method = build(type(recipe).model_validate(raw))
    with torch.no_grad():
        for weight in method.projector.parameters():
            weight.mul_(2)
    method.after_step(0.5)  # at momentum 0 the target is the online network
    x = torch.randn(4, method.encoder.out_dim)
    theirs = [m for m in method.target.modules() if type(m) is type(method.projector)]
    assert len(theirs) == 1 and torch.equal(theirs[0](x), method.projector(x))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("BYOLHead", {}, r"unknown head 'lightly/BYOLHead'; did you mean 'BYOL\w+Head'\? `ssl-zoo list head"),
        ("SMoGPrototypes", {}, "cannot be used here: it is given the groups' features"),
        ("BYOLProjectionHead", {"dims": [4]}, "dims: unknown key of head 'lightly/BYOLProjectionHead'"),
        ("BYOLProjectionHead", {"input_dim": 4}, "input_dim: unknown key"),
        ("BYOLProjectionHead", {"output_dim": 0}, "output_dim: 0 is not possible"),
        ("SwaVPrototypes", {"n_prototypes": [3, 4]}, "n_prototypes: .* is not possible"),
        ("DINOProjectionHead", {"freeze_last_layer": 1}, "freeze_last_layer: unknown key"),
    ],
)
def test_mistakes_are_one_sentence(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        registry.build("head", f"lightly/{name}", options, in_dim=6)

"""Encoders take views of two sizes; those of a fixed size are built for both, or say that they cannot be."""

import pytest
import torch

from ssl_zoo.errors import UserError
from ssl_zoo.methods.build import build
from ssl_zoo.modalities.image.encoders.timm import timm_encoder
from ssl_zoo.recipe.load import load_recipe
from tests.tiny import spec_of


def test_a_vision_transformer_takes_local_views() -> None:
    encoder = timm_encoder("vit_tiny_patch16_224", spec_of(3, 48, 32))
    for size in (48, 32):
        assert encoder(torch.zeros(2, 3, size, size)).shape == (2, encoder.out_dim)


def test_its_weights_are_those_of_one_built_for_the_global_views_alone() -> None:
    both, alone = (
        timm_encoder("vit_tiny_patch16_224", spec_of(3, 48, 32)).eval(),
        timm_encoder("vit_tiny_patch16_224", spec_of(3, 48)).eval(),
    )
    alone.load_state_dict(both.state_dict())
    x = torch.randn(2, 3, 48, 48)
    torch.testing.assert_close(both(x), alone(x))


def test_the_recipes_local_views_reach_the_encoder() -> None:
    overrides = ("encoder={name: timm/vit_tiny_patch16_224}", "views.size=48", "views.local_size=32", "projector.num=8")
    method = build(load_recipe("dino", [*overrides, "projector.dims=[8, 8]"]))
    assert method.encoder(torch.zeros(1, 3, 32, 32)).shape == (1, 192)


def test_a_model_that_cannot_says_so() -> None:
    with pytest.raises(UserError, match="timm cannot make it for views of 64 pixels"):
        timm_encoder("mixer_s16_224", spec_of(3, 64, 32))

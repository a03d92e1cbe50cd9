"""Encoders on spectrograms: the one of this modality, and those of images."""

from typing import Any

import pytest
import torch

import ssl_zoo
from ssl_zoo import registry
from ssl_zoo.batch import InputSpec, ViewSpec
from ssl_zoo.errors import UserError
from ssl_zoo.methods.build import build_views
from tests import contract
from tests.modalities.audio.sort import SMALL, SORT

VIEWS = ["views=log_mel", *(f"views.{key}={value}" for key, value in SMALL.items())]
HEADS = ["projector.dims=[8, 8]", "predictor.dims=[4, 8]"]


def build(spec: InputSpec = SORT.spec, **options: Any) -> Any:
    return registry.build("encoder", "audio_convnet", options, spec=spec)


def test_it_is_the_mean_plus_the_maximum_over_moments() -> None:
    encoder = build(widths=[4, 6], out_dim=5).eval()
    x = torch.randn(3, 1, 24, 31)
    maps = encoder.body(x)
    assert maps.shape == (3, 6, 6, 7)
    moments = torch.stack([encoder.mlp(maps[:, :, :, t].flatten(1)) for t in range(7)])
    torch.testing.assert_close(encoder(x), moments.mean(dim=0) + moments.max(dim=0).values)
    assert encoder(torch.randn(2, 1, 24, 100)).shape == (2, 5)  # other lengths are fine


def test_views_that_it_cannot_take_are_refused() -> None:
    def spec(*shape: int) -> InputSpec:
        return InputSpec("audio", (ViewSpec("global", shape),))

    with pytest.raises(UserError, match=r"takes views \(channels, bands, frames\).*\(3, 128\)"):
        build(spec(3, 128))
    with pytest.raises(UserError, match=r"3 stages halve views of 6 bands and 31 frames to nothing"):
        build(spec(1, 6, 31))


@pytest.mark.parametrize(
    "encoder", [["encoder=audio_convnet"], ["encoder=convnet"], ["encoder=resnet18", "encoder.width=0.125"]]
)
def test_methods_train_it_on_spectrograms(encoder: list[str]) -> None:
    recipe = ssl_zoo.load_recipe("simsiam", [*encoder, *VIEWS, *HEADS])
    assert build_views(recipe).spec.views[0].shape == (1, 24, 31)
    contract.check_method(recipe, SORT)


def test_a_method_of_places_on_spectrograms() -> None:
    """Views say where they lie in frequency and time, and an image encoder has features of places."""
    overrides = ["encoder=convnet", "encoder.widths=[8, 16]", "local_projector.dims=[8, 8]", "location_matches=4"]
    recipe = ssl_zoo.load_recipe("vicregl", [*overrides, *VIEWS, "projector.dims=[8, 8]"])
    contract.check_method(recipe, SORT)

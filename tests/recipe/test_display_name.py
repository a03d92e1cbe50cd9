"""A recipe whose parts were changed is not called by the method's name alone."""

import pytest

from ssl_zoo.recipe.display_name import called
from ssl_zoo.recipe.load import load_recipe


@pytest.mark.parametrize(
    "reference, overrides, name",
    [
        ("simsiam", [], "simsiam"),
        ("digits/simsiam", ["training.base_lr=1", "encoder=resnet18"], "simsiam"),
        ("byol", ["target.momentum=0.9"], "byol"),
        ("simsiam", ["target=ema"], "simsiam + target=ema"),
        ("simsiam", ["objective=[mse, variance]", "predictor=identity"],
         "simsiam + predictor=identity + objective=[mse, variance]"),
        ("simsiam", ["method=mine", "target=ema"], "mine"),
    ],
)  # fmt: skip
def test_parts_that_are_not_the_methods_own_are_named(reference: str, overrides: list[str], name: str) -> None:
    assert called(load_recipe(reference, overrides).dump()) == name

"""The module of exported graphs makes the levels of torchvision's resize, every one of them."""

import pytest
import torch

from ssl_zoo import registry
from ssl_zoo.data.source import ViewPolicy


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [8, 32])
def test_equals_the_plain_view(interpolation, size) -> None:
    policy: ViewPolicy = registry.build("views", "augment", {"size": size, "interpolation": interpolation})
    module, g = policy.plain_module(), torch.Generator().manual_seed(0)
    for shape in [(50, 40), (32, 32), (33, 47), (17, 90), (300, 201), (8, 8), (1, 5), (7, 31)]:
        images = torch.randint(0, 256, (2, 3, *shape), dtype=torch.uint8, generator=g)
        assert torch.equal(module(images), policy.plain(images).tensor), shape

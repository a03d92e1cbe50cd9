"""What the registry-wide contract tests need to know of images."""

import torch
from torch import Tensor

from ssl_zoo.rng import generator
from tests.contract import Sort
from tests.tiny import spec_of


def images(num: int, channels: int) -> Tensor:
    return torch.randint(0, 256, (num, channels, 16, 16), dtype=torch.uint8, generator=generator(0, "images"))


SORT = Sort(
    spec_of(channels=2, size=16),
    images,
    {
        "augment": {"size": 12},
        "multi_crop": {"size": 12, "local_size": 8},
        "transforms": {"size": 12, "transform": "tests.tiny:noisy_view"},
    },
    {"timm/*": "timm/resnet10t"},
)

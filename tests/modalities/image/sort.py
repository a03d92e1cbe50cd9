"""What the registry-wide contract tests need to know of images."""

import torch
from torch import Tensor

from ssl_zoo.rng import generator
from tests.contract import Sort
from tests.tiny import spec_of


def images(num: int, channels: int) -> Tensor:
    return torch.randint(0, 256, (num, channels, 16, 16), dtype=torch.uint8, generator=generator(0, "images"))


ALONE = tuple(f"lightly/{name}Transform" for name in ("AIM", "CAPI", "MAE"))
"""Policies of one view."""

_TWO = ("DenseCL", "FastSiam", "MMCR", "MoCoV1", "MoCoV2", "SimCLR", "SimSiam", "VICReg", "WMSE")
_EACH = {f"view_{i}_transform": {"input_size": 12} for i in (1, 2)}
_CROPS = {"global_crop_size": 12, "local_crop_size": 8, "n_local_views": 1}
LIGHTLY = {
    **{f"lightly/{name}Transform": {"input_size": 12} for name in _TWO},
    **dict.fromkeys(ALONE, {"input_size": 12}),
    **{f"lightly/{name}Transform": _EACH for name in ("BYOL", "FDA", "TiCo")},
    **{f"lightly/{name}Transform": _CROPS for name in ("DINO", "IBOT")},
    **{f"lightly/{name}Transform": {"crop_sizes": (12, 8), "crop_counts": (2, 1)} for name in ("SwaV", "SMoG")},
    "lightly/MSNTransform": {"random_size": 12, "focal_size": 8, "focal_views": 1},
}

SORT = Sort(
    spec_of(channels=2, size=16),
    images,
    {
        "augment": {"size": 12},
        "multi_crop": {"size": 12, "local_size": 8},
        "transforms": {"size": 12, "transform": "tests.tiny:noisy_view"},
        **LIGHTLY,
    },
    {"timm/*": "timm/resnet10t"},
    alone=ALONE,
)

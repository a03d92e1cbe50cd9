"""Small things that several tests share: an encoder, a batch, a recipe."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ssl_zoo import registry
from ssl_zoo.batch import Batch, InputSpec, View, ViewSpec
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.recipe.model import Recipe, parse


class TinyEncoder(nn.Module):
    """Two convolutions with BatchNorm and a pool: (B, 3, H, W) -> (B, 6)."""

    out_dim = 6

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def tiny_encoder(seed: int = 0) -> TinyEncoder:
    torch.manual_seed(seed)
    return TinyEncoder()


def batch_of(*tensors: Tensor) -> Batch:
    return Batch([View(x) for x in tensors])


def paired(pairing: nn.Module, p: Sequence[Any], t: Sequence[Tensor | None]) -> Any:
    """Return the pairs that a pairing makes for views of one modality, or, where it needs them, of two members."""
    members = ["tensor", "other"] if getattr(pairing, "needs_members", False) else ["tensor"]
    return pairing(p, t, [View(torch.zeros(1, 1), members[i % len(members)]) for i in range(len(p))])


def tiny_views(num: int = 2, size: int = 8, batch: int = 8, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    g = torch.Generator().manual_seed(1)
    return [torch.randn(batch, 3, size, size, generator=g, dtype=dtype) for _ in range(num)]


def spec_of(channels: int = 3, size: int = 8, local: int | None = None, modality: str = "image") -> InputSpec:
    """Return the spec of two square views, and of a local one."""
    views = [ViewSpec("global", (channels, size, size))] * 2
    if local is not None:
        views.append(ViewSpec("local", (channels, local, local), is_target=False))
    return InputSpec(modality, tuple(views))


def noisy_view(image: Tensor) -> Tensor:
    """Return 12 x 12 pixels of an image with noise: what `views.transform=tests.tiny:noisy_view` names."""
    x = image.float()[:, :12, :12] / 255
    return x + 0.1 * torch.randn_like(x) + 0.1 * random.random() + 0.1 * float(np.random.rand())


DECODING = ("value_range", "max_pixels", "dtype", "npy_axes")


def image_modality(channels: int = 3, **options: Any) -> Any:
    """Return the modality of images, with options of the decoding."""
    return registry.build("modality", "image", options, spec=spec_of(channels))


def image_source(name: str, channels: int = 3, **options: Any) -> Any:
    """Open a source of images; options of the decoding go to the modality."""
    decode = {key: options.pop(key) for key in DECODING if key in options}
    return registry.build("source", name, options, modality=image_modality(channels, **decode))


NARROW = {
    "simsiam": ("projector.dims=[8, 8, 8]", "predictor.dims=[4, 8]"),
    "byol": ("projector.dims=[10, 5]", "predictor.dims=[10, 5]"),
    "barlow_twins": ("projector.dims=[7, 7, 7]",),
    "vicreg": ("projector.dims=[7, 7, 7]",),
}
"""Overrides that make the heads of the first four methods small."""


def narrow(method: str, overrides: Sequence[str] = ()) -> Recipe:
    return load_recipe(method, [*NARROW[method], *overrides])


CONDITION = {"w_mse": ("objective.whitened_mse.eps=0.1",)}
"""Overrides where so small a head is nearly singular: whitening its four dimensions multiplies float32's rounding."""


def small(method: str, overrides: Sequence[str] = ()) -> Recipe:
    """Return any recipe with heads of at most 8 and at least 4 dimensions, on a convnet that takes images of 8 pixels.

    The new width is a function of the old one, so that widths which have to agree go on to do so. A method that hides
    places keeps its transformer, made small. Members of pairs become images.
    """
    raw = _narrowed(load_recipe(method, [*CONDITION.get(method, ()), *overrides]).dump())
    if "masks" in raw:
        raw["encoder"] = {"name": raw["encoder"]["name"], "patch": 2, "width": 6, "depth": 2, "heads": 2}
        if raw["predictor"]["name"] == "transformer":
            raw["predictor"] |= {"width": 4, "depth": 1, "heads": 2}
        raw["target_blocks"] = raw["target_blocks"] and 2
        raw["views"] |= {
            "size": min(raw["views"]["size"], 12),
            **({"num_frames": 4} if "num_frames" in raw["views"] else {}),
        }
    else:
        raw["encoder"] = {"name": "convnet", "widths": [4, 6]}
    if "name" not in raw["views"]:
        each = {member: views.get("num_views", 1) for member, views in raw["views"].items()}
        raw["views"] = {member: {"name": "augment", "num_views": num, "size": 8} for member, num in each.items()}
        raw["encoder"], raw["data"]["decode"] = {"each": raw["encoder"]}, {}
    if "size" in raw.get("pairing", {}):
        raw["pairing"]["size"] = 40
    return parse(raw, method)


def _narrowed(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _narrowed(each, name) for name, each in value.items()}
    if isinstance(value, list) and key != "dims":
        return [_narrowed(each) for each in value]
    if key == "dims":
        return [_narrowed(each, "dim") for each in value]
    return min(8, max(4, value // 256)) if key in ("dim", "num") and isinstance(value, int) else value

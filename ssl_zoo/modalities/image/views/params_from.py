"""From uniform numbers to the parameters of views: tensors `(V, B, ...)` on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ssl_zoo.modalities.image.units import white
from ssl_zoo.modalities.image.views import geometry
from ssl_zoo.modalities.image.views.colour_matrix import affine_maps, colour_maps
from ssl_zoo.modalities.image.views.constants import constant
from ssl_zoo.modalities.image.views.params import RenderSettings


def chosen(uniform: Tensor, chances: Mapping[str, Sequence[float]]) -> dict[str, Tensor]:
    """Return which samples each operation is for, bool `(V, B)`; only of operations that are for some.

    Args:
        uniform: numbers in [0, 1), `(V, B, len(chances))`.
        chances: {operation: its probability in each view}.
    """
    # One comparison for all: on so few numbers the calls are what costs.
    of_view = constant(tuple(chance for each in zip(*chances.values(), strict=True) for chance in each), uniform.device)
    below = (uniform < of_view.view(-1, 1, len(chances))).unbind(-1)
    return {name: is_for for (name, each), is_for in zip(chances.items(), below, strict=True) if max(each)}


def boxes(places: Tensor, flip: Tensor | None) -> Tensor:
    """Return the parts of the samples that views show, `(V, B, 3, 2)`, float32; see `View.aux`.

    Args:
        places: top, left, height and width as fractions of the image, `(V, B, 4)`.
        flip: which are mirrored, bool `(V, B)`; None mirrors none.
    """
    made = torch.zeros(*places.shape[:2], 6)
    made[..., :4] = places
    if flip is not None:
        made[..., 5] = flip
    return made.view(*places.shape[:2], 3, 2)


def kept(uniform: Tensor, chance: Sequence[float]) -> Tensor:
    """Return which channels are not dropped, bool `(V, B, C)`; one always stays.

    Args:
        uniform: numbers in [0, 1), `(V, B, C)`.
        chance: of each channel to be dropped, in each view.
    """
    of_view = constant(tuple(chance), uniform.device)[:, None, None]
    return (uniform >= of_view) | (uniform == uniform.amax(dim=2, keepdim=True))


def factors(uniform: Tensor, strengths: Sequence[float]) -> Tensor:
    """Turn uniform numbers `(..., 4)` into the jitter's factors and the turn of the hue.

    Args:
        uniform: numbers in [0, 1).
        strengths: of brightness, contrast, saturation and hue; see `Augment`.
    """
    middle, least = (1, 1, 1, 0), (0, 0, 0, -0.5)
    low = tuple(float(max(bound, m - x)) for bound, m, x in zip(least, middle, strengths, strict=True))
    high = tuple(float(m + x) for m, x in zip(middle, strengths, strict=True))
    return torch.lerp(constant(low, uniform.device), constant(high, uniform.device), uniform)


def to_matrices(made: dict[str, Tensor], settings: RenderSettings, channels: int, dtype: torch.dtype) -> None:
    """Put what is done to colours as affine maps, and blurs as kernels, in the place of the parameters; see `render`.

    Args:
        made: some of `SampleParams` by name; changed.
        settings: of the views.
        channels: of the images.
        dtype: of the images.
    """
    sigma, order = made.pop("sigma"), made.pop("order")
    jitter, grey = made.pop("jitter", torch.zeros_like(sigma, dtype=torch.bool)), made.pop("grey", None)
    maps = colour_maps(
        made.pop("factors").flatten(0, 1),
        order.flatten(0, 1),
        jitter.flatten(),
        settings.used,
        None if grey is None else grey.flatten(),
        channels,
    )
    affine, of_mean = affine_maps(maps, white(dtype), settings.mean.view(-1, 1), settings.std.view(-1, 1))
    made["affine"], made["of_mean"] = (x.unflatten(0, sigma.shape) for x in (affine, of_mean))
    if "blur" in made:
        made["kernels"] = geometry.half_kernels(sigma.flatten(), settings.radius).unflatten(0, sigma.shape)

"""Views by torchvision's own functions, one sample after the other: equal to its transforms, and slow."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from ssl_zoo.modalities.image.units import white
from ssl_zoo.modalities.image.views.parallel import side_by_side
from ssl_zoo.modalities.image.views.params import RenderSettings, SampleParams


def render_exact(source: Tensor, params: SampleParams, settings: RenderSettings) -> Tensor:
    """Return the views `(V, B, C, S, S)`, float32, normalised; see `render`.

    Crop and resize, flip, jitter, grey, blur, solarise and normalise follow each other on float images in [0, 1].
    """
    (views, num), channels, size = params.shape, source.shape[-3], settings.size
    result = torch.empty(views, num, channels, size, size, device=source.device)
    values = {name: value.tolist() for name, value in params.known().items()}

    def make(number: int) -> None:
        for view in range(views):
            own = {name: value[view][number] for name, value in values.items()}
            if "boxes" in own:
                x = _crop(source[number], own["boxes"], settings)
            else:
                x = source[view, number].float() / white(source.dtype)
            result[view, number] = _changed(x, own, settings)

    side_by_side([partial(make, number) for number in range(num)])
    return result.sub_(settings.mean).div_(settings.std)


def _crop(image: Tensor, box: list[float], settings: RenderSettings) -> Tensor:
    import torchvision.transforms.v2.functional as TF  # noqa: N812 - its usual name; here, since its import takes long

    top, left, height, width = map(int, box)
    part = TF.crop(image, top, left, height, width).float() / white(image.dtype)
    mode = TF.InterpolationMode(settings.interpolation)
    # The cubic filter overshoots; of an image of levels, torchvision bounds what it makes.
    return TF.resize(part, [settings.size] * 2, interpolation=mode, antialias=True).clamp_(0, 1)


def _changed(x: Tensor, own: dict[str, Any], settings: RenderSettings) -> Tensor:
    """Return an image `(C, S, S)` in [0, 1], flipped, jittered, grey, blurred and solarised by its own parameters."""
    import torchvision.transforms.v2.functional as TF  # noqa: N812

    if own.get("flip"):
        x = TF.horizontal_flip(x)
    if own.get("jitter"):
        changes = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)
        for number in own["order"]:
            if settings.used[number]:
                x = changes[number](x, own["factors"][number])
    if own.get("grey") and len(x) == 3:
        x = TF.rgb_to_grayscale(x, 3)
    if own.get("blur"):
        x = TF.gaussian_blur(x, [2 * settings.radius + 1] * 2, [own["sigma"]] * 2)
    if own.get("solarise"):
        x = TF.solarize(x, settings.threshold)
    return x

"""The views of `colour: exact` on a GPU: torchvision's functions for all samples at once.

Each change is made of all samples, and kept of those that it is for: to know which they are, the host would have to
wait for the device. Equal to `colour_exact` within the rounding of float32.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ssl_zoo.modalities.image.units import white
from ssl_zoo.modalities.image.views import geometry
from ssl_zoo.modalities.image.views.colour_matrix import GREY_WEIGHTS
from ssl_zoo.modalities.image.views.constants import constant
from ssl_zoo.modalities.image.views.crops import CropsByMatrices, ReadyCrops
from ssl_zoo.modalities.image.views.params import RenderSettings, SampleParams

Change = Callable[[Tensor, Tensor], Tensor]


def render_at_once(source: Tensor, params: SampleParams, settings: RenderSettings) -> Tensor:
    """Return the views `(V, B, C, S, S)`, float32, normalised; see `render`."""
    (views, num), channels, size = params.shape, source.shape[-3], settings.size
    crops: CropsByMatrices | ReadyCrops
    if params.boxes is None:
        crops = ReadyCrops(source, params.flip, None)
    else:
        crops = CropsByMatrices(source, params.boxes, size, settings.interpolation, params.flip)
    planes = crops.planes(0, num)[:, :, :channels] / white(source.dtype)
    x = planes.clamp_(0, 1).reshape(views * num, channels, size, size)
    each = {name: value.flatten(0, 1) for name, value in params.known().items()}
    if "jitter" in each:
        x = _jittered(x, each, settings.used)
    if "grey" in each and channels == 3:
        x = _where(each["grey"], grey_of(x).expand_as(x), x)
    if "blur" in each:
        geometry.blur_some(x, each["blur"], geometry.half_kernels(each["sigma"], settings.radius))
    if "solarise" in each:
        x = _where(each["solarise"], torch.where(x >= settings.threshold, 1 - x, x), x)
    return x.unflatten(0, (views, num)).sub(settings.mean).div_(settings.std)


def _jittered(x: Tensor, each: dict[str, Tensor], used: tuple[bool, ...]) -> Tensor:
    changes: list[Change] = [brightened, contrasted, saturated, turned]
    for place in range(len(changes)):
        before = x
        for number, change in enumerate(changes):
            if used[number]:
                chosen = each["jitter"] & (each["order"][:, place] == number)
                x = _where(chosen, change(before, each["factors"][:, number].view(-1, 1, 1, 1)), x)
    return x


def _where(chosen: Tensor, changed: Tensor, x: Tensor) -> Tensor:
    return torch.where(chosen.view(-1, 1, 1, 1), changed, x)


def grey_of(x: Tensor) -> Tensor:
    """Return the grey values `(B, 1, H, W)` of images of three channels; of others, the images."""
    if x.shape[1] != 3:
        return x
    return (x * constant(GREY_WEIGHTS, x.device).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def brightened(x: Tensor, factor: Tensor) -> Tensor:
    """Return images `(B, C, H, W)` in [0, 1] times factors `(B, 1, 1, 1)`, kept in [0, 1]."""
    return (x * factor).clamp_(0, 1)


def contrasted(x: Tensor, factor: Tensor) -> Tensor:
    """Return images blended with the means of their grey values; see `brightened`."""
    return torch.lerp(grey_of(x).mean(dim=(1, 2, 3), keepdim=True), x, factor).clamp_(0, 1)


def saturated(x: Tensor, factor: Tensor) -> Tensor:
    """Return images blended with their grey values, those of one channel as they are; see `brightened`."""
    return torch.lerp(grey_of(x), x, factor).clamp_(0, 1) if x.shape[1] == 3 else x


def turned(x: Tensor, turn: Tensor) -> Tensor:
    """Return images whose hue in HSV is turned by parts `(B, 1, 1, 1)` of the circle; those of one channel as they are.

    Hue, saturation and value by their definition (Smith 1978); a grey has no hue and stays.
    """
    if x.shape[1] != 3:
        return x
    red, green, blue = x.unbind(1)
    value, low = x.amax(dim=1), x.amin(dim=1)
    span = value - low
    divisor = torch.where(span > 0, span, 1)
    sixth = torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor)
    sixth = torch.where(value == red, (green - blue) / divisor, sixth) + 6 * turn[:, 0]
    place = constant((5.0, 3.0, 1.0), x.device).view(1, 3, 1, 1) + sixth[:, None]
    place = place.remainder(6)
    return value[:, None] - span[:, None] * torch.minimum(place, 4 - place).clamp_(0, 1)

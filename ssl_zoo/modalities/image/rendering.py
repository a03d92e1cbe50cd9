"""From samples and what is to be done to each of them, to the pixels of their views.

The work is laid out for few passes over memory: all views of a block of samples that fits in a processor's cache are
made together; the whole colour change, the scaling from 255 levels and the normalisation are one matrix a sample; and
blur and solarisation, which commute with a normalisation of the channels, follow on the samples that they are for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from ssl_zoo.modalities.image import colour, colour_matrix, geometry, geometry_large
from ssl_zoo.modalities.image.geometry import Interpolation
from ssl_zoo.modalities.image.parallel import side_by_side

BLOCK = 2**19
"""Numbers that are made at a time on a CPU."""

LEAST = 8
"""Samples that are made at a time at least: many operations cost the same for one as for some."""

_BESIDE = 1e-4
"""A pixel so little below the threshold of solarisation is at it: levels are 1/255 apart, the rest is rounding."""


@dataclass(frozen=True)
class Look:
    """What all samples share; see the knobs of `augment`. `mean` and `std` are `(1, C, 1, 1)`, on the device."""

    size: int
    interpolation: Interpolation
    colour: Literal["matrix", "exact"]
    used: tuple[bool, ...]
    radius: int
    threshold: float
    mean: Tensor
    std: Tensor


@dataclass(frozen=True)
class Plan:
    """What is done to each sample in each view; every entry is `(V, B, ...)`, and None is done to no sample.

    Attributes:
        boxes: top, left, height, width in pixels of the crop.
        flip: which are mirrored; and so `jitter`, `grey`, `blur` and `solarise`: bool `(V, B)`.
        factors: of the jitter, see `colour_matrix`; `order` too.
        sigma: of the blur, in pixels.
    """

    boxes: Tensor | None
    flip: Tensor | None
    jitter: Tensor | None
    grey: Tensor | None
    blur: Tensor | None
    solarise: Tensor | None
    factors: Tensor
    order: Tensor
    sigma: Tensor

    def part(self, start: int, stop: int) -> Plan:
        """Return the plan for some of the samples."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        some: dict[str, Any] = {name: None if x is None else x[:, start:stop] for name, x in values.items()}
        return Plan(**some)


def render(image: Tensor | None, cut: Tensor | None, plan: Plan, look: Look) -> Tensor:
    """Return the views `(V, B, C, S, S)`, float32, normalised.

    Args:
        image: uint8 `(B, C, H, W)` to cut from by `plan.boxes`, or None.
        cut: where there is no `image`: uint8 `(V, B, C, S, S)`, cut already.
        plan: see there.
        look: see there.
    """
    source = image if image is not None else cut
    assert source is not None
    (views, num), channels, size = plan.sigma.shape, source.shape[-3], look.size
    result = torch.empty(views, num, channels, size, size, device=source.device)
    block = max(LEAST, BLOCK // (views * channels * size * size)) if source.device.type == "cpu" else num

    def make(start: int) -> None:
        place, part = slice(start, start + block), plan.part(start, start + block)
        planes = _planes(None if image is None else image[place], None if cut is None else cut[:, place], part, look)
        _finish(planes, part, look, result[:, place])

    side_by_side([partial(make, start) for start in range(0, num, block)])
    return result


def _planes(image: Tensor | None, cut: Tensor | None, plan: Plan, look: Look) -> Tensor:
    """Return the crops in 0..255 with a last channel of ones, `(V, B, C + 1, S, S)`, float32."""
    source = image if image is not None else cut
    assert source is not None
    (views, num), channels, size = plan.sigma.shape, source.shape[-3], look.size
    planes = torch.empty(views, num, channels + 1, size, size, device=source.device)
    planes[:, :, channels] = 1
    crops = planes[:, :, :channels]
    if image is None:
        assert cut is not None
        crops.copy_(cut if plan.flip is None else torch.where(plan.flip[..., None, None, None], cut.flip(4), cut))
    elif image.device.type == "cpu" and size > geometry_large.LARGE:
        _cut_each(image, plan, look, crops)
    else:
        assert plan.boxes is not None
        crops.copy_(geometry.resized_crops(image, plan.boxes, size, look.interpolation, plan.flip))
        if look.interpolation == "bicubic":
            crops.clamp_(0, 255)
    return planes


def _cut_each(image: Tensor, plan: Plan, look: Look, crops: Tensor) -> None:
    assert plan.boxes is not None
    boxes = plan.boxes.int().tolist()
    flips = plan.flip.tolist() if plan.flip is not None else [[False] * len(image)] * len(boxes)
    for view, (of_view, flipped) in enumerate(zip(boxes, flips, strict=True)):
        for number, (box, mirrored) in enumerate(zip(of_view, flipped, strict=True)):
            made = geometry_large.cut(image[number], box, look.size, look.interpolation)
            crops[view, number] = made.flip(2) if mirrored else made


def _finish(planes: Tensor, plan: Plan, look: Look, result: Tensor) -> None:
    """Change the colours of crops, normalise, blur and solarise; the views are written to `result`."""
    changes = plan.grey is not None or (plan.jitter is not None and any(look.used))
    if look.colour == "matrix" and changes:
        _recolour(planes, plan, look, result)
    else:
        for view, x in enumerate(planes[:, :, :-1]):
            x = x / 255
            if plan.jitter is not None and any(look.used):
                x = colour.jitter(x, plan.factors[view], plan.order[view], plan.jitter[view], look.used)
            if plan.grey is not None:
                x = colour.grey(x, plan.grey[view])
            torch.sub(x, look.mean, out=result[view]).div_(look.std)
    for view, x in enumerate(result):
        if plan.blur is not None:
            _blur(x, plan.blur[view], geometry.half_kernels(plan.sigma[view], look.radius))
        if plan.solarise is not None:
            _change(x, plan.solarise[view], lambda some, _: _solarised(some, look))


def _recolour(planes: Tensor, plan: Plan, look: Look, result: Tensor) -> None:
    """Write `result`: colours changed and normalised, by one affine map a sample."""
    crops = planes[:, :, :-1].flatten(0, 1)
    nobody = torch.zeros_like(plan.sigma, dtype=torch.bool)
    maps = colour_matrix.colour_maps(
        crops.mean(dim=(2, 3)).div_(255),
        plan.factors.flatten(0, 1),
        plan.order.flatten(0, 1),
        (nobody if plan.jitter is None else plan.jitter).flatten(),
        look.used,
        None if plan.grey is None else plan.grey.flatten(),
    )
    mean, std = look.mean.view(1, -1), look.std.view(1, -1, 1)
    maps[:, :, :-1] /= 255
    maps[:, :, -1] -= mean
    maps /= std
    low, high = -look.mean.view(-1, 1) / std[0], (1 - look.mean.view(-1, 1)) / std[0]
    for maps_of_view, source, x in zip(maps.view(len(planes), -1, *maps.shape[1:]), planes, result, strict=True):
        colour_matrix.apply_maps(maps_of_view, source.flatten(2), low, high, out=x.flatten(2))


def _change(x: Tensor, chosen: Tensor, change: Callable[[Tensor, Tensor | slice], Tensor]) -> None:
    """Replace some samples of `x` by `change(samples, their index)`."""
    if x.device.type != "cpu":  # to know which would make the host wait for the device
        torch.where(chosen.view(-1, 1, 1, 1), change(x, slice(None)), x, out=x)
        return
    index = torch.nonzero(chosen).squeeze(1)
    if len(index):
        x.index_copy_(0, index, change(x.index_select(0, index), index))


def _blur(x: Tensor, chosen: Tensor, kernels: Tensor) -> None:
    if x.device.type == "cpu" and x.shape[-1] > geometry_large.LARGE:
        for image, kernel, wanted in zip(x, kernels, chosen.tolist(), strict=True):
            if wanted:
                image.copy_(geometry_large.convolve_large(image, kernel))
    else:
        _change(x, chosen, lambda some, index: geometry.convolve(some, kernels[index]))


def _solarised(x: Tensor, look: Look) -> Tensor:
    bright = x >= (look.threshold - _BESIDE - look.mean) / look.std
    return torch.where(bright, (1 - 2 * look.mean) / look.std - x, x)

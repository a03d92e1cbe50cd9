"""From samples and what is to be done to each of them, to the pixels of their views.

The work is laid out for few passes over memory: all views of a block of samples that fits in a processor's cache are
made together, in buffers that are used again; the whole colour change, the scaling from 255 levels and the
normalisation are one matrix a sample; and solarisation follows on the samples that it is for.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ssl_zoo.modalities.image.views import colour, colour_matrix, geometry, geometry_large
from ssl_zoo.modalities.image.views.crops import crops_of, planes_of
from ssl_zoo.modalities.image.views.parallel import in_turn, side_by_side
from ssl_zoo.modalities.image.views.params import Look, Plan
from ssl_zoo.modalities.image.views.scratch import LENDER

BLOCK = 3 * 2**18
"""Numbers that are made at a time on a CPU."""

_BESIDE = 1e-4
"""A pixel so little below the threshold of solarisation is at it: levels are 1/255 apart, the rest is rounding."""


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
    (views, num), channels, size, device = plan.sigma.shape, source.shape[-3], look.size, source.device
    result = LENDER.lend(views, num, channels, size, size, device=device)
    crops = crops_of(image, cut, plan, look)
    maps = _Maps(plan, look, channels) if look.colour == "matrix" else None
    block = max(1, BLOCK // (views * channels * size * size)) if device.type == "cpu" else num

    def make(start: int) -> None:
        stop = min(start + block, num)
        planes = planes_of(crops, start, stop, result)
        if maps is not None:
            maps.apply(planes, start, stop, result)
        else:
            _change_colours(planes, plan.part(start, stop), look, result[:, start:stop])
        if plan.solarise is not None:
            for x, chosen in zip(result[:, start:stop], plan.solarise[:, start:stop], strict=True):
                geometry.change_some(x, chosen, lambda some, _: _solarised(some, look))

    run = side_by_side if geometry_large.is_large(result, size) else in_turn
    run([partial(make, start) for start in range(0, num, block)])
    return result


class _Maps:
    """The whole change of colour, from levels to normalised values, as an affine map a sample."""

    def __init__(self, plan: Plan, look: Look, channels: int) -> None:
        nobody = torch.zeros_like(plan.sigma, dtype=torch.bool)
        mean, std = look.mean.view(-1, 1), look.std.view(-1, 1)
        maps = colour_matrix.colour_maps(
            plan.factors.flatten(0, 1),
            plan.order.flatten(0, 1),
            (nobody if plan.jitter is None else plan.jitter).flatten(),
            look.used,
            None if plan.grey is None else plan.grey.flatten(),
            channels,
        )
        of_pixel, of_mean = maps.div_((255 * std)[..., None]).chunk(2, dim=1)
        shift = (-mean / std)[..., None].expand(-1, -1, maps.shape[2])
        affine = torch.cat([of_pixel, shift], dim=1).permute(2, 0, 1).contiguous()
        self.affine, self.of_mean = (
            x.unflatten(0, plan.sigma.shape) for x in (affine, of_mean.permute(2, 0, 1).contiguous())
        )
        self.low, self.high = -mean / std, (1 - mean) / std

    def apply(self, planes: Tensor, start: int, stop: int, result: Tensor) -> None:
        """Write samples start..stop - 1 of `result`; each is to be written once."""
        affine, channels = self.affine[:, start:stop], planes.shape[2] - 1
        mean = planes[:, :, :channels].mean(dim=3, keepdim=True)
        affine[..., channels:] += self.of_mean[:, start:stop] @ mean
        for x, maps, source in zip(result, affine, planes, strict=True):
            colour_matrix.apply_maps(maps, source, self.low, self.high, out=x[start:stop].flatten(2))


def _change_colours(planes: Tensor, plan: Plan, look: Look, result: Tensor) -> None:
    """Write `result`: jittered, without colour, normalised and blurred, one after the other as torchvision does."""
    for view, crops in enumerate(planes[:, :, :-1].unflatten(3, (look.size, look.size))):
        x = crops / 255
        if plan.jitter is not None and any(look.used):
            x = colour.jitter(x, plan.factors[view], plan.order[view], plan.jitter[view], look.used)
        if plan.grey is not None:
            x = colour.grey(x, plan.grey[view])
        torch.sub(x, look.mean, out=result[view]).div_(look.std)
        if plan.blur is not None:
            _blur(result[view], plan.blur[view], geometry.half_kernels(plan.sigma[view], look.radius))


def _blur(x: Tensor, chosen: Tensor, kernels: Tensor) -> None:
    if geometry_large.is_large(x, x.shape[-1]):
        for image, kernel, wanted in zip(x, kernels, chosen.tolist(), strict=True):
            if wanted:
                geometry_large.convolve_large(image, kernel, out=image)
    else:
        geometry.blur_some(x, chosen, kernels)


def _solarised(x: Tensor, look: Look) -> Tensor:
    bright = x >= (look.threshold - _BESIDE - look.mean) / look.std
    return torch.where(bright, (1 - 2 * look.mean) / look.std - x, x)

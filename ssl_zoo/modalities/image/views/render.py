"""From samples and their parameters to the pixels of the views.

The work is laid out for few passes over memory: all views of a block of samples that fits in a processor's cache are
made together; the whole colour change, the scaling from levels and the normalisation are one matrix per sample;
solarisation follows on the samples that it is for. On a CPU, `hardware.keep_memory` keeps the buffers from coming anew
from the system, which would take as long as the arithmetic on them.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ssl_zoo.modalities.image.units import has_range, white
from ssl_zoo.modalities.image.views import colour_matrix, geometry
from ssl_zoo.modalities.image.views.colour_exact import render_exact
from ssl_zoo.modalities.image.views.crops import crops_of
from ssl_zoo.modalities.image.views.parallel import free_threads, side_by_side
from ssl_zoo.modalities.image.views.params import RenderSettings, SampleParams

BLOCK = 3 * 2**18
"""Numbers that are made at a time on a CPU."""

_NEARLY = 1e-4
"""A pixel so little below the threshold of solarisation is at it: levels are 1/255 apart, the rest is rounding."""


def render(source: Tensor, params: SampleParams, settings: RenderSettings, *, block: int = BLOCK) -> Tensor:
    """Return the views `(V, B, C, S, S)`, float32, normalised.

    Args:
        source: images `(B, C, H, W)`, uint8, uint16 or float32, to be cut by `params.boxes`; where those are None,
            crops `(V, B, C, S, S)` that are cut already.
        params: of each sample in each view.
        settings: shared by all samples.
        block: numbers that are made at a time on a CPU.
    """
    if settings.colour == "exact":
        return render_exact(source, params, settings)
    (views, num), channels, size, device = params.sigma.shape, source.shape[-3], settings.size, source.device
    result = torch.empty(views, num, channels, size, size, dtype=torch.float32, device=device)
    samples = num
    if device.type == "cpu":
        samples = max(1, block // (views * channels * size * size))
        # As many blocks for each thread, of the same size. (One thread, as always for small views, keeps the size.)
        turns = -(-num // (samples * free_threads()))
        samples = samples if free_threads() == 1 else -(-num // (turns * free_threads()))
    crops = crops_of(source, params, settings, samples)
    maps = _ColourMaps(params, settings, channels, source.dtype)

    def make(start: int) -> None:
        stop = min(start + samples, num)
        maps.apply(crops.planes(start, stop), start, stop, result)
        if params.solarise is not None:
            for x, chosen in zip(result[:, start:stop], params.solarise[:, start:stop], strict=True):
                geometry.change_some(x, chosen, lambda some, _: _solarised(some, settings))

    side_by_side([partial(make, start) for start in range(0, num, samples)])
    return result


class _ColourMaps:
    """The whole change of colour, from levels to normalised values: one affine map per sample.

    Values of integers are kept in their range; those of floats have none.
    """

    def __init__(self, params: SampleParams, settings: RenderSettings, channels: int, dtype: torch.dtype) -> None:
        nobody = torch.zeros_like(params.sigma, dtype=torch.bool)
        mean, std = settings.mean.view(-1, 1), settings.std.view(-1, 1)
        maps = colour_matrix.colour_maps(
            params.factors.flatten(0, 1),
            params.order.flatten(0, 1),
            (nobody if params.jitter is None else params.jitter).flatten(),
            settings.used,
            None if params.grey is None else params.grey.flatten(),
            channels,
        )
        of_pixel, of_mean = maps.div_((white(dtype) * std)[..., None]).chunk(2, dim=1)
        shift = (-mean / std)[..., None].expand(-1, -1, maps.shape[2])
        affine = torch.cat([of_pixel, shift], dim=1).permute(2, 0, 1).contiguous()
        self.affine, self.of_mean = (
            x.unflatten(0, params.sigma.shape) for x in (affine, of_mean.permute(2, 0, 1).contiguous())
        )
        self.bounds = (-mean / std, (1 - mean) / std) if has_range(dtype) else None

    def apply(self, planes: Tensor, start: int, stop: int, result: Tensor) -> None:
        """Write samples start..stop - 1 of `result`; each is to be written once."""
        affine, channels = self.affine[:, start:stop], result.shape[2]
        mean = planes[:, :, :channels].mean(dim=3, keepdim=True)
        affine[..., channels:] += self.of_mean[:, start:stop] @ mean
        for x, maps, source in zip(result, affine, planes, strict=True):
            colour_matrix.apply_maps(maps, source, self.bounds, out=x[start:stop].flatten(2))


def _solarised(x: Tensor, settings: RenderSettings) -> Tensor:
    bright = x >= (settings.threshold - _NEARLY - settings.mean) / settings.std
    return torch.where(bright, (1 - 2 * settings.mean) / settings.std - x, x)

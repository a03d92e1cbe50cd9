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

from ssl_zoo.modalities.image.units import has_range
from ssl_zoo.modalities.image.views import colour_matrix, geometry
from ssl_zoo.modalities.image.views.colour_at_once import render_at_once
from ssl_zoo.modalities.image.views.colour_exact import render_exact
from ssl_zoo.modalities.image.views.crops import crops_of
from ssl_zoo.modalities.image.views.geometry_large import is_large
from ssl_zoo.modalities.image.views.parallel import free_threads, side_by_side
from ssl_zoo.modalities.image.views.params import RenderSettings, SampleParams

BLOCK = 3 * 2**18
"""Numbers that are made at a time on a CPU; twice as many of large views, whose threads meet less often then."""

LEAST = 2**17
"""Numbers for which another thread is worth its start: those of 21 samples in two views of 32 px."""

BLOCK_ON_DEVICE = 2**25
"""Numbers that are made at a time elsewhere: two views of 224 px of 111 samples, which take some 0.8 GB meanwhile."""


def render(source: Tensor, params: SampleParams, settings: RenderSettings, *, block: int | None = None) -> Tensor:
    """Return the views `(V, B, C, S, S)`, float32, normalised.

    Args:
        source: images `(B, C, H, W)`, uint8, uint16 or float32, to be cut by `params.boxes`; where those are None,
            crops `(V, B, C, S, S)` that are cut already.
        params: of each sample in each view.
        settings: shared by all samples.
        block: numbers that are made at a time; None takes what suits the device.
    """
    if settings.colour == "exact":
        exact = render_exact if source.device.type == "cpu" else render_at_once
        return exact(source, params, settings)
    (views, num), channels, size, device = params.shape, source.shape[-3], settings.size, source.device
    result = torch.empty(views, num, channels, size, size, dtype=torch.float32, device=device)
    least = LEAST if block is None else 1
    if block is None:
        block = (2 * BLOCK if is_large(source, size) else BLOCK) if device.type == "cpu" else BLOCK_ON_DEVICE
    numbers = views * channels * size * size
    samples, threads = max(1, block // numbers), min(free_threads(), max(1, num * numbers // least))
    if threads > 1:  # as many blocks for each, of the same size
        turns = -(-num // (samples * threads))
        samples = -(-num // (turns * threads))
    crops = crops_of(source, params, settings)
    maps = _ColourMaps(params, settings, source.dtype)

    def make(start: int) -> None:
        stop = min(start + samples, num)
        maps.apply(crops.planes(start, stop), start, stop, result)
        if params.solarise is not None:
            for x, chosen in zip(result[:, start:stop], params.solarise[:, start:stop], strict=True):
                geometry.change_some(x, chosen, lambda some, _: _solarised(some, settings))

    side_by_side([partial(make, start) for start in range(0, num, samples)])
    return result


def in_jobs(source: Tensor, settings: RenderSettings) -> bool:
    """Return whether blocks of samples are made side by side, one thread each, and not one after the other by all.

    They are on a CPU, where operations on small views are too short to be worth the meeting of all threads after each.
    So are large views by torchvision's functions; those of small ones are too short for jobs, too.
    """
    by_matrix = source.device.type == "cpu" and settings.colour == "matrix"
    return by_matrix or is_large(source, settings.size)


class _ColourMaps:
    """The whole change of colour, from levels to normalised values: one affine map per sample.

    Values of integers are kept in their range; those of floats have none.
    """

    def __init__(self, params: SampleParams, settings: RenderSettings, dtype: torch.dtype) -> None:
        assert params.affine is not None and params.of_mean is not None
        self.affine, self.of_mean = params.affine, params.of_mean
        self.bounds = settings.bounds if has_range(dtype) else None

    def apply(self, planes: Tensor, start: int, stop: int, result: Tensor) -> None:
        """Write samples start..stop - 1 of `result`."""
        affine, channels = self.affine[:, start:stop].clone(), result.shape[2]
        mean = planes[:, :, :channels].mean(dim=3, keepdim=True)
        affine[..., channels:].add_(self.of_mean[:, start:stop] @ mean)
        for x, maps, source in zip(result, affine, planes, strict=True):
            colour_matrix.apply_maps(maps, source, self.bounds, out=x[start:stop].flatten(2))


def _solarised(x: Tensor, settings: RenderSettings) -> Tensor:
    bright, whole = settings.solarisation
    return torch.where(x >= bright, whole - x, x)

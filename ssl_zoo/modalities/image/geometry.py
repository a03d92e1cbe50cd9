"""Crop, resize, flip and blur of image batches, with parameters per sample.

Crop with resize, and blur, are separable linear maps: a matrix product on the rows and one on the columns, each with
a matrix a sample. The weights are those of torch's antialiased interpolation, so the results are torchvision's. Of
large images the matrices are mostly zeros: on a CPU, those are made by `ssl_zoo.modalities.image.geometry_large`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

Interpolation = Literal["bilinear", "bicubic"]
TRIES = 10
"""Tries at a crop that fits, as in torchvision's RandomResizedCrop."""

TABLE = 2**21
"""Numbers that a table of resampling matrices may have: 8 MiB."""

_FAR = 1e6
"""A distance in pixels at which every filter is zero."""


def draw_crops(generator: torch.Generator, *shape: int) -> Tensor:
    """Return uniform numbers `(*shape, TRIES, 4)` for `crop_boxes`: area, aspect ratio, top, left of each try."""
    return torch.rand(*shape, TRIES, 4, generator=generator)


def crop_boxes(
    drawn: Tensor, height: Tensor, width: Tensor, scale: tuple[float, float], ratio: tuple[float, float]
) -> Tensor:
    """Return boxes with the distribution of torchvision's `RandomResizedCrop.get_params`.

    Args:
        drawn: uniform numbers `(B, TRIES, 4)`.
        height: of each image in pixels, `(B,)`.
        width: of each image in pixels, `(B,)`.
        scale: least and largest area, as fractions of the image's.
        ratio: least and largest width / height; its logarithm is uniform.

    Returns:
        top, left, height, width in pixels, `(B, 4)`, whole numbers in float.
    """
    high, wide = height[:, None].to(drawn.dtype), width[:, None].to(drawn.dtype)
    area = high * wide * (scale[0] + (scale[1] - scale[0]) * drawn[..., 0])
    low, top_ratio = math.log(ratio[0]), math.log(ratio[1])
    aspect = torch.exp(low + (top_ratio - low) * drawn[..., 1])
    w, h = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (w > 0) & (w <= wide) & (h > 0) & (h <= high)
    first = fits.to(torch.uint8).argmax(dim=1, keepdim=True)
    w, h, down, right = (x.gather(1, first) for x in (w, h, drawn[..., 2], drawn[..., 3]))
    top = (down * (high - h + 1)).floor().clamp(max=high - h)
    left = (right * (wide - w + 1)).floor().clamp(max=wide - w)
    chosen = torch.cat([top, left, h, w], dim=1)
    return torch.where(fits.any(dim=1)[:, None], chosen, _central(high[:, 0], wide[:, 0], ratio))


def _central(high: Tensor, wide: Tensor, ratio: tuple[float, float]) -> Tensor:
    """Return the largest central box whose aspect ratio is allowed: what is taken when no try fits."""
    w = torch.minimum(wide, (high * ratio[1]).round())
    h = torch.minimum(high, (wide / ratio[0]).round())
    h, w = h.clamp(min=1), w.clamp(min=1)
    return torch.stack([((high - h) / 2).floor(), ((wide - w) / 2).floor(), h, w], dim=-1)


def _cubic(x: Tensor) -> Tensor:
    """Return Keys' cubic filter at distances x >= 0, with a = -0.5 as in antialiased torch."""
    a = -0.5
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def resample_weights(
    start: Tensor,
    length: Tensor,
    interpolation: Interpolation,
    mirror: Tensor | None = None,
    *,
    out: Tensor,
) -> Tensor:
    """Return the matrices `(B, num_out, num_in)` that resample the span [start, start + length) of `num_in` pixels.

    Args:
        start: first pixel of each span, `(B,)`, whole numbers.
        length: of each span in pixels, `(B,)`.
        interpolation: the filter, which widens with the reduction (antialiasing).
        mirror: which spans to read backwards, bool `(B,)`.
        out: written to, and returned; its shape says how many pixels there are and how many to make.
    """
    device, dtype, (num_out, num_in) = start.device, torch.float32, out.shape[1:]
    start, length = start.to(dtype)[:, None], length.to(dtype)[:, None]
    scale = length / num_out
    stretch = scale.clamp(min=1)
    centre = scale * (torch.arange(num_out, device=device, dtype=dtype) + 0.5)  # (B, num_out), from the span's start
    if mirror is not None:
        centre = torch.where(mirror[:, None], length - centre, centre)
    pixel = torch.arange(num_in, device=device, dtype=dtype) + 0.5 - start  # (B, num_in)
    pixel.masked_fill_((pixel < 0) | (pixel > length), _FAR)  # pixels beside the span count for nothing
    weights = torch.sub(pixel[:, None, :], centre[:, :, None], out=out).abs_()
    if interpolation == "bilinear":
        torch.sub(stretch[:, :, None], weights, out=weights).clamp_min_(0)  # a triangle, times stretch
    else:
        weights.copy_(_cubic(weights.div_(stretch[:, :, None])))
    return weights.mul_(weights.sum(dim=2, keepdim=True).reciprocal_())


class Spans:
    """Many spans of rows or columns that are to be resampled: their matrices, computed or taken from a table.

    The arguments are those of `resample_weights`; all matrices of small images fit in a table.
    """

    def __init__(
        self,
        start: Tensor,
        length: Tensor,
        mirror: Tensor | None,
        num_in: int,
        num_out: int,
        interpolation: Interpolation,
    ) -> None:
        self.start, self.length, self.mirror, self.interpolation = start, length, mirror, interpolation
        self.table = None
        if num_in * (num_in + 1) * num_out * num_in <= TABLE:
            self.table = _table(num_in, num_out, interpolation, start.device)
            # Spans come by length: num_in of length 1, num_in - 1 of length 2, and so on; then all of them mirrored.
            before = (length - 1) * (num_in + 1) - (length - 1) * length / 2
            mirrored = 0 if mirror is None else mirror * (num_in * (num_in + 1) // 2)
            self.place = (start + before + mirrored).long()

    def write(self, first: int, last: int, out: Tensor) -> None:
        """Write the matrices of spans first..last - 1 to `out`, `(last - first, num_out, num_in)`."""
        part = slice(first, last)
        if self.table is not None:
            torch.index_select(self.table, 0, self.place[part], out=out)
        else:
            mirror = None if self.mirror is None else self.mirror[part]
            resample_weights(self.start[part], self.length[part], self.interpolation, mirror, out=out)


@lru_cache(maxsize=8)
def _table(num_in: int, num_out: int, interpolation: Interpolation, device: torch.device) -> Tensor:
    """Return the matrices of all spans of `num_in` pixels, and of all of them mirrored."""
    with torch.inference_mode(False):
        spans = [(s, n) for n in range(1, num_in + 1) for s in range(num_in - n + 1)] * 2
        start, length = torch.tensor(spans, device=device, dtype=torch.float32).T
        mirror = torch.arange(len(spans), device=device) >= len(spans) // 2
        out = torch.empty(len(spans), num_out, num_in, device=device)
        return resample_weights(start, length, interpolation, mirror, out=out)


def blur_radius(sigma: float, size: int) -> int:
    """Return the radius of the blur's kernel in pixels: three sigma, as far as reflection at the border allows."""
    return min(math.ceil(3 * sigma), size - 1)


def half_kernels(sigma: Tensor, radius: int) -> Tensor:
    """Return the middle tap and those on one side of it, `(B, radius + 1)`, of Gaussian kernels whose taps add to 1."""
    half = torch.exp(-0.5 * (torch.arange(radius + 1, device=sigma.device) / sigma[:, None]) ** 2)
    return half / (2 * half.sum(dim=1, keepdim=True) - half[:, :1])


@lru_cache(maxsize=32)
def _blur_basis(radius: int, num: int, device: torch.device) -> Tensor:
    """Return `(radius + 1, num * num)`: the matrix of a blur is its half kernel times this."""
    with torch.inference_mode(False):
        offsets = torch.arange(-radius, radius + 1, device=device)
        source = (torch.arange(num, device=device)[:, None] + offsets).abs()  # reflection at the border
        source = torch.where(source >= num, 2 * (num - 1) - source, source)  # (num, 2 radius + 1)
        place = torch.arange(num, device=device)[:, None] * num + source
        basis = torch.zeros(radius + 1, num * num, device=device)
        basis.index_put_((offsets.abs().expand_as(place), place), basis.new_ones(()), accumulate=True)
        return basis


def blur_matrices(kernels: Tensor, num: int) -> Tensor:
    """Return the matrices `(B, num, num)` of convolutions with half kernels `(B, radius + 1)`, and reflections."""
    return (kernels @ _blur_basis(kernels.shape[1] - 1, num, kernels.device)).view(-1, num, num)


def gaussian_blur(x: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Blur each image with its own Gaussian.

    Args:
        x: images `(B, C, H, W)`.
        sigma: standard deviations in pixels, `(B,)`, positive.
        radius: the kernel has 2 radius + 1 taps; radius < min(H, W).

    Returns:
        `(B, C, H, W)`, with reflection at the border as in torchvision's `gaussian_blur`.
    """
    return convolve(x, half_kernels(sigma, radius))


def convolve(x: Tensor, kernels: Tensor) -> Tensor:
    """Convolve rows and columns of each image with its symmetric kernel `(B, radius + 1)`, see `gaussian_blur`."""
    num, channels, height, width = x.shape
    rows = blur_matrices(kernels, height)
    columns = rows if height == width else blur_matrices(kernels, width)
    across = torch.bmm(x.reshape(num, channels * height, width), columns.transpose(1, 2)).view_as(x)
    result = torch.empty_like(across)
    for channel in range(channels):
        result[:, channel] = torch.bmm(rows, across[:, channel])
    return result


def change_some(x: Tensor, chosen: Tensor, change: Callable[[Tensor, Tensor | slice], Tensor]) -> None:
    """Replace the chosen samples of `x`, bool `(B,)`, by `change(samples, their index)`."""
    if x.device.type != "cpu":  # to know which would make the host wait for the device
        torch.where(chosen.view(-1, 1, 1, 1), change(x, slice(None)), x, out=x)
        return
    index = torch.nonzero(chosen).squeeze(1)
    if len(index):
        x.index_copy_(0, index, change(x.index_select(0, index), index))


def blur_some(x: Tensor, chosen: Tensor, kernels: Tensor) -> None:
    """Convolve the chosen samples of `x` `(B, C, H, W)`, bool `(B,)`, with their kernels `(B, radius + 1)`."""
    change_some(x, chosen, lambda some, index: convolve(some, kernels[index]))

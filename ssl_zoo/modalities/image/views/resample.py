"""Crop, resize, flip and blur along one side of the images: one matrix per view and sample.

The weights are those of torch's antialiased interpolation, so the results are torchvision's.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from ssl_zoo.modalities.image.views.geometry import Interpolation, cosine_basis

TABLE = 2**21
"""Numbers that a table of matrices may hold: 8 MiB."""

_FAR = 1e6
"""A distance in pixels at which every filter is zero."""


def cubic(x: Tensor) -> Tensor:
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
    """Return the matrices `(B, num_in, num_out)` that resample the span [start, start + length) of `num_in` pixels.

    Args:
        start: first pixel of each span, `(B,)`, whole numbers.
        length: of each span in pixels, `(B,)`.
        interpolation: the filter, which widens with the reduction (antialiasing).
        mirror: which spans to read backwards, bool `(B,)`.
        out: written to, and returned; its shape is that of the result.
    """
    device, dtype, (num_in, num_out) = start.device, torch.float32, out.shape[1:]
    start, length = start.to(dtype)[:, None], length.to(dtype)[:, None]
    scale = length / num_out
    stretch = scale.clamp(min=1)[:, :, None]
    centre = scale * (torch.arange(num_out, device=device, dtype=dtype) + 0.5)  # (B, num_out), from the span's start
    if mirror is not None:
        centre = torch.where(mirror[:, None], length - centre, centre)
    pixel = torch.arange(num_in, device=device, dtype=dtype) + 0.5 - start  # (B, num_in)
    pixel.masked_fill_((pixel < 0) | (pixel > length), _FAR)  # pixels outside the span count for nothing
    weights = torch.sub(pixel[:, :, None], centre[:, None, :], out=out).abs_()
    if interpolation == "bilinear":
        torch.sub(stretch, weights, out=weights).clamp_min_(0)  # a triangle, times stretch
    else:
        weights.copy_(cubic(weights.div_(stretch)))
    return weights.mul_(weights.sum(dim=1, keepdim=True).reciprocal_())


class Spans:
    """The resampling matrices of spans of rows or columns, one per view and sample.

    Those of small images come from a table of all spans. A blur is applied in the cosine basis of the resampled pixels.

    Args:
        start: first pixel of each span, `(V, B)`, whole numbers; see `resample_weights`.
        length: of each span in pixels, `(V, B)`.
        mirror: which spans to read backwards, bool `(V, B)`; None reads none so.
        num_in: pixels of the image along this side.
        num_out: pixels that are made.
        interpolation: the filter.
        response: factors of the blur in the cosine basis, `(V, B, num_out)`; see `geometry.frequency_response`. None
            does not blur.
        table: numbers that the table may hold; a larger one is not made.
    """

    def __init__(
        self,
        start: Tensor,
        length: Tensor,
        mirror: Tensor | None,
        num_in: int,
        num_out: int,
        interpolation: Interpolation,
        response: Tensor | None = None,
        table: int = TABLE,
    ) -> None:
        self.start, self.length, self.mirror, self.interpolation = start, length, mirror, interpolation
        self.response, self.table = response, None
        if num_in * (num_in + 1) * num_out * num_in <= table:
            self.table = _table(num_in, num_out, interpolation, response is not None, start.device)
            # Spans come by length: num_in of length 1, num_in - 1 of length 2, and so on; then all of them mirrored.
            # All are whole numbers or halves below 2^24, so that float32 is exact. Few operations: a GPU launches each.
            place = torch.addcmul(start, length - 1, torch.rsub(length, num_in + 1, alpha=0.5))
            if mirror is not None:
                place = torch.add(place, mirror, alpha=num_in * (num_in + 1) // 2)
            self.place = place.long()

    def write(self, first: int, last: int, out: Tensor) -> None:
        """Write the matrices of samples first..last - 1 to `out`, `(V, last - first, num_in, num_out)`."""
        part, num_out = slice(first, last), out.shape[3]
        if self.response is None:
            self._write(part, out.flatten(0, 1))
            return
        made = torch.empty(*out.shape, device=out.device)
        self._write(part, made.flatten(0, 1))
        made.mul_(self.response[:, part, None])
        # One product for all matrices, which costs less than one each.
        torch.mm(made.view(-1, num_out), cosine_basis(num_out, out.device)[0].T, out=out.view(-1, num_out))

    def _write(self, part: slice, out: Tensor) -> None:
        """Write matrices that make pixels, or their coefficients in the cosine basis where there is a blur."""
        if self.table is not None:
            torch.index_select(self.table, 0, self.place[:, part].flatten(), out=out)
            return
        mirror = None if self.mirror is None else self.mirror[:, part].flatten()
        start, length = self.start[:, part].flatten(), self.length[:, part].flatten()
        _weights(start, length, self.interpolation, mirror, self.response is not None, out)


def _weights(
    start: Tensor, length: Tensor, interpolation: Interpolation, mirror: Tensor | None, in_cosines: bool, out: Tensor
) -> None:
    if not in_cosines:
        resample_weights(start, length, interpolation, mirror, out=out)
        return
    pixels = resample_weights(start, length, interpolation, mirror, out=torch.empty(*out.shape, device=out.device))
    num_out = out.shape[2]
    torch.mm(pixels.view(-1, num_out), cosine_basis(num_out, out.device)[1].T, out=out.view(-1, num_out))


@lru_cache(maxsize=8)
def _table(num_in: int, num_out: int, interpolation: Interpolation, in_cosines: bool, device: torch.device) -> Tensor:
    """Return the matrices of all spans of `num_in` pixels, and of all of them mirrored."""
    with torch.inference_mode(False):
        spans = [(s, n) for n in range(1, num_in + 1) for s in range(num_in - n + 1)] * 2
        start, length = torch.tensor(spans, device=device, dtype=torch.float32).T
        mirror = torch.arange(len(spans), device=device) >= len(spans) // 2
        out = torch.empty(len(spans), num_in, num_out, device=device)
        _weights(start, length, interpolation, mirror, in_cosines, out)
        return out

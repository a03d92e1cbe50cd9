"""How pictures are compared pixel by pixel: by correlation, after the one is laid onto the other.

A crop shifts all that is left, so that pixels at one place no longer agree. Therefore the best of many windows of the
one picture is compared with the whole other one, and the other way round.
"""

from __future__ import annotations

import io
from functools import cache
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_zoo.batch import View
from ssl_zoo.data.likeness import Likeness
from ssl_zoo.modalities.image.units import has_range, white

SIDE, FINE, COARSE = 64, 32, 16
"""Sides, in pixels, of outlines, of what is compared in the end, and of what is compared at first."""
SHARES = (0.95, 0.9, 0.85, 0.8)
"""Sides of windows, as shares of the picture's."""
SMALLEST = 0.75
PROMISING = 0.7
"""Pairs less alike than that at the best window of the first search, at 16 x 16, are not searched any further."""
HALVINGS = 5
BATCH = 64
"""Pairs that are compared at a time."""
JPEG_QUALITY = 60


class ImageLikeness(Likeness):
    """Compares pictures of any size by the correlation of their pixels at 32 x 32, at the best of many windows.

    Mean and linear trend of each channel and one factor are taken out, so that brightness and contrast do not matter,
    nor does the shape of the picture. Windows have at least 75 % of each side.
    """

    least = 0.95

    def outline(self, sample: Tensor, view: View) -> Tensor:
        """Return a picture `(C, H, W)` at 64 x 64 as `(C * 64 * 64,)`; integers become 0 to 1."""
        x = sample.float()[None] / white(sample.dtype)
        return F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False).flatten()

    def coarse(self, outlines: Tensor) -> Tensor:
        """Return the pictures at 16 x 16 as vectors of unit length `(B, C * 16 * 16)`."""
        return _unit(F.avg_pool2d(_pictures(outlines), SIDE // COARSE))

    def compare(self, one: Tensor, other: Tensor) -> Tensor:
        """Return the correlation of pictures at the best window, `(B,)`, of outlines `(B, D)`."""
        found = []
        for some, others in zip(one.split(BATCH), other.split(BATCH), strict=True):
            a, b = _pictures(some), _pictures(others)
            found.append(torch.maximum(_best(a, b), _best(b, a)))
        return torch.cat(found) if found else one.new_zeros(0)

    def copies(self, sample: Tensor) -> list[Tensor]:
        """Return a picture at 80 % of its size, cut at the borders, darker, brighter, and, of 8 bits, as JPEG."""
        height, width = sample.shape[-2:]
        x, top = sample.float(), white(sample.dtype)
        small = (
            F.interpolate(x[None], scale_factor=0.8, mode="bilinear", antialias=True)[0] if min(x.shape[1:]) > 4 else x
        )
        y, z = round(0.08 * height), round(0.08 * width)
        changed = [small, x[:, y // 3 : height - y, z // 2 : width - z], 0.8 * x, 1.2 * x]
        made = [_as(each, sample.dtype, top) for each in changed]
        return [*made, _jpeg(sample)] if sample.dtype == torch.uint8 and sample.shape[0] in (1, 3) else made

    def picture(self, sample: Tensor) -> Tensor | None:
        """Return the first channels of a picture of 8 bits; None of one that holds more."""
        if sample.dtype != torch.uint8:
            return None
        return sample[:3] if sample.shape[0] >= 3 else sample[:1].expand(3, -1, -1)


def _share(side: int) -> int:
    return max(1, round(0.8 * side))


def _as(x: Tensor, dtype: torch.dtype, top: float) -> Tensor:
    return x.round().clamp(0, top).to(dtype) if has_range(dtype) else x


def _jpeg(sample: Tensor) -> Tensor:
    from PIL import Image

    data = io.BytesIO()
    array = sample[0].numpy() if sample.shape[0] == 1 else sample.permute(1, 2, 0).contiguous().numpy()
    Image.fromarray(array).save(data, format="JPEG", quality=JPEG_QUALITY)
    with Image.open(data) as picture:
        made = torch.from_numpy(np.array(picture))
    return made[None] if sample.shape[0] == 1 else made.permute(2, 0, 1).contiguous()


def _pictures(outlines: Tensor) -> Tensor:
    return outlines.view(len(outlines), -1, SIDE, SIDE)


def _unit(x: Tensor) -> Tensor:
    """Return pictures `(..., C, S, S)` as vectors of unit length, mean and linear trend of each channel taken out.

    What is left of two skies, or of two pictures that are bright on top and dark below, is no longer alike.
    """
    flat, plane = x.flatten(-2), _plane(x.shape[-1])
    return F.normalize((flat - (flat @ plane) @ plane.T).flatten(-2), dim=-1)


@cache
def _plane(side: int) -> Tensor:
    """Return an orthonormal basis `(S * S, 3)` of the pictures that are a plane."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    return torch.linalg.qr(torch.stack([torch.ones_like(x), y, x], dim=-1).view(-1, 3))[0]


def _windows(pictures: Tensor, where: Tensor, side: int) -> Tensor:
    """Return windows of pictures as vectors of unit length; pixels are averaged over areas.

    Args:
        pictures: `(B, C, S, S)`.
        where: `(B, K, 4)`, or `(1, K, 4)` for the same of all: height and width as shares of the picture's, and the
            place, from 0 (top, left) to 1.
        side: of the result, in pixels.

    Returns:
        `(B, K, C * side * side)`.
    """
    rows, columns = (_areas(where[..., i], where[..., 2 + i], pictures.shape[-1], side) for i in (0, 1))
    lines = torch.einsum("bkiy,bcyx->bkcix", rows.expand(len(pictures), -1, -1, -1), pictures)
    return _unit(lines @ columns.transpose(-1, -2)[:, :, None])


def _areas(size: Tensor, place: Tensor, num: int, side: int) -> Tensor:
    """Return which share of a pixel of a window each of `num` pixels is, along one axis: `(..., side, num)`."""
    start = (place * (1 - size))[..., None] * num
    step = size[..., None] * num / side
    low = (start + step * torch.arange(side))[..., None]
    pixel = torch.arange(num)
    shared = torch.minimum(low + step[..., None], pixel + 1.0) - torch.maximum(low, pixel.float())
    return shared.clamp_min(0) / step[..., None]


def _best(pictures: Tensor, others: Tensor) -> Tensor:
    """Return the largest correlation of a window of pictures with other pictures, pair by pair, `(B,)`."""
    grid = [(1.0, 1.0, 0.5, 0.5)]
    grid += [(share, share, y, x) for share, y, x in product(SHARES, (0.0, 0.5, 1.0), (0.0, 0.5, 1.0))]
    where = torch.tensor(grid)
    small = _unit(F.avg_pool2d(others, SIDE // COARSE))
    seen = _windows(F.avg_pool2d(pictures, SIDE // FINE), where[None], COARSE)
    value, place = _correlations(seen, small).max(dim=1)
    chosen = torch.nonzero(value >= PROMISING)[:, 0]
    if len(chosen):
        value[chosen] = _refined(pictures[chosen], others[chosen], where[place[chosen]])
    return value


def _refined(pictures: Tensor, others: Tensor, where: Tensor) -> Tensor:
    """Return the correlations `(B,)` after a search around windows `(B, 4)`: in turn of each axis, in smaller steps."""
    fine = _unit(F.avg_pool2d(others, SIDE // FINE))
    around = torch.cartesian_prod(torch.tensor([0.0, -0.025, 0.025]), torch.tensor([0.0, -0.25, 0.25]))
    value, every = torch.full((len(pictures),), -1.0), torch.arange(len(pictures))
    for halving in range(HALVINGS):
        for axis in (0, 1):
            tried = where[:, None].repeat(1, len(around), 1)
            tried[..., axis] = (tried[..., axis] + around[:, 0] / 2**halving).clamp(SMALLEST, 1)
            tried[..., 2 + axis] = (tried[..., 2 + axis] + around[:, 1] / 2**halving).clamp(0, 1)
            value, place = _correlations(_windows(pictures, tried, FINE), fine).max(dim=1)
            where = tried[every, place]
    return value


def _correlations(windows: Tensor, others: Tensor) -> Tensor:
    return torch.einsum("bkd,bd->bk", windows, others)

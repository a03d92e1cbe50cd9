"""From images to the crops of their views, in 0..255, as planes.

Planes `(V, B, C + 1, S * S)` are what colour matrices are applied to: channels, and a last one of ones. Where
`early_blur` holds, the blur is done here already: it commutes with the change of colours.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ssl_zoo.modalities.image.views import geometry, geometry_large
from ssl_zoo.modalities.image.views.params import Look, Plan
from ssl_zoo.modalities.image.views.resample import Spans
from ssl_zoo.modalities.image.views.scratch import DESK


class Crops(Protocol):
    """The crops of a batch, made block by block."""

    def write(self, start: int, stop: int, out: Tensor) -> None:
        """Write the crops of samples start..stop - 1 to `out`, `(V, stop - start, C, S, S)`, float32."""


def crops_of(image: Tensor | None, cut: Tensor | None, plan: Plan, look: Look) -> Crops:
    """Return the way to make crops that is fastest for these samples; see `render` for the arguments."""
    if image is not None and not geometry_large.is_large(image, look.size):
        return _ByMatrices(image, plan, look)
    source = image if image is not None else cut
    assert source is not None
    if geometry_large.is_large(source, look.size):
        return _OneByOne(image, cut, plan, look)
    return _Ready(source, plan, look)


def planes_of(crops: Crops, start: int, stop: int, result: Tensor) -> Tensor:
    """Return the planes of samples start..stop - 1 of `result`, in memory that is used again for the next ones."""
    views, _, channels, size, _ = result.shape
    planes = DESK.take("planes", views, stop - start, channels + 1, size * size, device=result.device)
    planes[:, :, channels] = 1
    crops.write(start, stop, planes[:, :, :channels].unflatten(3, (size, size)))
    return planes


class _ByMatrices:
    """Cut, resize, flip and blur by one product on the rows and one on the columns of each view of each sample."""

    def __init__(self, image: Tensor, plan: Plan, look: Look) -> None:
        assert plan.boxes is not None
        self.image, self.size = image, look.size
        self.height, self.width = image.shape[2:]
        # The cubic filter overshoots, and torchvision bounds what it makes before the blur.
        self.bounded = look.interpolation == "bilinear"
        response, self.blur = None, plan.blur if look.early_blur else None
        if self.blur is not None:
            self.kernels = _kernels(plan, look)
            if self.bounded:
                response = torch.where(self.blur[..., None], geometry.responses(self.kernels, look.size), 1)
        top, left, tall, wide = plan.boxes.unbind(2)
        self.rows = Spans(top, tall, None, self.height, look.size, look.interpolation, response)
        self.columns = Spans(left, wide, plan.flip, self.width, look.size, look.interpolation, response)

    def write(self, start: int, stop: int, out: Tensor) -> None:
        (views, num, channels, size, _), device = out.shape, out.device
        rows = DESK.take("rows", views, num, self.height, size, device=device)
        columns = DESK.take("columns", views, num, self.width, size, device=device)
        self.rows.write(start, stop, rows)
        self.columns.write(start, stop, columns)
        source = DESK.take("source", num, self.height, channels * self.width, device=device)
        source.view(num, self.height, channels, self.width).copy_(self.image[start:stop].transpose(1, 2))
        made = DESK.take("made", num, size, channels * self.width, device=device)
        done = DESK.take("done", num, size * channels, size, device=device)
        for view in range(views):
            torch.bmm(rows[view].transpose(1, 2), source, out=made)
            torch.bmm(made.view(num, size * channels, self.width), columns[view], out=done)
            out[view].copy_(done.view(num, size, channels, size).transpose(1, 2))
        if not self.bounded:
            out.clamp_(0, 255)
            if self.blur is not None:
                _blur_crops(out, self.blur[:, start:stop], self.kernels[:, start:stop])


def _kernels(plan: Plan, look: Look) -> Tensor:
    """Return the half kernels of the blur, `(V, B, radius + 1)`."""
    return geometry.half_kernels(plan.sigma.flatten(), look.radius).unflatten(0, plan.sigma.shape)


def _blur_crops(crops: Tensor, chosen: Tensor, kernels: Tensor) -> None:
    for of_view in zip(crops, chosen, kernels, strict=True):
        geometry.blur_some(*of_view)


class _Ready:
    """Crops that were cut and resized in the loader: flip and blur are left."""

    def __init__(self, cut: Tensor, plan: Plan, look: Look) -> None:
        self.cut, self.flip = cut, plan.flip
        self.blur = plan.blur if look.early_blur else None
        self.kernels = _kernels(plan, look)

    def write(self, start: int, stop: int, out: Tensor) -> None:
        place = slice(start, stop)
        cut = self.cut[:, place]
        out.copy_(cut if self.flip is None else torch.where(self.flip[:, place, None, None, None], cut.flip(4), cut))
        if self.blur is not None:
            _blur_crops(out, self.blur[:, place], self.kernels[:, place])


class _OneByOne:
    """Cut, resize, flip and blur large images, each by itself."""

    def __init__(self, image: Tensor | None, cut: Tensor | None, plan: Plan, look: Look) -> None:
        nobody = torch.zeros_like(plan.sigma, dtype=torch.bool)
        self.image, self.cut, self.look = image, cut, look
        self.boxes = None if plan.boxes is None else plan.boxes.int().tolist()
        self.flips = (nobody if plan.flip is None else plan.flip).tolist()
        self.blurs = (plan.blur if look.early_blur and plan.blur is not None else nobody).tolist()
        self.kernels = _kernels(plan, look)

    def _crop(self, view: int, number: int) -> Tensor:
        if self.cut is not None:
            return self.cut[view, number]
        assert self.image is not None and self.boxes is not None
        return geometry_large.cut(self.image[number], self.boxes[view][number], self.look.size, self.look.interpolation)

    def write(self, start: int, stop: int, out: Tensor) -> None:
        for view, of_view in enumerate(out):
            for number, place in zip(range(start, stop), of_view, strict=True):
                made = self._crop(view, number)
                made = made.flip(2) if self.flips[view][number] else made
                if self.blurs[view][number]:
                    geometry_large.convolve_large(made, self.kernels[view, number], out=place)
                else:
                    place.copy_(made)

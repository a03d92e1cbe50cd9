"""From images to the crops of their views, in the levels of the images (0..255 of uint8), as planes.

Planes are what colour matrices are applied to: the channels `(V, B, C, S * S)`, or those and a last one of ones `(V, B,
C + 1, S * S)`. The blur is done here already: it commutes with the change of colours, except where values leave the
range.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ssl_zoo.modalities.image.units import has_range, white
from ssl_zoo.modalities.image.views import geometry
from ssl_zoo.modalities.image.views.blur import Blur
from ssl_zoo.modalities.image.views.crops_large import CropsByTaps, CropsOneByOne, flipped
from ssl_zoo.modalities.image.views.geometry import Interpolation
from ssl_zoo.modalities.image.views.geometry_large import is_large
from ssl_zoo.modalities.image.views.params import RenderSettings, SampleParams
from ssl_zoo.modalities.image.views.resample import Spans

FEW = 2
"""Images of at most so many times the side of large views are cropped by taps; larger ones are cut one at a time."""


class Crops(Protocol):
    """The crops of a batch, made block by block."""

    def planes(self, start: int, stop: int) -> Tensor:
        """Return the planes of samples start..stop - 1."""


def crops_of(source: Tensor, params: SampleParams, settings: RenderSettings) -> Crops:
    """Return the way to make crops that is fastest for these samples.

    Args:
        source: see `render`.
        params: see `render`.
        settings: see `render`.
    """
    blur = None
    if params.blur is not None and params.kernels is not None:
        blur = Blur(params.blur, params.kernels)
    boxes, flip, size, interpolation = params.boxes, params.flip, settings.size, settings.interpolation
    if is_large(source, size, settings.large):
        if boxes is not None and max(source.shape[2:]) <= FEW * size:
            return CropsByTaps(source, boxes, size, interpolation, flip, blur)
        return CropsOneByOne(source, boxes, size, interpolation, flip, blur)
    if boxes is None:
        return ReadyCrops(source, flip, blur)
    return CropsByMatrices(source, boxes, size, interpolation, flip, blur)


def _new_planes(views: int, num: int, channels: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return planes with a last one of ones, and their channels `(V, num, C, S, S)`, to be written."""
    planes = torch.empty(views, num, channels + 1, size * size, device=device)
    planes[:, :, channels] = 1
    return planes, planes[:, :, :channels].unflatten(3, (size, size))


class CropsByMatrices:
    """Crop, resize, flip and blur as one product on the rows and one on the columns of each view of each sample.

    Args:
        image: `(B, C, H, W)`.
        boxes: top, left, height, width of the crops in pixels, `(V, B, 4)`.
        size: height and width of what is made.
        interpolation: of the resize.
        flip: which are mirrored, bool `(V, B)`; None mirrors none.
        blur: None blurs none.
    """

    def __init__(
        self,
        image: Tensor,
        boxes: Tensor,
        size: int,
        interpolation: Interpolation,
        flip: Tensor | None = None,
        blur: Blur | None = None,
    ) -> None:
        self.image, self.blur, self.size = image, blur, size
        self.height, self.width = image.shape[2:]
        # The cubic filter overshoots, and torchvision bounds what it makes before the blur.
        self.bounded = interpolation == "bilinear"
        response = None
        if blur is not None and self.bounded:
            response = torch.where(blur.chosen[..., None], geometry.frequency_response(blur.kernels, size), 1)
        top, left, tall, wide = boxes.unbind(2)
        self.rows = Spans(top, tall, None, self.height, size, interpolation, response)
        self.columns = Spans(left, wide, flip, self.width, size, interpolation, response)

    def planes(self, start: int, stop: int) -> Tensor:
        """See `Crops`."""
        views, num, channels, size = len(self.rows.start), stop - start, self.image.shape[1], self.size
        device = self.image.device
        planes, out = _new_planes(views, num, channels, size, device)
        rows = torch.empty(views, num, self.height, size, device=device)
        columns = torch.empty(views, num, self.width, size, device=device)
        self.rows.write(start, stop, rows)
        self.columns.write(start, stop, columns)
        source = torch.empty(num, self.height, channels * self.width, device=device)
        source.view(num, self.height, channels, self.width).copy_(self.image[start:stop].transpose(1, 2))
        made = torch.empty(num, size, channels * self.width, device=device)
        done = torch.empty(num, size * channels, size, device=device)
        for view in range(views):
            torch.bmm(rows[view].transpose(1, 2), source, out=made)
            torch.bmm(made.view(num, size * channels, self.width), columns[view], out=done)
            out[view].copy_(done.view(num, size, channels, size).transpose(1, 2))
        if not self.bounded:
            if has_range(self.image.dtype):
                out.clamp_(0, white(self.image.dtype))
            _blur_crops(out, self.blur, start, stop)
        return planes


def _blur_crops(crops: Tensor, blur: Blur | None, start: int, stop: int) -> None:
    if blur is not None:
        for of_view in zip(crops, blur.chosen[:, start:stop], blur.kernels[:, start:stop], strict=True):
            geometry.blur_some(*of_view)


class ReadyCrops:
    """Flip and blur of crops `(V, B, C, S, S)` that were cut and resized in the loader; see `CropsByMatrices`."""

    def __init__(self, cut: Tensor, flip: Tensor | None, blur: Blur | None) -> None:
        self.cut, self.flip, self.blur = cut, flip, blur

    def planes(self, start: int, stop: int) -> Tensor:
        """See `Crops`."""
        cut = self.cut[:, start:stop]
        views, num, channels, size, _ = cut.shape
        planes, out = _new_planes(views, num, channels, size, cut.device)
        out.copy_(flipped(cut, None if self.flip is None else self.flip[:, start:stop]))
        _blur_crops(out, self.blur, start, stop)
        return planes

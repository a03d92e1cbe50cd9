"""From images to the crops of their views, in the levels of the images (0..255 of uint8), as planes.

Planes `(V, B, C + 1, S * S)` are what colour matrices are applied to: channels, and a last one of ones. The blur is
done here already: it commutes with the change of colours, except where values leave the range.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ssl_zoo.modalities.image.units import has_range, white
from ssl_zoo.modalities.image.views import geometry, geometry_large
from ssl_zoo.modalities.image.views.geometry import Interpolation
from ssl_zoo.modalities.image.views.params import RenderSettings, SampleParams
from ssl_zoo.modalities.image.views.resample import Spans


class Crops(Protocol):
    """The crops of a batch, made block by block."""

    def write(self, start: int, stop: int, out: Tensor) -> None:
        """Write the crops of samples start..stop - 1 to `out`, `(V, stop - start, C, S, S)`, float32."""


class Blur(NamedTuple):
    """The blur of each sample in each view.

    Attributes:
        chosen: which are blurred, bool `(V, B)`.
        kernels: half kernels `(V, B, radius + 1)`; see `geometry.half_kernels`.
    """

    chosen: Tensor
    kernels: Tensor


def crops_of(source: Tensor, params: SampleParams, settings: RenderSettings) -> Crops:
    """Return the way to make crops that is fastest for these samples; see `render` for the arguments."""
    blur = None
    if params.blur is not None:
        kernels = geometry.half_kernels(params.sigma.flatten(), settings.radius)
        blur = Blur(params.blur, kernels.unflatten(0, params.sigma.shape))
    if geometry_large.is_large(source, settings.size, settings.large):
        return CropsOneByOne(source, params.boxes, settings.size, settings.interpolation, params.flip, blur)
    if params.boxes is None:
        return ReadyCrops(source, params.flip, blur)
    return CropsByMatrices(source, params.boxes, settings.size, settings.interpolation, params.flip, blur)


def planes_of(crops: Crops, start: int, stop: int, result: Tensor) -> Tensor:
    """Return the planes of samples start..stop - 1 of `result`."""
    views, _, channels, size, _ = result.shape
    planes = torch.empty(views, stop - start, channels + 1, size * size, device=result.device)
    planes[:, :, channels] = 1
    crops.write(start, stop, planes[:, :, :channels].unflatten(3, (size, size)))
    return planes


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
        self.image, self.blur = image, blur
        self.height, self.width = image.shape[2:]
        # The cubic filter overshoots, and torchvision bounds what it makes before the blur.
        self.bounded = interpolation == "bilinear"
        response = None
        if blur is not None and self.bounded:
            response = torch.where(blur.chosen[..., None], geometry.frequency_response(blur.kernels, size), 1)
        top, left, tall, wide = boxes.unbind(2)
        self.rows = Spans(top, tall, None, self.height, size, interpolation, response)
        self.columns = Spans(left, wide, flip, self.width, size, interpolation, response)

    def write(self, start: int, stop: int, out: Tensor) -> None:
        """See `Crops`."""
        (views, num, channels, size, _), device = out.shape, out.device
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


def _blur_crops(crops: Tensor, blur: Blur | None, start: int, stop: int) -> None:
    if blur is not None:
        for of_view in zip(crops, blur.chosen[:, start:stop], blur.kernels[:, start:stop], strict=True):
            geometry.blur_some(*of_view)


class ReadyCrops:
    """Flip and blur of crops `(V, B, C, S, S)` that were cut and resized in the loader; see `CropsByMatrices`."""

    def __init__(self, cut: Tensor, flip: Tensor | None, blur: Blur | None) -> None:
        self.cut, self.flip, self.blur = cut, flip, blur

    def write(self, start: int, stop: int, out: Tensor) -> None:
        """See `Crops`."""
        place = slice(start, stop)
        cut = self.cut[:, place]
        out.copy_(cut if self.flip is None else torch.where(self.flip[:, place, None, None, None], cut.flip(4), cut))
        _blur_crops(out, self.blur, start, stop)


class CropsOneByOne:
    """Crop, resize, flip and blur of large images, one at a time; see `CropsByMatrices`.

    Args:
        source: images `(B, C, H, W)`, or where `boxes` is None crops `(V, B, C, S, S)`.
    """

    def __init__(
        self,
        source: Tensor,
        boxes: Tensor | None,
        size: int,
        interpolation: Interpolation,
        flip: Tensor | None,
        blur: Blur | None,
    ) -> None:
        self.source, self.size, self.interpolation = source, size, interpolation
        self.boxes = None if boxes is None else boxes.int().tolist()
        self.flips = None if flip is None else flip.tolist()
        self.blurs = None if blur is None else blur.chosen.tolist()
        self.kernels = None if blur is None else blur.kernels

    def _crop(self, view: int, number: int) -> Tensor:
        if self.boxes is None:
            return self.source[view, number]
        return geometry_large.cut(self.source[number], self.boxes[view][number], self.size, self.interpolation)

    def write(self, start: int, stop: int, out: Tensor) -> None:
        """See `Crops`."""
        for view, of_view in enumerate(out):
            for number, place in zip(range(start, stop), of_view, strict=True):
                made = self._crop(view, number)
                made = made.flip(2) if self.flips is not None and self.flips[view][number] else made
                if self.blurs is not None and self.kernels is not None and self.blurs[view][number]:
                    geometry_large.convolve_large(made, self.kernels[view, number], out=place)
                else:
                    place.copy_(made)

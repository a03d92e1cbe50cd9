"""The crops of large views on a CPU, where the matrices of `crops` would be mostly zeros."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_zoo.modalities.image.units import has_range, white
from ssl_zoo.modalities.image.views import geometry_large
from ssl_zoo.modalities.image.views.blur import Blur
from ssl_zoo.modalities.image.views.geometry import Interpolation
from ssl_zoo.modalities.image.views.taps import Taps, add_rows, counted, spread


def flipped(cut: Tensor, flip: Tensor | None) -> Tensor:
    """Return crops `(V, B, C, S, S)`, mirrored where `flip` `(V, B)` says so."""
    return cut if flip is None else torch.where(flip[..., None, None, None], cut.flip(4), cut)


class CropsByTaps:
    """Crop, resize, flip and blur by the taps of each row; see `crops.CropsByMatrices`.

    The columns of an image are rows of its transpose, which is made once for all views.

    Args:
        image: `(B, C, H, W)`.
        boxes: top, left, height, width of the crops in pixels, `(V, B, 4)`.
        size: height and width of what is made.
        interpolation: of the resize.
        flip: which are mirrored, bool `(V, B)`; None mirrors none.
        blur: None blurs none.
        block: samples that are made at a time.
    """

    def __init__(
        self,
        image: Tensor,
        boxes: Tensor,
        size: int,
        interpolation: Interpolation,
        flip: Tensor | None,
        blur: Blur | None,
        block: int,
    ) -> None:
        self.image, self.blur = image, blur
        # The cubic filter overshoots, and torchvision bounds what it makes before the blur.
        self.bounded = interpolation == "bilinear"
        (num, channels, height, width), views = image.shape, len(boxes)
        top, left, tall, wide = boxes.permute(2, 1, 0).contiguous()
        self.columns = Taps(left, wide, None if flip is None else flip.T, size, interpolation)
        rows = Taps(top, tall, None, size, interpolation)
        # From pixels of an image to rows of a block.
        place = torch.arange(num, dtype=torch.int32).remainder_(block)[:, None]
        self.columns.index += (place * width)[..., None, None]
        first = ((place * views + counted(views, 1))[..., None] * channels + counted(channels, 1)) * height
        self.index = rows.index[:, :, None] + first[..., None, None]  # (B, V, C, size, taps)
        self.weights = rows.weights[:, :, None].expand(self.index.shape).contiguous()

    def planes(self, start: int, stop: int) -> Tensor:
        """See `crops.Crops`."""
        (channels, height, width), (views, size) = self.image.shape[1:], self.columns.index.shape[1:3]
        part, num, line = slice(start, stop), stop - start, channels * height
        blur = None if self.blur is None else self.blur.block(start, stop)
        source = torch.empty(num, width, spread(line))
        source[..., :line].unflatten(2, (channels, height)).copy_(self.image[part].permute(0, 3, 1, 2))
        source[..., line:] = 0
        made = add_rows(source.flatten(0, 1), self.columns.index[part], self.columns.weights[part])
        made = made.view(num * views, 1, size, -1)
        if blur is not None and self.bounded:
            blur.rows(made)
        turned = torch.empty(num * views, channels, height, size)
        turned.copy_(made[:, 0, :, :line].unflatten(2, (channels, height)).permute(0, 2, 3, 1))
        made = add_rows(turned.view(-1, size), self.index[part], self.weights[part])
        made = made.view(num * views, channels, size, size)
        if not self.bounded and has_range(self.image.dtype):
            made.clamp_(0, white(self.image.dtype))
        if blur is not None:
            (blur.rows if self.bounded else blur.images)(made)
        return made.view(num, views, channels, size * size).transpose(0, 1)


class CropsOneByOne:
    """Flip and blur of crops that are cut and resized one at a time, here or in the loader; see `CropsByTaps`.

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
        self.flip, self.blur = flip, blur

    def _cut(self, start: int, stop: int) -> Tensor:
        if self.boxes is None:
            return self.source[:, start:stop]
        cuts = [
            geometry_large.cut(image, box, self.size, self.interpolation)
            for of_view in self.boxes
            for image, box in zip(self.source[start:stop], of_view[start:stop], strict=True)
        ]
        return torch.stack(cuts).unflatten(0, (len(self.boxes), stop - start))

    def planes(self, start: int, stop: int) -> Tensor:
        """See `crops.Crops`."""
        flip = None if self.flip is None else self.flip[:, start:stop]
        cut = flipped(self._cut(start, stop), flip).transpose(0, 1)
        planes = torch.empty(cut.shape).copy_(cut)
        if self.blur is not None:
            self.blur.block(start, stop).images(planes.flatten(0, 1))
        return planes.flatten(3).transpose(0, 1)

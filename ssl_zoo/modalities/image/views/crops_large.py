"""The crops of large views on a CPU, where the matrices of `crops` would be mostly zeros."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_zoo.modalities.image.units import has_range, white
from ssl_zoo.modalities.image.views import geometry_large
from ssl_zoo.modalities.image.views.blur import Blur, BlurByTaps
from ssl_zoo.modalities.image.views.geometry import Interpolation
from ssl_zoo.modalities.image.views.taps import add_rows, counted, span_taps, transposed


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
        (num, channels, height, width), views = image.shape, len(boxes)
        self.image, self.blur = image, BlurByTaps(blur, channels, size, block)
        # The cubic filter overshoots, and torchvision bounds what it makes.
        self.most = white(image.dtype) if interpolation == "bicubic" and has_range(image.dtype) else None
        start, length = boxes.permute(2, 1, 0).contiguous().view(2, 2, num, views)  # each of rows and of columns
        mirror = None if flip is None else torch.stack([torch.zeros_like(flip), flip]).transpose(1, 2)
        index, weights = span_taps(start, length, mirror, size, interpolation)
        # From pixels of a side to rows of a block: columns are those of samples, rows those of views, and of channels.
        sample = torch.arange(num, dtype=torch.int32).remainder_(block)[:, None, None]
        place = torch.stack([sample * views + counted(views, 1)[:, None], sample.expand(-1, views, -1)])
        sides = torch.tensor([height, width], dtype=torch.int32).view(2, 1, 1, 1)
        first = (place * channels + counted(channels, 1)) * sides
        self.index = index[:, :, :, None] + first[..., None, None]  # (2, B, V, C, size, taps)
        self.weights = weights[:, :, :, None].expand(self.index.shape).contiguous()

    def planes(self, start: int, stop: int) -> Tensor:
        """See `crops.Crops`."""
        (views, channels, size, _), height = self.index.shape[2:], self.image.shape[2]
        num, part = stop - start, slice(start, stop)
        image = self.image[part].contiguous()
        turned = transposed(image if image.dtype == torch.uint8 else image.float()).float()
        made = add_rows(turned.view(-1, height), self.index[1, part], self.weights[1, part])
        turned = transposed(made.view(num * views, channels, size, height))
        made = add_rows(turned.view(-1, size), self.index[0, part], self.weights[0, part])
        made = made.view(num * views, channels, size, size)
        if self.most is not None:
            made.clamp_(0, self.most)
        self.blur.apply(made, start, stop)
        return made.view(num, views, channels, size * size).transpose(0, 1)


class CropsOneByOne:
    """Flip and blur of crops that are cut and resized one at a time, here or in the loader; see `CropsByTaps`.

    Args:
        source: images `(B, C, H, W)`, or where `boxes` is None crops `(V, B, C, S, S)`.
        boxes: see `CropsByTaps`.
        size: see `CropsByTaps`.
        interpolation: see `CropsByTaps`.
        flip: see `CropsByTaps`.
        blur: see `CropsByTaps`.
        block: see `CropsByTaps`.
    """

    def __init__(
        self,
        source: Tensor,
        boxes: Tensor | None,
        size: int,
        interpolation: Interpolation,
        flip: Tensor | None,
        blur: Blur | None,
        block: int,
    ) -> None:
        self.source, self.size, self.interpolation = source, size, interpolation
        self.boxes = None if boxes is None else boxes.int().tolist()
        self.flip, self.blur = flip, BlurByTaps(blur, source.shape[-3], size, block)

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
        self.blur.apply(planes.flatten(0, 1), start, stop)
        return planes.flatten(3).transpose(0, 1)

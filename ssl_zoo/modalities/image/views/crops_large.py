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
    """

    def __init__(
        self,
        image: Tensor,
        boxes: Tensor,
        size: int,
        interpolation: Interpolation,
        flip: Tensor | None,
        blur: Blur | None,
    ) -> None:
        self.image, self.size, self.interpolation = image, size, interpolation
        self.spans = boxes.permute(2, 1, 0).contiguous().view(2, 2, *boxes.shape[1::-1])  # start, length: (2, B, V)
        self.mirror = None if flip is None else torch.stack([torch.zeros_like(flip), flip]).transpose(1, 2)
        self.blur = BlurByTaps(blur, size)
        # The cubic filter overshoots, and torchvision bounds what it makes before the blur.
        self.bounded = interpolation == "bilinear"

    def planes(self, start: int, stop: int) -> Tensor:
        """See `crops.Crops`."""
        image, size = self.image[start:stop], self.size
        num, channels, height, _ = image.shape
        columns, rows = self._taps(start, stop)
        image = image.reshape(num, channels * height, -1)
        # The columns of all channels side by side are few and long rows.
        turned = transposed(image if image.dtype == torch.uint8 else image.float()).float()
        made = add_rows(turned.view(-1, channels * height), *columns).view(-1, 1, size, channels * height)
        if self.bounded:  # the blur across, while columns are rows
            self.blur.apply_down(made, start, stop)
        made = add_rows(transposed(made).view(-1, size), *rows).view(-1, channels, size, size)
        if self.bounded:
            self.blur.apply_down(made, start, stop)
        else:
            if has_range(self.image.dtype):
                made.clamp_(0, white(self.image.dtype))
            self.blur.apply(made, start, stop)
        return made.view(num, -1, channels, size * size).transpose(0, 1)

    def _taps(self, start: int, stop: int) -> tuple[tuple[Tensor, Tensor], ...]:
        """Return which columns of samples start..stop - 1, and which rows of their views, count for what."""
        (num, channels, height, width), part = self.image[start:stop].shape, slice(start, stop)
        first, length = self.spans[:, :, part]
        mirror = None if self.mirror is None else self.mirror[:, part]
        index, weights = span_taps(first, length, mirror, self.size, self.interpolation)  # each (2, B, V, size, taps)
        # From pixels of a side to rows of the block: columns are those of samples, rows those of views and channels.
        columns = index[1] + counted(num, width)[:, None, None, None]
        image = counted(first[0].numel() * channels, height).view(num, -1, channels)
        rows = index[0][:, :, None] + image[..., None, None]  # (B, V, C, size, taps)
        return (columns, weights[1]), (rows, weights[0][:, :, None].expand(rows.shape).contiguous())


class CropsOneByOne:
    """Flip and blur of crops that are cut and resized one at a time, here or in the loader; see `CropsByTaps`.

    Args:
        source: images `(B, C, H, W)`, or where `boxes` is None crops `(V, B, C, S, S)`.
        boxes: see `CropsByTaps`.
        size: see `CropsByTaps`.
        interpolation: see `CropsByTaps`.
        flip: see `CropsByTaps`.
        blur: see `CropsByTaps`.
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
        self.flip, self.blur = flip, BlurByTaps(blur, size)

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

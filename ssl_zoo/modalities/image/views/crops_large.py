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
        self.image, self.blur, self.size = image, BlurByTaps(blur, size, block), size
        # The cubic filter overshoots, and torchvision bounds what it makes before the blur.
        self.bounded = interpolation == "bilinear"
        start, length = boxes.permute(2, 1, 0).contiguous().view(2, 2, num, views)  # each of rows and of columns
        mirror = None if flip is None else torch.stack([torch.zeros_like(flip), flip]).transpose(1, 2)
        index, weights = span_taps(start, length, mirror, size, interpolation)  # each (2, B, V, size, taps)
        # From pixels of a side to rows of a block: columns are those of samples, rows those of views and channels.
        sample = torch.arange(num, dtype=torch.int32).remainder_(block)[:, None]
        self.columns = index[1] + (sample * width)[..., None, None], weights[1]
        place = (sample * views + counted(views, 1))[..., None] * channels + counted(channels, 1)
        rows = index[0][:, :, None] + (place * height)[..., None, None]  # (B, V, C, size, taps)
        self.rows = rows, weights[0][:, :, None].expand(rows.shape).contiguous()

    def planes(self, start: int, stop: int) -> Tensor:
        """See `crops.Crops`."""
        (num, channels, height, width), size = self.image[start:stop].shape, self.size
        views, part = self.rows[0].shape[1], slice(start, stop)
        image = self.image[part].reshape(num, channels * height, width)
        # The columns of all channels side by side are few and long rows.
        turned = transposed(image if image.dtype == torch.uint8 else image.float()).float()
        made = add_rows(turned.view(-1, channels * height), *(x[part] for x in self.columns))
        made = made.view(num * views, 1, size, channels * height)
        if self.bounded:  # the blur across, while columns are rows
            self.blur.apply_down(made, start, stop)
        made = add_rows(transposed(made).view(-1, size), *(x[part] for x in self.rows))
        made = made.view(num * views, channels, size, size)
        if self.bounded:
            self.blur.apply_down(made, start, stop)
        else:
            if has_range(self.image.dtype):
                made.clamp_(0, white(self.image.dtype))
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
        self.flip, self.blur = flip, BlurByTaps(blur, size, block)

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

"""The crops of large views on a CPU, where the matrices of `crops` would be mostly zeros."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_zoo.modalities.image.units import has_range, white
from ssl_zoo.modalities.image.views import geometry_large
from ssl_zoo.modalities.image.views.blur import Blur
from ssl_zoo.modalities.image.views.geometry import Interpolation
from ssl_zoo.modalities.image.views.taps import Taps, add_rows, counted, transposed


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
        # The cubic filter overshoots, and torchvision bounds what it makes.
        self.most = white(image.dtype) if interpolation == "bicubic" and has_range(image.dtype) else None
        top, left, tall, wide = boxes.permute(2, 1, 0).contiguous()
        columns = Taps(left, wide, None if flip is None else flip.T, size, interpolation)
        rows = Taps(top, tall, None, size, interpolation)
        (num, channels, height, width), views = image.shape, len(boxes)
        sample = torch.arange(num, dtype=torch.int32).remainder_(block)[:, None]
        self.columns = _of_channels(columns, sample, channels, width)
        self.rows = _of_channels(rows, sample * views + counted(views, 1), channels, height)

    def planes(self, start: int, stop: int) -> Tensor:
        """See `crops.Crops`."""
        (_, views, channels, size, _), height = self.rows[0].shape, self.image.shape[2]
        num, part = stop - start, slice(start, stop)
        image = self.image[part].contiguous()
        turned = transposed(image if image.dtype == torch.uint8 else image.float()).float()
        made = add_rows(turned.view(-1, height), *(x[part] for x in self.columns))
        turned = transposed(made.view(num * views, channels, size, height))
        made = add_rows(turned.view(-1, size), *(x[part] for x in self.rows))
        made = made.view(num * views, channels, size, size)
        if self.most is not None:
            made.clamp_(0, self.most)
        if self.blur is not None:
            self.blur.block(start, stop).apply(made)
        return made.view(num, views, channels, size * size).transpose(0, 1)


def _of_channels(taps: Taps, place: Tensor, channels: int, length: int) -> tuple[Tensor, Tensor]:
    """Return index and weights for all channels, `(B, V, C, num_out, taps)`.

    Args:
        taps: of images.
        place: of each image among those that are made at a time, int32 `(B, V)` or `(B, 1)`.
        channels: of an image.
        length: rows of a channel.
    """
    first = (place[..., None] * channels + counted(channels, 1)) * length
    index = taps.index[:, :, None] + first[..., None, None]
    return index, taps.weights[:, :, None].expand(index.shape).contiguous()


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
            self.blur.block(start, stop).apply(planes.flatten(0, 1))
        return planes.flatten(3).transpose(0, 1)

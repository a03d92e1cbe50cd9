"""What view policies of images share: checks of samples and options, plain views, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import pad

from ssl_zoo.batch import InputSpec, View, ViewSpec
from ssl_zoo.data.source import Samples, ViewPolicy
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.image.units import DTYPES, has_range, white
from ssl_zoo.modalities.image.views.constants import constant
from ssl_zoo.modalities.image.views.exported import PlainImages
from ssl_zoo.modalities.image.views.geometry import Interpolation

Probability = Annotated[float, Field(ge=0, le=1)]
PerView = Probability | list[Probability]
Strength = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class ImageViewPolicy(ViewPolicy):
    """Base of the policies whose views are all of one size.

    Args:
        num_views: views per sample.
        channels: of the images.
        size: height and width of a view in pixels.
        interpolation: of the resize of plain samples, antialiased.
        mean: subtracted from each channel (one number is for all channels).
        std: divided by.

    Raises:
        UserError: `mean` or `std` has another number of channels.
    """

    modality = "image"

    def __init__(
        self,
        num_views: int,
        channels: int,
        size: int,
        interpolation: Interpolation,
        mean: list[float],
        std: list[float],
    ) -> None:
        super().__init__()
        self.num_views, self.channels, self.size = num_views, channels, size
        self.interpolation: Interpolation = interpolation
        self._mean, self._std = self._each_channel("mean", mean), self._each_channel("std", std)
        views = (ViewSpec("global", (channels, size, size)),) * num_views
        self.spec = InputSpec(self.modality, views, self._mean, self._std)

    def _each_channel(self, name: str, values: list[float]) -> tuple[float, ...]:
        if len(values) == 3 and self.channels == 1:
            values = [sum(values) / 3]  # grey images: the mean of the colours' statistics
        if len(values) not in (1, self.channels):
            advice = "one per channel" + (
                "" if self.channels in (1, 3) else ", as `ssl-zoo data stats SRC` prints them"
            )
            raise UserError(f"views.{name}: {len(values)} numbers for {self.channels} channels; give one, or {advice}.")
        # The shortest decimals that are these float32: what the card of the encoder states.
        each = values if len(values) == self.channels else values * self.channels
        return tuple(float(str(np.float32(value))) for value in each)

    def mean_and_std(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return what is subtracted from the channels and divided by, each `(1, C, 1, 1)`, on a device."""
        mean, std = (constant(values, device).view(1, -1, 1, 1) for values in (self._mean, self._std))
        return mean, std

    @property
    def mean(self) -> Tensor:
        """What is subtracted from the channels, `(1, C, 1, 1)`, on the CPU."""
        return self.mean_and_std(torch.device("cpu"))[0]

    @property
    def std(self) -> Tensor:
        """What the channels are divided by, `(1, C, 1, 1)`, on the CPU."""
        return self.mean_and_std(torch.device("cpu"))[1]

    def check_samples(self, samples: Samples) -> None:
        """Make sure that samples are images of this policy's channels, and of one type.

        Raises:
            UserError: one is not.
        """
        for sample in [samples] if isinstance(samples, Tensor) else samples:
            if sample.dtype not in DTYPES or sample.shape[-3] != self.channels:
                raise UserError(
                    f"views: made for images of {self.channels} channels, uint8, uint16 or float32, but got "
                    f"{sample.dtype} of shape {tuple(sample.shape)}; convert the data, or set views.channels."
                )
            if sample.dtype != samples[0].dtype:
                raise UserError(
                    f"views: images of {samples[0].dtype} and of {sample.dtype} in one batch; set data.decode.dtype to "
                    "uint16 or float32, which scales those of integers."
                )

    @torch.no_grad()
    def plain(self, samples: Samples) -> View:
        """Return a view without augmentation: short side resized to `size`, centre cropped, normalised, float32.

        Raises:
            UserError: samples of other types or channels than this policy makes views of.
        """
        self.check_samples(samples)
        if isinstance(samples, Tensor):
            x = self._centre(samples)
        else:
            x = torch.stack([self._centre(sample) for sample in samples])
        mean, std = self.mean_and_std(x.device)
        return View((x.float() / white(samples[0].dtype) - mean) / std, self.modality)

    def steps(self) -> dict[str, Any]:
        """Return what `plain` does: the short side is resized to `size`, antialiased, and the centre cropped."""
        return {
            "size": self.size, "interpolation": self.interpolation, "divided_by": 255,
            "mean": list(self._mean), "std": list(self._std),
        }  # fmt: skip

    def plain_module(self) -> nn.Module:
        """Return a module that makes the plain views of uint8 images `(B, C, H, W)`."""
        return PlainImages(self.size, self.interpolation, self._mean, self._std)

    def _centre(self, image: Tensor) -> Tensor:
        if tuple(image.shape[-2:]) == (self.size, self.size):
            return image
        import torchvision.transforms.v2.functional as TF  # here: the import takes long, and most runs never need it

        mode, dtype = TF.InterpolationMode(self.interpolation), image.dtype
        image = image if dtype == torch.uint8 else image.float()
        resized = TF.resize(image, [self.size], interpolation=mode, antialias=True)
        if dtype != torch.uint8 and has_range(dtype):
            resized = resized.clamp(0, white(dtype))  # the cubic filter overshoots
        return TF.center_crop(resized, [self.size, self.size])

    def picture(self, samples: Samples, views: Sequence[View], least: int = 64, gap: int = 2) -> Tensor:
        """Return a grid `(3, H, W)`, uint8: one row per sample, first the plain one, then its views.

        Of other than one or three channels the first three are shown. Images of more than 8 bits are shown from two
        standard deviations below the mean to two above it.

        Args:
            samples: as for `plain`.
            views: of the same samples.
            least: small images are enlarged to at least this many pixels.
            gap: pixels between the images.
        """
        columns = [view.tensor.cpu() for view in (self.plain(samples), *views)]
        zoom = max(1, -(-least // self.size))
        if samples[0].dtype == torch.uint8:
            shown = [x * self.std + self.mean for x in columns]
        else:
            shown = [x / 4 + 0.5 for x in columns]
        tiles = [(x.clamp(0, 1) * 255).round().to(torch.uint8) for x in shown]
        rows: list[Tensor] = []
        for images in zip(*tiles, strict=True):
            row = torch.cat([pad(_enlarged(image, zoom), (gap, gap, gap, gap), value=255) for image in images], 2)
            rows.append(row)
        return torch.cat(rows, dim=1)

    def thumbnail(self, samples: Samples) -> Tensor:
        """Return the plain view of one sample `(3, H, W)`, uint8, without a frame."""
        return self.picture(samples, [], gap=0)


def _enlarged(image: Tensor, zoom: int) -> Tensor:
    rgb = image[:3] if image.shape[0] >= 3 else image[:1].expand(3, -1, -1)
    return rgb.repeat_interleave(zoom, 1).repeat_interleave(zoom, 2)


def ascending(name: str, pair: tuple[float, float]) -> tuple[float, float]:
    """Return a range.

    Raises:
        UserError: it runs backwards.
    """
    if pair[0] > pair[1]:
        raise UserError(f"views.{name}: {list(pair)} runs backwards; give the least value first.")
    return (pair[0], pair[1])

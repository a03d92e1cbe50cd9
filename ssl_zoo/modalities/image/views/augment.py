"""The view policy `augment`: batched image augmentation, with parameters drawn per sample and per view.

Its options are the augmentations of SimSiam, BYOL, Barlow Twins and VICReg; a probability may be given a view, so that
BYOL's asymmetric views are data too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torchvision.transforms.v2.functional as TF
from pydantic import Field
from torch import Tensor, nn

from ssl_zoo.batch import InputSpec, View, ViewSpec
from ssl_zoo.data.source import ViewPolicy
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.image.views import geometry
from ssl_zoo.modalities.image.views.constants import constant
from ssl_zoo.modalities.image.views.cuts import Cut, cut_images, join
from ssl_zoo.modalities.image.views.geometry import Interpolation
from ssl_zoo.modalities.image.views.params import Look, Plan
from ssl_zoo.modalities.image.views.render import render
from ssl_zoo.registry import register

Probability = Annotated[float, Field(ge=0, le=1)]
PerView = Probability | list[Probability]
Strength = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Samples = Tensor | Sequence[Tensor]


@register("views", "augment")
class Augment(ViewPolicy):
    """Random resized crop, flip, colour jitter in random order, grey, blur, solarise, normalise.

    Args:
        num_views: views per sample.
        channels: of the images, 1 (grey) or 3 (RGB) from files.
        size: height and width of a view in pixels.
        scale: least and largest area of the crop, as fractions of the image.
        ratio: least and largest width / height of the crop.
        interpolation: of the crop's resize, antialiased.
        flip: probability of a mirror image, one number or one a view (as all probabilities here).
        jitter: probability of the colour jitter.
        brightness: its factor is uniform in [max(0, 1 - x), 1 + x]; so are those of contrast and saturation.
        contrast: as brightness.
        saturation: as brightness.
        hue: the turn is uniform in [-x, x] of the circle; at most 0.5.
        colour: `matrix` makes jitter and grey one affine map a sample, after the blur, which is many times faster and
            differs by about 3 of 255 levels on photographs at the usual strengths (see `colour_matrix`); `exact` makes
            torchvision's changes one by one.
        grey: probability of losing the colour.
        blur: probability of a Gaussian blur.
        sigma: least and largest standard deviation of the blur, in pixels.
        solarise: probability of inverting bright pixels.
        threshold: what is bright, in [0, 1].
        mean: subtracted from each channel (one number is for all channels).
        std: divided by.

    Raises:
        UserError: a list of another length than there are views or channels, or colour changes that need RGB.
    """

    modality = "image"
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        num_views: Annotated[int, Field(ge=1)] = 2,
        channels: Annotated[int, Field(ge=1)] = 3,
        size: Annotated[int, Field(ge=1)] = 224,
        scale: tuple[Fraction, Fraction] = (0.2, 1.0),
        ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3),
        interpolation: Interpolation = "bilinear",
        flip: PerView = 0.5,
        jitter: PerView = 0.8,
        brightness: Strength = 0.4,
        contrast: Strength = 0.4,
        saturation: Strength = 0.4,
        hue: Annotated[float, Field(ge=0, le=0.5)] = 0.1,
        colour: Literal["matrix", "exact"] = "matrix",
        grey: PerView = 0.2,
        blur: PerView = 0.5,
        sigma: tuple[Positive, Positive] = (0.1, 2.0),
        solarise: PerView = 0.0,
        threshold: Probability = 128 / 255,
        mean: Annotated[list[float], Field(min_length=1)] = [0.485, 0.456, 0.406],  # noqa: B006 - an option's default, never mutated
        std: Annotated[list[Positive], Field(min_length=1)] = [0.229, 0.224, 0.225],  # noqa: B006
    ):
        super().__init__()
        self.channels, self.num_views, self.size = channels, num_views, size
        self.scale, self.ratio, self.sigma = (
            _ascending(name, pair) for name, pair in (("scale", scale), ("ratio", ratio), ("sigma", sigma))
        )
        self.interpolation: Interpolation = interpolation
        self.threshold = threshold
        self.strengths, self.colour = (brightness, contrast, saturation, hue), colour
        given = {"flip": flip, "jitter": jitter, "grey": grey, "blur": blur, "solarise": solarise}
        self.chance = {name: self._each_view(name, value) for name, value in given.items()}
        turns_colour = max(self.chance["grey"]) > 0 or (max(self.chance["jitter"]) > 0 and max(saturation, hue) > 0)
        if channels not in (1, 3) and turns_colour:
            raise UserError(
                f"views: images of {channels} channels have no hue or saturation; set views.grey=0, views.saturation=0 "
                "and views.hue=0."
            )
        means, stds = self._each_channel("mean", mean), self._each_channel("std", std)
        self.register_buffer("mean", torch.tensor(means).reshape(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(stds).reshape(1, -1, 1, 1), persistent=False)
        views = (ViewSpec("global", (channels, size, size)),) * num_views
        self.spec = InputSpec(self.modality, views, means, stds)

    def _each_view(self, name: str, value: float | list[float]) -> list[float]:
        values = value if isinstance(value, list) else [value] * self.num_views
        if len(values) != self.num_views:
            raise UserError(f"views.{name}: {len(values)} numbers for {self.num_views} views; give one, or one a view.")
        return values

    def _each_channel(self, name: str, values: list[float]) -> tuple[float, ...]:
        if len(values) == 3 and self.channels == 1:
            values = [sum(values) / 3]  # grey images: the mean of the colours' statistics
        if len(values) not in (1, self.channels):
            raise UserError(
                f"views.{name}: {len(values)} numbers for {self.channels} channels; give one, or one a channel."
            )
        # The shortest decimals that are these float32: what the card of the encoder states.
        each = values if len(values) == self.channels else values * self.channels
        return tuple(float(str(np.float32(value))) for value in each)

    def draw(self, generator: torch.Generator, num: int) -> dict[str, Tensor]:
        """Draw all that is random in the views of `num` samples; each entry is `(num, num_views, ...)`.

        Everything is drawn whatever the options, so that turning one leaves the other draws as they are.
        """
        shape = (num, self.num_views)
        return {
            "crop": geometry.draw_crops(generator, *shape),
            "chance": torch.rand(*shape, len(self.chance), generator=generator),
            "factors": torch.rand(*shape, 4, generator=generator),
            "order": torch.rand(*shape, 4, generator=generator).argsort(dim=-1),
            "sigma": torch.rand(*shape, generator=generator),
        }

    def cut(self, samples: Sequence[Tensor], params: dict[str, Tensor]) -> list[Cut]:
        """Return what the views need of images, uint8 `(C, H_i, W_i)`, soon after they are read.

        Args:
            samples: the images.
            params: what `draw` gave for them.

        Raises:
            UserError: as `collate`.
        """
        self._check(samples)
        heights, widths = (torch.tensor([sample.shape[side] for sample in samples]) for side in (1, 2))
        boxes = torch.stack([self._boxes(params["crop"][:, v], heights, widths) for v in range(self.num_views)])
        return cut_images(samples, boxes, self.size, self.interpolation)

    def collate(self, samples: Samples | Sequence[Cut], params: dict[str, Tensor]) -> dict[str, Tensor]:
        """Put samples and draws together, in the loader.

        Args:
            samples: uint8 `(B, C, H, W)`, passed on as they are; or of images of several sizes `(C, H_i, W_i)` what
                `cut` made of them, or they themselves, which are cut here.
            params: what `draw` gave for these samples.

        Returns:
            The payload for `forward`: `image` `(B, C, H, W)` or `cut` `(V, B, C, S, S)`, uint8, and the draws.

        Raises:
            UserError: samples that are not uint8, or have other channels than this policy.
        """
        if isinstance(samples, Tensor):
            self._check(samples)
            return {"image": samples, **params}
        cuts: Any = samples if isinstance(samples[0], Cut) else self.cut(samples, params)  # type: ignore[arg-type]
        return {**join(cuts), **{k: v for k, v in params.items() if k != "crop"}}

    def _check(self, samples: Samples) -> None:
        for sample in [samples] if isinstance(samples, Tensor) else samples:
            if sample.dtype != torch.uint8 or sample.shape[-3] != self.channels:
                raise UserError(
                    f"views: made for uint8 images of {self.channels} channels, but got {sample.dtype} of shape "
                    f"{tuple(sample.shape)}; convert the data, or set views.channels."
                )

    def _boxes(self, drawn: Tensor, heights: Tensor, widths: Tensor) -> Tensor:
        return geometry.crop_boxes(drawn, heights, widths, self.scale, self.ratio)

    @torch.no_grad()
    def forward(self, payload: dict[str, Tensor]) -> list[View]:
        """Make the views, each `(B, C, S, S)` float32, on the payload's device."""
        device = payload["chance"].device
        self.to(device)
        image, cut = payload.get("image"), payload.get("cut")
        with torch.autocast(device.type, enabled=False):
            plan, places = self._plan(payload)
            made = render(image, cut, plan, self._look())
        flipped = torch.zeros_like(plan.sigma) if plan.flip is None else plan.flip.float()
        mirrored = torch.stack([torch.zeros_like(flipped), flipped], dim=-1)
        boxes = torch.stack([*places.float().chunk(2, dim=-1), mirrored], dim=2)  # (V, B, 3, 2)
        return [View(x, self.modality, aux={"box": box}) for x, box in zip(made, boxes, strict=True)]

    def _plan(self, payload: dict[str, Tensor]) -> tuple[Plan, Tensor]:
        """Return what is done to each sample, and the place of each crop in its image `(V, B, 4)`."""
        draws = {
            name: value.transpose(0, 1) for name, value in payload.items() if name not in ("image", "cut", "geometry")
        }
        chosen = {
            name: draws["chance"][..., i] < constant(tuple(each), draws["chance"].device)[:, None]
            if max(each)
            else None
            for i, (name, each) in enumerate(self.chance.items())
        }
        boxes = None
        if "image" in payload:
            height, width = payload["image"].shape[2:]
            drawn = draws["crop"].flatten(0, 1)
            sides = [drawn.new_full((len(drawn),), side) for side in (height, width)]
            boxes = self._boxes(drawn, *sides).unflatten(0, draws["crop"].shape[:2])
            places = boxes / constant((height, width, height, width), boxes.device)
        else:
            places = payload["geometry"]
        low, high = self.sigma
        sigma = low + (high - low) * draws["sigma"]
        return Plan(boxes, factors=self._factors(draws["factors"]), order=draws["order"], sigma=sigma, **chosen), places

    def _look(self) -> Look:
        used = tuple(strength > 0 for strength in self.strengths)
        radius = geometry.blur_radius(self.sigma[1], self.size)
        return Look(self.size, self.interpolation, self.colour, used, radius, self.threshold, self.mean, self.std)

    def _factors(self, uniform: Tensor) -> Tensor:
        """Turn uniform numbers `(..., 4)` into the jitter's factors and the turn of the hue."""
        middle, least = (1, 1, 1, 0), (0, 0, 0, -0.5)
        low = tuple(float(max(bound, m - x)) for bound, m, x in zip(least, middle, self.strengths, strict=True))
        high = tuple(float(m + x) for m, x in zip(middle, self.strengths, strict=True))
        return torch.lerp(constant(low, uniform.device), constant(high, uniform.device), uniform)

    @torch.no_grad()
    def plain(self, samples: Samples) -> View:
        """Return a view without augmentation: short side resized to `size`, centre cropped, normalised, float32.

        Raises:
            UserError: as `collate`.
        """
        self._check(samples)
        if isinstance(samples, Tensor):
            x = self._centre(samples)
        else:
            x = torch.stack([self._centre(sample) for sample in samples])
        self.to(x.device)
        return View((x.float() / 255 - self.mean) / self.std, self.modality)

    def _centre(self, image: Tensor) -> Tensor:
        if tuple(image.shape[-2:]) == (self.size, self.size):
            return image
        mode = TF.InterpolationMode(self.interpolation)
        return TF.center_crop(TF.resize(image, [self.size], interpolation=mode, antialias=True), [self.size, self.size])

    def picture(self, samples: Samples, views: Sequence[View], least: int = 64, gap: int = 2) -> Tensor:
        """Return a grid `(3, H, W)`, uint8: a row a sample, first the plain one, then its views.

        Args:
            samples: as for `plain`.
            views: of the same samples.
            least: small images are enlarged to at least this many pixels.
            gap: pixels between the images.
        """
        columns = [view.tensor.cpu() for view in (self.plain(samples), *views)]
        zoom = max(1, -(-least // self.size))
        self.to("cpu")
        tiles = [((x * self.std + self.mean).clamp(0, 1) * 255).round().to(torch.uint8) for x in columns]
        rows: list[Tensor] = []
        for images in zip(*tiles, strict=True):
            row = torch.cat([nn.functional.pad(_enlarged(i, zoom), (gap, gap, gap, gap), value=255) for i in images], 2)
            rows.append(row)
        return torch.cat(rows, dim=1)


def _enlarged(image: Tensor, zoom: int) -> Tensor:
    rgb = image[:3] if image.shape[0] >= 3 else image[:1].expand(3, -1, -1)
    return rgb.repeat_interleave(zoom, 1).repeat_interleave(zoom, 2)


def _ascending(name: str, pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise UserError(f"views.{name}: {list(pair)} runs backwards; give the least value first.")
    return (pair[0], pair[1])

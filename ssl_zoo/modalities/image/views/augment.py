"""The view policy `augment`: batched image augmentation, with parameters drawn per sample and per view.

Its options are the augmentations of SimSiam, BYOL, Barlow Twins and VICReg. A probability may be given per view: BYOL's
views are asymmetric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from ssl_zoo.batch import View
from ssl_zoo.data.source import Samples
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.image.units import has_range
from ssl_zoo.modalities.image.views import geometry, params_from
from ssl_zoo.modalities.image.views.constants import constant
from ssl_zoo.modalities.image.views.cuts import Cut, cut_images, join
from ssl_zoo.modalities.image.views.geometry import Interpolation
from ssl_zoo.modalities.image.views.parallel import one_thread
from ssl_zoo.modalities.image.views.params import RenderSettings, SampleParams, render_settings
from ssl_zoo.modalities.image.views.policy import (
    Count,
    Fraction,
    ImageViewPolicy,
    PerView,
    Positive,
    Probability,
    Strength,
    ascending,
)
from ssl_zoo.modalities.image.views.render import in_jobs, render
from ssl_zoo.registry import register

CPU = torch.device("cpu")

MILD = {
    "num_views": 1, "scale": (0.5, 1.0), "jitter": 0.0, "grey": 0.0, "blur": 0.0, "solarise": 0.0, "drop_channels": 0.0,
}  # fmt: skip
"""Options of views for training with labels: crops that keep most of the image, and the run's flips."""


@register("views", "augment")
class Augment(ImageViewPolicy):
    """Random resized crop, flip, colour jitter in random order, grey, blur, solarise, normalise, drop channels.

    Images are uint8, uint16 or float32. Integers count as 0 to 1; floats are taken as they are, and kept in no range.

    Args:
        num_views: views per sample.
        channels: of the images: 1 (grey) or 3 (RGB) of photographs, any other number as files have it.
        size: height and width of a view in pixels.
        scale: least and largest area of the crop, as fractions of the image.
        ratio: least and largest width / height of the crop.
        interpolation: of the crop's resize, antialiased.
        flip: probability of a mirror image, one number or one per view (as all probabilities here).
        jitter: probability of the colour jitter.
        brightness: its factor is uniform in [max(0, 1 - x), 1 + x]; so are those of contrast and saturation.
        contrast: as brightness. Of other than 1 or 3 channels, that of each is changed about its own mean.
        saturation: as brightness.
        hue: the turn is uniform in [-x, x] of the circle; at most 0.5.
        colour: `matrix` makes jitter and grey one affine map per sample, after the blur, which is many times faster and
            differs by about 3 of 255 levels on photographs at the usual strengths (see `colour_matrix`); `exact` runs
            torchvision's functions, one sample after the other.
        grey: probability of losing the colour.
        blur: probability of a Gaussian blur.
        sigma: least and largest standard deviation of the blur, in pixels.
        solarise: probability of inverting bright pixels, in images of integers.
        threshold: what is bright, in [0, 1].
        mean: subtracted from each channel (one number is for all channels).
        std: divided by.
        drop_channels: probability of losing a channel, for each of them: it becomes its mean. One always stays.

    Raises:
        UserError: a list of another length than there are views or channels, or colour changes that need RGB.
    """

    mild = MILD
    per_view = ("flip",)

    def __init__(
        self,
        *,
        num_views: Count = 2,
        channels: Count = 3,
        size: Count = 224,
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
        drop_channels: PerView = 0.0,
    ):
        super().__init__(num_views, channels, size, interpolation, mean, std)
        self.scale, self.ratio = ascending("scale", scale), ascending("ratio", ratio)
        self.sigma, self.threshold = ascending("sigma", sigma), threshold
        self.strengths, self.colour = (brightness, contrast, saturation, hue), colour
        given = {"flip": flip, "jitter": jitter, "grey": grey, "blur": blur, "solarise": solarise}
        self.chance = {name: self._each_view(name, value) for name, value in given.items()}
        self._dropped = self._each_view("drop_channels", drop_channels)
        self._check_colours()

    def _each_view(self, name: str, value: float | list[float]) -> list[float]:
        values = value if isinstance(value, list) else [value] * self.num_views
        if len(values) != self.num_views:
            raise UserError(
                f"views.{name}: {len(values)} numbers for {self.num_views} views; give one, or one per view."
            )
        return values

    def _check_colours(self) -> None:
        if self.channels in (1, 3):
            return
        jitters = max(self.chance["jitter"]) > 0
        if max(self.chance["grey"]) > 0 or (jitters and max(self.strengths[2:]) > 0):
            raise UserError(
                f"views: images of {self.channels} channels have no hue or saturation; set views.grey=0, "
                "views.saturation=0 and views.hue=0."
            )
        if jitters and self.colour == "exact" and max(self.strengths[:2]) > 0:
            raise UserError(
                f"views: torchvision jitters images of 1 or 3 channels, not of {self.channels}; set views.jitter=0, or "
                "views.colour=matrix."
            )

    def draw(self, generator: torch.Generator, num: int) -> dict[str, Tensor]:
        """Draw all that is random in the views of `num` samples; each entry is `(num, num_views, ...)`.

        All random numbers are drawn even for disabled operations, so that changing one option does not change the
        draws of the others. Only those of dropped channels come last, if there are any.
        """
        return {**self.draw_most(generator, num), **self.draw_dropped(generator, num)}

    def draw_most(self, generator: torch.Generator, num: int) -> dict[str, Tensor]:
        """Draw all but what `draw_dropped` draws."""
        shape = (num, self.num_views)
        return {
            "crop": geometry.draw_crops(generator, *shape),
            "chance": torch.rand(*shape, len(self.chance), generator=generator),
            "factors": torch.rand(*shape, 4, generator=generator),
            "order": torch.rand(*shape, 4, generator=generator).argsort(dim=-1),
            "sigma": torch.rand(*shape, generator=generator),
        }

    def draw_dropped(self, generator: torch.Generator, num: int) -> dict[str, Tensor]:
        """Draw what decides which channels are dropped, `(num, num_views, C)`; nothing where none are."""
        if not max(self._dropped):
            return {}
        return {"dropped": torch.rand(num, self.num_views, self.channels, generator=generator)}

    def check_samples(self, samples: Samples) -> None:
        """Make sure that these views can be made of samples.

        Raises:
            UserError: they are of other types or channels, or floats, and an option needs values from 0 to 1.
        """
        super().check_samples(samples)
        needs_range = ["solarise"] * (max(self.chance["solarise"]) > 0) + ["colour"] * (self.colour == "exact")
        if needs_range and not has_range(samples[0].dtype):
            raise UserError(
                f"views.{needs_range[0]}: needs values from 0 to 1, and images of floats have no range; set "
                + ("views.solarise=0" if needs_range[0] == "solarise" else "views.colour=matrix")
                + ", or data.decode.dtype=uint16 if the files hold integers."
            )

    def cut(self, samples: Sequence[Tensor], params: dict[str, Tensor]) -> list[Cut]:
        """Return what the views need of images `(C, H_i, W_i)`, soon after they are read.

        Args:
            samples: the images.
            params: what `draw` gave for them.

        Raises:
            UserError: as `collate`.
        """
        self.check_samples(samples)
        heights, widths = (torch.tensor([sample.shape[side] for sample in samples]) for side in (1, 2))
        boxes = torch.stack([self._boxes(params["crop"][:, v], heights, widths) for v in range(self.num_views)])
        return cut_images(samples, boxes, self.size, self.interpolation)

    def collate(self, samples: Samples, params: dict[str, Tensor]) -> dict[str, Tensor]:
        """Put samples and draws together, in the loader.

        Args:
            samples: images `(B, C, H, W)`, passed on as they are; or of images of several sizes `(C, H_i, W_i)` what
                `cut` made of them, or they themselves, which are cut here.
            params: what `draw` gave for these samples.

        Returns:
            The payload for `forward`: `image` `(B, C, H, W)` or `cut` `(V, B, C, S, S)`, of the samples' type; the
            parameters that the draws amount to, each `(B, V, ...)`; `box`, see `View.aux`.

        Raises:
            UserError: samples of other types or channels than this policy makes views of.
        """
        if isinstance(samples, Tensor):
            self.check_samples(samples)
            return {"image": samples, **self._prepared(params, samples.dtype, sides=samples.shape[2:])}
        cuts = join(samples if isinstance(samples[0], Cut) else self.cut(samples, params))
        return {"cut": cuts["cut"], **self._prepared(params, cuts["cut"].dtype, places=cuts["geometry"])}

    def _boxes(self, drawn: Tensor, heights: Tensor, widths: Tensor) -> Tensor:
        return geometry.crop_boxes(drawn, heights, widths, self.scale, self.ratio)

    @torch.no_grad()
    def forward(self, payload: dict[str, Tensor]) -> list[View]:
        """Make the views, each `(B, C, S, S)` float32, on the payload's device."""
        source = payload["cut"] if "cut" in payload else payload["image"]
        settings = self.settings(source.device)
        with torch.autocast(source.device.type, enabled=False), one_thread(in_jobs(source, settings)):
            made = render(source, self.sample_params(payload), settings)
            if "kept" in payload:
                made.mul_(payload["kept"].transpose(0, 1)[..., None, None])
        return [View(x, self.modality, aux={"box": box}) for x, box in zip(made, payload["box"].unbind(1), strict=True)]

    def sample_params(self, payload: dict[str, Tensor]) -> SampleParams:
        """Return the parameters of each sample, from what `collate` returned."""
        names = [each.name for each in fields(SampleParams) if each.name in payload]
        return SampleParams(**{name: payload[name].transpose(0, 1) for name in names})

    def _prepared(
        self,
        params: dict[str, Tensor],
        dtype: torch.dtype,
        sides: Sequence[int] | None = None,
        places: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return what the draws amount to, each `(B, V, ...)`.

        It is computed in the loader: a GPU would take a hundred kernels for so little arithmetic. One thread does it,
        so that it is the same to the bit in a worker process.

        Args:
            params: what `draw` gave.
            dtype: of the images.
            sides: height and width of images that are still to be cut.
            places: of the crops that are cut already, `(V, B, 4)`.
        """
        with one_thread():
            draws = {name: value.transpose(0, 1) for name, value in params.items()}
            made = params_from.chosen(draws["chance"], self.chance)
            if sides is not None:
                drawn = draws["crop"].flatten(0, 1)
                whole = [drawn.new_tensor(side).expand(len(drawn)) for side in sides]
                made["boxes"] = self._boxes(drawn, *whole).unflatten(0, draws["crop"].shape[:2])
                places = made["boxes"] / constant((*sides, *sides), CPU)
            assert places is not None
            made["box"] = params_from.boxes(places, made.get("flip"))
            if "dropped" in draws:
                made["kept"] = params_from.kept(draws["dropped"], self._dropped)
            low, high = self.sigma
            made["sigma"] = low + (high - low) * draws["sigma"]
            made["factors"] = params_from.factors(draws["factors"], self.strengths)
            made["order"] = draws["order"]
            if self.colour == "matrix":
                params_from.to_matrices(made, self.settings(CPU), self.channels, dtype)
        return {name: value.transpose(0, 1) for name, value in made.items()}

    def settings(self, device: torch.device) -> RenderSettings:
        """Return what all samples share."""
        used = tuple(strength > 0 for strength in self.strengths)
        radius = geometry.blur_radius(self.sigma[1], self.size)
        return render_settings(
            self.size, self.interpolation, self.colour, used, radius, self.threshold, self._mean, self._std, device
        )

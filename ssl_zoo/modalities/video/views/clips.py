"""The view policy `clips`: several clips of a video, each at its own time, cropped and coloured alike in all frames.

That clips of one video from different times are positives is rho of rho-BYOL (Feichtenhofer et al. 2021, arXiv
2104.14558, section 3): `num_views` is rho.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ssl_zoo.batch import InputSpec, View, ViewSpec
from ssl_zoo.data.source import Samples, ViewPolicy
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.image.views import geometry
from ssl_zoo.modalities.image.views.constants import constant
from ssl_zoo.modalities.image.views.policy import Count, Fraction, PerView, Positive, Strength, ascending
from ssl_zoo.modalities.video.footage import Footage
from ssl_zoo.modalities.video.views.render import Changes, render
from ssl_zoo.modalities.video.views.strips import strips
from ssl_zoo.modalities.video.views.timing import Short, Timing
from ssl_zoo.registry import register

_CHANCES = ("flip", "jitter", "grey", "blur")


@dataclass(frozen=True)
class Cut:
    """The clips of one video.

    Attributes:
        clips: uint8 `(V, C, T, S, S)`.
        boxes: start and extent of each, as fractions of the video, along time, height and width, `(V, 2, 3)`.
    """

    clips: Tensor
    boxes: Tensor


@register("views", "clips")
class Clips(ViewPolicy):
    """Clips of a video: random time, resized crop, flip, colour jitter, grey, blur, the same for all frames of a clip.

    Args:
        num_views: clips per video, which are each other's positives.
        channels: of the videos, 3 (RGB) or 1 (grey).
        num_frames: of a clip.
        size: height and width of a clip in pixels.
        rate: frames per second of a clip, whatever the rate of the file: the frame is taken that is shown at each time.
            None takes the frames as they are stored, `stride` apart.
        stride: without a rate, the distance from one frame to the next.
        within: largest distance in seconds between the starts of the clips of a video; 0 gives all of them the same
            time, None lets each be anywhere.
        short: what a clip shows that is longer than its video: the last frame on and on (`repeat`), the video again and
            again (`loop`); or such a video counts as one that cannot be read (`refuse`).
        eval_clips: evenly spaced clips of a video whose features are averaged in evaluation.
        scale: least and largest area of the crop, as fractions of the frame.
        ratio: least and largest width / height of the crop.
        flip: probability of a mirror image, one number or one per view (as all probabilities here); 0 where left and
            right matter.
        jitter: probability of the colour jitter.
        brightness: its factor is uniform in [max(0, 1 - x), 1 + x]; so are those of contrast and saturation.
        contrast: as brightness.
        saturation: as brightness.
        hue: the turn is uniform in [-x, x] of the circle; at most 0.5.
        grey: probability of losing the colour.
        blur: probability of a Gaussian blur.
        sigma: least and largest standard deviation of the blur, in pixels.
        mean: subtracted from each channel (one number is for all channels).
        std: divided by.

    Raises:
        UserError: a list of another length than there are views or channels, or a range that runs backwards.
    """

    modality = "video"
    mild = {"num_views": 1, "scale": (0.5, 1.0), "jitter": 0.0, "grey": 0.0, "blur": 0.0}
    per_view = ("flip",)

    def __init__(
        self,
        *,
        num_views: Count = 2,
        channels: Count = 3,
        num_frames: Count = 8,
        size: Count = 112,
        rate: Positive | None = 4.0,
        stride: Count = 1,
        within: Annotated[float, Field(ge=0)] | None = None,
        short: Short = "repeat",
        eval_clips: Count = 4,
        scale: tuple[Fraction, Fraction] = (0.2, 1.0),
        ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3),
        flip: PerView = 0.5,
        jitter: PerView = 0.8,
        brightness: Strength = 0.4,
        contrast: Strength = 0.4,
        saturation: Strength = 0.4,
        hue: Annotated[float, Field(ge=0, le=0.5)] = 0.1,
        grey: PerView = 0.2,
        blur: PerView = 0.5,
        sigma: tuple[Positive, Positive] = (0.1, 2.0),
        mean: Annotated[list[float], Field(min_length=1)] = [0.45],  # noqa: B006 - an option's default, never mutated
        std: Annotated[list[Positive], Field(min_length=1)] = [0.225],  # noqa: B006
    ) -> None:
        super().__init__()
        self.num_views, self.channels, self.size, self.eval_clips = num_views, channels, size, eval_clips
        self.timing = Timing(num_frames, rate, stride, within, short)
        self.scale, self.ratio, self.sigma = (
            ascending(name, pair) for name, pair in (("scale", scale), ("ratio", ratio), ("sigma", sigma))
        )
        self.strengths = (brightness, contrast, saturation, hue)
        given = (flip, jitter, grey, blur)
        self.chance = [self._each("views", n, v, num_views) for n, v in zip(_CHANCES, given, strict=True)]
        self._mean, self._std = (
            tuple(float(str(np.float32(x))) for x in self._each("channels", name, values, channels))
            for name, values in (("mean", mean), ("std", std))
        )
        views = (ViewSpec("global", (channels, num_frames, size, size)),) * num_views
        self.spec = InputSpec(self.modality, views, self._mean, self._std)

    def _each(self, what: str, name: str, value: float | list[float], num: int) -> list[float]:
        values = value if isinstance(value, list) else [value]
        if len(values) not in (1, num):
            raise UserError(f"views.{name}: {len(values)} numbers for {num} {what}; give one, or {num}.")
        return values if len(values) == num else values * num

    def draw(self, generator: torch.Generator, num: int) -> dict[str, Tensor]:
        """Draw all that is random in the views of `num` videos; each entry is `(num, ...)`.

        All random numbers are drawn even for disabled operations, so that changing one option does not change the
        draws of the others.
        """
        shape = (num, self.num_views)
        return {
            "window": torch.rand(num, generator=generator, dtype=torch.float64),
            "time": torch.rand(*shape, generator=generator, dtype=torch.float64),
            "crop": geometry.draw_crops(generator, *shape),
            "chance": torch.rand(*shape, len(_CHANCES), generator=generator),
            "factors": torch.rand(*shape, 4, generator=generator),
            "order": torch.rand(*shape, 4, generator=generator).argsort(dim=-1),
            "sigma": torch.rand(*shape, generator=generator),
        }

    def cut(self, samples: Sequence[Footage], params: dict[str, Tensor]) -> list[Cut]:
        """Return the clips of videos: decodes the frames that they show, and no others.

        Raises:
            UserError: a sample is no video, or has other channels than this policy.
            BadSample: a frame cannot be decoded, or a video is too short and `short` is `refuse`.
        """
        cuts = []
        for i, footage in enumerate(samples):
            self._check(footage)
            starts = self.timing.at_random(footage, params["window"][i].item(), params["time"][i].tolist())
            clips = self._channels(self.timing.read(footage, starts), footage)
            height, width = (torch.full((self.num_views,), float(side)) for side in footage.size)
            crops = geometry.crop_boxes(params["crop"][i], height, width, self.scale, self.ratio)
            views = [self._resized(x, box) for x, box in zip(clips, crops.int().tolist(), strict=True)]
            places = crops / torch.tensor([*footage.size, *footage.size])
            times = self.timing.boxes(footage, starts)
            boxes = torch.cat([times[:, :, None], places.unflatten(1, (2, 2))], dim=2)
            cuts.append(Cut(torch.stack(views).transpose(1, 2), boxes))
        return cuts

    def _check(self, footage: Any) -> None:
        if not isinstance(footage, Footage):
            raise UserError(
                f"views: clips are made of videos, but got {type(footage).__name__}; use a source of video files."
            )

    def _channels(self, clips: Tensor, footage: Footage) -> Tensor:
        if clips.shape[2] != self.channels:
            raise UserError(
                f"views: made for videos of {self.channels} channels, but {footage.name} has {clips.shape[2]}; set "
                "views.channels."
            )
        return clips

    def _resized(self, frames: Tensor, box: list[int]) -> Tensor:
        """Return a box (top, left, height, width) of frames `(T, C, h, w)` at the size of the views, uint8."""
        top, left, height, width = box
        part = frames[:, :, top : top + height, left : left + width].contiguous()
        if (height, width) == (self.size, self.size):
            return part
        return F.interpolate(part, (self.size, self.size), mode="bilinear", antialias=True)

    def collate(self, samples: Samples | Sequence[Cut], params: dict[str, Tensor]) -> dict[str, Tensor]:
        """Put clips and draws together, in the loader.

        Args:
            samples: what `cut` made of videos, or they themselves, which are cut here.
            params: what `draw` gave for them.

        Returns:
            The payload for `forward`: `cut` `(V, B, C, T, S, S)`, uint8, `box` `(V, B, 2, 3)`, and the draws.
        """
        given: list[Any] = list(samples)
        cuts = given if isinstance(given[0], Cut) else self.cut(given, params)
        used = ("chance", "factors", "order", "sigma")
        return {
            "cut": torch.stack([each.clips for each in cuts], dim=1),
            "box": torch.stack([each.boxes for each in cuts], dim=1),
            **{name: params[name] for name in used},
        }

    @torch.no_grad()
    def forward(self, payload: dict[str, Tensor]) -> list[View]:
        """Return the views, each `(B, C, T, S, S)` float32, on the payload's device."""
        used = tuple(strength > 0 for strength in self.strengths)
        radius = geometry.blur_radius(self.sigma[1], self.size)
        views = []
        with torch.autocast(payload["cut"].device.type, enabled=False):
            for number, (cut, box) in enumerate(zip(payload["cut"], payload["box"], strict=True)):
                changes = self._changes(
                    {n: payload[n][:, number] for n in ("chance", "factors", "order", "sigma")}, number
                )
                x = self._normalised(render(cut, changes, used, radius))
                flip = torch.zeros_like(box[:, 0, 0]) if changes.flip is None else changes.flip.float()
                mirrored = torch.stack([torch.zeros_like(flip), torch.zeros_like(flip), flip], dim=1)
                views.append(View(x, self.modality, aux={"box": torch.cat([box, mirrored[:, None]], dim=1)}))
        return views

    def _changes(self, drawn: dict[str, Tensor], view: int) -> Changes:
        chosen = {
            name: drawn["chance"][:, i] < self.chance[i][view] if max(self.chance[i]) else None
            for i, name in enumerate(_CHANCES)
        }
        low, high = self.sigma
        middle, least = (1, 1, 1, 0), (0, 0, 0, -0.5)
        device = drawn["factors"].device
        lowest = tuple(float(max(b, m - x)) for b, m, x in zip(least, middle, self.strengths, strict=True))
        highest = tuple(float(m + x) for m, x in zip(middle, self.strengths, strict=True))
        factors = torch.lerp(constant(lowest, device), constant(highest, device), drawn["factors"])
        return Changes(factors=factors, order=drawn["order"], sigma=low + (high - low) * drawn["sigma"], **chosen)

    def _normalised(self, x: Tensor) -> Tensor:
        mean, std = (constant(values, x.device).view(1, -1, 1, 1, 1) for values in (self._mean, self._std))
        return x.sub_(mean).div_(std)

    @torch.no_grad()
    def plain(self, samples: Samples) -> View:
        """Return a clip from the middle of each video, its short side resized to `size`, the centre, normalised.

        Raises:
            UserError: as `cut`.
            BadSample: as `cut`.
        """
        return self._looks(samples, 1)[0]

    @torch.no_grad()
    def looks(self, samples: Samples) -> list[View]:
        """Return `eval_clips` evenly spaced clips of each video, as `plain` makes them."""
        return self._looks(samples, self.eval_clips)

    def _looks(self, samples: Samples, num: int) -> list[View]:
        made = []
        for footage in samples:
            self._check(footage)
            clips = self._channels(self.timing.read(footage, self.timing.evenly(footage, num)), footage)
            made.append(self._centre(clips.flatten(0, 1)).unflatten(0, clips.shape[:2]).transpose(1, 2))
        batch = torch.stack(made, dim=1)  # (num, B, C, T, S, S)
        return [View(self._normalised(x.float() / 255), self.modality) for x in batch]

    def _centre(self, frames: Tensor) -> Tensor:
        """Return the largest square in the middle of frames `(T, C, h, w)`, at the size of the views, uint8."""
        height, width = frames.shape[2:]
        side = min(height, width)
        return self._resized(frames, [(height - side) // 2, (width - side) // 2, side, side])

    def picture(self, samples: Samples, views: Sequence[View]) -> Tensor:
        """Return film strips, uint8 `(3, H, W)`: a row per video, first the plain clip, then its views."""
        mean, std = (constant(v, torch.device("cpu")).view(1, -1, 1, 1, 1) for v in (self._mean, self._std))
        columns = [view.tensor.cpu() * std + mean for view in (self.plain(samples), *views)]
        return strips([(x.clamp(0, 1) * 255).round().to(torch.uint8) for x in columns])

    def thumbnail(self, samples: Samples) -> Tensor:
        """Return the frame in the middle of the plain clip of one video `(3, S, S)`, uint8."""
        mean, std = (constant(v, torch.device("cpu")).view(-1, 1, 1) for v in (self._mean, self._std))
        clip = self.plain(samples).tensor[0].cpu()
        frame = clip[:, clip.shape[1] // 2] * std + mean
        return (frame.clamp(0, 1) * 255).round().to(torch.uint8).expand(3, -1, -1)

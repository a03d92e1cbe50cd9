"""The view policy `multi_crop`: some global views and many small local ones (SwAV, arXiv 2006.09882, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ssl_zoo.batch import InputSpec, View, ViewSpec
from ssl_zoo.data.source import Samples, ViewPolicy
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.image.views.augment import MILD, Augment
from ssl_zoo.modalities.image.views.cuts import Cut
from ssl_zoo.modalities.image.views.geometry import Interpolation
from ssl_zoo.modalities.image.views.policy import Count, Fraction, PerView, Positive, Probability, Strength
from ssl_zoo.registry import register

ROLES = ("global", "local")


@register("views", "multi_crop")
class MultiCrop(ViewPolicy):
    """Global views of most of the image and local views of small parts of it, each augmented as by `augment`.

    The global views come first. A local view predicts and is no target.

    Args:
        num_views: global views per sample.
        num_local: local views per sample.
        channels: of the images: 1 (grey) or 3 (RGB) of photographs, any other number as files have it.
        size: height and width of a global view in pixels; evaluation sees images of this size.
        local_size: height and width of a local view in pixels.
        scale: least and largest area of a global crop, as fractions of the image.
        local_scale: the same of a local crop.
        ratio: least and largest width / height of the crops.
        interpolation: of the crops' resize, antialiased.
        flip: probability of a mirror image. One number, or a list (as all probabilities here): one for each global
            view and a last one for all local views.
        jitter: probability of the colour jitter.
        brightness: its factor is uniform in [max(0, 1 - x), 1 + x]; so are those of contrast and saturation.
        contrast: as brightness. Of other than 1 or 3 channels, that of each is changed about its own mean.
        saturation: as brightness.
        hue: the turn is uniform in [-x, x] of the circle; at most 0.5.
        colour: `matrix` or `exact`: see `augment`.
        grey: probability of losing the colour.
        blur: probability of a Gaussian blur.
        sigma: least and largest standard deviation of the blur, in pixels.
        solarise: probability of inverting bright pixels, in images of integers.
        threshold: what is bright, in [0, 1].
        mean: subtracted from each channel (one number is for all channels).
        std: divided by.
        drop_channels: probability of losing a channel, for each of them: it becomes its mean. One always stays.

    Raises:
        UserError: a list of another length, or what `augment` refuses.
    """

    modality = "image"
    mild = {**MILD, "num_local": 1}
    per_view = ("flip",)

    def __init__(
        self,
        *,
        num_views: Count = 2,
        num_local: Count = 6,
        channels: Count = 3,
        size: Count = 224,
        local_size: Count = 96,
        scale: tuple[Fraction, Fraction] = (0.14, 1.0),
        local_scale: tuple[Fraction, Fraction] = (0.05, 0.14),
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
        super().__init__()
        self.num_views, self.size = num_views, size
        chances = {
            "flip": flip, "jitter": jitter, "grey": grey, "blur": blur, "solarise": solarise,
            "drop_channels": drop_channels,
        }  # fmt: skip
        shared: dict[str, Any] = {
            "channels": channels, "ratio": ratio, "interpolation": interpolation, "brightness": brightness,
            "contrast": contrast, "saturation": saturation, "hue": hue, "colour": colour, "sigma": sigma,
            "threshold": threshold, "mean": mean, "std": std,
        }  # fmt: skip
        wide, small = self._chances(chances)
        first = Augment(num_views=num_views, size=size, scale=scale, **wide, **shared)
        other = Augment(num_views=num_local, size=local_size, scale=local_scale, **small, **shared)
        self.policies = nn.ModuleDict({"global": first, "local": other})
        local = tuple(ViewSpec("local", view.shape, is_target=False) for view in other.spec.views)
        self.spec = InputSpec(self.modality, first.spec.views + local, first.spec.mean, first.spec.std)

    def _chances(self, given: dict[str, PerView]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the probabilities for the global views, and those for the local views."""
        wide: dict[str, PerView] = {}
        small: dict[str, PerView] = {}
        for name, value in given.items():
            if not isinstance(value, list):
                wide[name] = small[name] = value
                continue
            if len(value) != self.num_views + 1:
                raise UserError(
                    f"views.{name}: {len(value)} numbers for {self.num_views} global views and the local ones; "
                    f"give one, or {self.num_views + 1}."
                )
            wide[name], small[name] = value[:-1], value[-1]
        return wide, small

    def _policy(self, role: str) -> Augment:
        policy = self.policies[role]
        assert isinstance(policy, Augment)
        return policy

    def draw(self, generator: torch.Generator, num: int) -> dict[str, Tensor]:
        """Draw all that is random in the views of `num` samples; each entry is `(num, views of its role, ...)`."""
        drawn = {role: self._policy(role).draw_most(generator, num) for role in ROLES}
        for role in ROLES:  # last, as in `augment`
            drawn[role].update(self._policy(role).draw_dropped(generator, num))
        return {f"{role}.{name}": value for role in ROLES for name, value in drawn[role].items()}

    def cut(self, samples: Sequence[Tensor], params: dict[str, Tensor]) -> list[dict[str, Cut]]:
        """Return what the views of each role need of images; see `Augment.cut`."""
        cuts = [self._policy(role).cut(samples, _of(role, params)) for role in ROLES]
        return [dict(zip(ROLES, each, strict=True)) for each in zip(*cuts, strict=True)]

    def collate(self, samples: Samples, params: dict[str, Tensor]) -> dict[str, Tensor]:
        """Put samples and draws together, in the loader; see `Augment.collate`.

        Returns:
            The payload for `forward`: that of each role with its name in front, but a whole `image` only once.
        """
        payload: dict[str, Tensor] = {}
        for role in ROLES:
            own = [sample[role] for sample in samples] if isinstance(samples[0], dict) else samples
            part = self._policy(role).collate(own, _of(role, params))
            for name, value in part.items():
                payload[name if name == "image" else f"{role}.{name}"] = value
        return payload

    @torch.no_grad()
    def forward(self, payload: dict[str, Tensor]) -> list[View]:
        """Make the views, global ones first, float32, on the payload's device."""
        views: list[View] = []
        for role in ROLES:
            part = _of(role, payload)
            if "image" in payload:
                part["image"] = payload["image"]
            for view in self._policy(role)(part):
                view.role, view.is_target = role, role == "global"
                views.append(view)
        return views

    def plain(self, samples: Samples) -> View:
        """Return a view without augmentation, at the size of the global views; see `Augment.plain`."""
        return self._policy("global").plain(samples)

    def steps(self) -> dict[str, Any]:
        """Return what `plain` does; see `Augment.steps`."""
        return self._policy("global").steps()

    def plain_module(self) -> nn.Module:
        """Return a module that makes the plain views of uint8 images; see `Augment.plain_module`."""
        return self._policy("global").plain_module()

    def picture(self, samples: Samples, views: Sequence[View], least: int = 64, gap: int = 2) -> Tensor:
        """Return a grid as `augment` does, with all views at the size of the global ones."""
        side = (self.size, self.size)
        shown = [View(interpolate(view.tensor, size=side), view.modality) for view in views]
        return self._policy("global").picture(samples, shown, least, gap)

    def thumbnail(self, samples: Samples) -> Tensor:
        """Return the plain view of one sample `(3, H, W)`, uint8, without a frame."""
        return self._policy("global").thumbnail(samples)


def _of(role: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = role + "."
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}

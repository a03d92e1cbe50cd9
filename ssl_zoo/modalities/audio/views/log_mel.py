"""The view policy `log_mel`: log-mel spectrograms of excerpts of recordings, with the augmentations of BYOL-A.

BYOL-A: Niizumi et al. 2021 (arXiv 2103.06695); the linear fader is of its second version (arXiv 2204.07402).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from ssl_zoo.batch import View, ViewSpec
from ssl_zoo.data.source import Samples, ViewPolicy
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.audio.decode import HIGHEST_RATE
from ssl_zoo.modalities.audio.log_mel import AudioSpec, MelSettings, log_mel
from ssl_zoo.modalities.audio.modality import check_rate
from ssl_zoo.modalities.audio.sound import Sound
from ssl_zoo.modalities.audio.views import backgrounds, crops, picture
from ssl_zoo.modalities.audio.views.excerpts import Padding, excerpt, first_sample, place_in
from ssl_zoo.registry import register

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Strength = Annotated[float, Field(ge=0)]
Factor = Annotated[float, Field(ge=1)]
MOST_SECONDS = 600


@register("views", "log_mel")
class LogMelViews(ViewPolicy):
    """Log-mel spectrograms of excerpts; then gain, mixing with a background, random resized crop, linear fader.

    The defaults are BYOL-A's. What differs: the paper mixes with the recordings that were seen last, a memory that
    would make a batch depend on those before it and on the number of processes. Here the background is made noise, or
    recordings of your choice (the training data, for the paper's mixing), which are the same in the whole run; which of
    them is mixed in is drawn for each view. There is no normalisation by the statistics of a batch after the
    augmentations, for the same reason; `normalise: sample` is by those of each view.

    Views are `(B, 1, num_mels, num_frames)`, the lowest band first, in units of `std` around `mean`. `aux["box"]` has
    frequency and time.

    Args:
        num_views: views per sample.
        sample_rate: of the recordings, samples per second.
        seconds: length of an excerpt.
        excerpts: `one` for all views of a sample, as in BYOL-A, or `each` view its own.
        padding: what fills up recordings that are shorter: `zeros` (silence) or `repeat`. In views they lie at a random
            place of the excerpt, in plain samples in its middle.
        n_fft: samples of a Fourier transform.
        window: samples of its Hann window; null is n_fft.
        hop: samples between two frames.
        num_mels: bands on the mel scale, the height of a view.
        f_min: lower end of the bands in Hz.
        f_max: upper end in Hz; null is half of sample_rate, or 7800 if that is less.
        mean: of the log-mel values of the data, which is subtracted; the default is BYOL-A's.
        std: their standard deviation, which is divided by.
        gain: the loudness of a recording changes by up to so many decibels.
        mixup: largest share of the background's power (alpha), uniform from 0.
        background: null for noise from white to brown, at the mean level of the data; or recordings: the path of a
            folder, zip or parquet file, or a source such as `{name: folder, path: noises}`, of which train is taken.
        bank: how many backgrounds are held in memory.
        frequency_scale: least and largest extent of the crop, as fractions of the bands.
        time_scale: the same of the frames.
        boundary: height and width of the virtual crop boundary, as factors of the spectrogram's.
        fader: the linear fader adds up to so many units of std at both ends, and a line in between.
        normalise: `data` is by mean and std alone; `sample` brings each view, and each plain sample, to mean 0 and
            standard deviation 1 afterwards.
        num_looks: excerpts of a sample that the evaluation sees, evenly spread over it.

    Raises:
        UserError: options that do not go together.
    """

    modality = "audio"
    mild = {"num_views": 1, "mixup": 0.0, "frequency_scale": (0.8, 1.2), "time_scale": (0.8, 1.2)}

    def __init__(
        self,
        *,
        num_views: Count = 2,
        sample_rate: Annotated[int, Field(ge=1, le=HIGHEST_RATE)] = 16_000,
        seconds: Annotated[float, Field(gt=0, le=MOST_SECONDS)] = 0.95,
        excerpts: Literal["one", "each"] = "one",
        padding: Padding = "zeros",
        n_fft: Annotated[int, Field(ge=16, le=2**16, multiple_of=2)] = 1024,
        window: Annotated[int, Field(ge=2)] | None = None,
        hop: Count = 160,
        num_mels: Count = 64,
        f_min: Strength = 60.0,
        f_max: Positive | None = None,
        mean: float = -5.4919195,
        std: Positive = 5.0389895,
        gain: Strength = 0.0,
        mixup: Annotated[float, Field(ge=0, lt=1)] = 0.4,
        background: str | dict[str, Any] | None = None,
        bank: Annotated[int, Field(ge=1, le=2**16)] = 256,
        frequency_scale: tuple[Positive, Positive] = (0.6, 1.5),
        time_scale: tuple[Positive, Positive] = (0.6, 1.5),
        boundary: tuple[Factor, Factor] = (1.0, 1.5),
        fader: Strength = 1.0,
        normalise: Literal["data", "sample"] = "data",
        num_looks: Count = 1,
    ) -> None:
        super().__init__()
        highest = min(7800.0, sample_rate / 2) if f_max is None else f_max
        self.mel = MelSettings(sample_rate, n_fft, window or n_fft, hop, num_mels, f_min, highest)
        self.mel.check()
        self.num_views, self.length, self.shared = num_views, round(seconds * sample_rate), excerpts == "one"
        if self.length <= n_fft // 2:
            raise UserError(
                f"views.seconds: {seconds:g} s are {self.length} samples, and views.n_fft={n_fft} needs more than "
                f"{n_fft // 2}; raise seconds or lower n_fft."
            )
        self.padding, self.num_looks, self.normalise = padding, num_looks, normalise
        self.mean, self.std, self.gain, self.mixup, self.fader = mean, std, gain, mixup, fader
        self.scales = _ascending("frequency_scale", frequency_scale), _ascending("time_scale", time_scale)
        self.boundary, self.background, self.bank = boundary, background, bank
        self._banks: dict[torch.device, Tensor] = {}
        shape = (1, num_mels, self.mel.num_frames(self.length))
        self.spec = AudioSpec(self.modality, (ViewSpec("global", shape),) * num_views, (mean,), (std,), mel=self.mel)

    def draw(self, generator: torch.Generator, num: int) -> dict[str, Tensor]:
        """Draw all that is random in the views of `num` samples; each entry is `(num, num_views, ...)`."""
        shape = (num, self.num_views)
        return {
            "excerpt": torch.rand(shape, generator=generator),
            "gain": torch.rand(shape, generator=generator),
            "background": torch.rand(*shape, 2, generator=generator),  # which, and its share
            "crop": torch.rand(*shape, 4, generator=generator),  # extent and place in frequency, then in time
            "fader": torch.rand(*shape, 2, generator=generator),
        }

    def cut(self, samples: Sequence[Sound], params: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Return the excerpts of recordings, as soon as they are read.

        Args:
            samples: the recordings.
            params: what `draw` gave for them.

        Returns:
            For each, its excerpts `(E, length)`, float32, and their places `(E, 2)`, start and extent as fractions of
            the recording. E is 1 where all views share one, else the number of views.

        Raises:
            UserError: a recording of another rate.
        """
        return [self._excerpts(sound, drawn) for sound, drawn in zip(samples, params["excerpt"], strict=True)]

    def _excerpts(self, sound: Sound, drawn: Tensor) -> tuple[Tensor, Tensor]:
        check_rate(sound, self.mel.sample_rate)
        starts = [first_sample(len(sound), self.length, u) for u in drawn.tolist()[: 1 if self.shared else None]]
        waves = [excerpt(sound, start, self.length, self.padding) for start in starts]
        return torch.stack(waves), torch.tensor([place_in(len(sound), start, self.length) for start in starts])

    def collate(self, samples: Samples | Sequence[Any], params: dict[str, Tensor]) -> dict[str, Tensor]:
        """Put excerpts and draws together, in the loader.

        Args:
            samples: recordings, or what `cut` made of them.
            params: what was drawn for them.

        Returns:
            The payload for `forward`: `wave` `(B, E, length)`, `place` `(B, E, 2)`, and the draws.

        Raises:
            UserError: as `cut`.
        """
        cuts = self.cut(list(samples), params) if isinstance(samples[0], Sound) else samples
        waves, places = zip(*cuts, strict=True)
        drawn = {name: value for name, value in params.items() if name != "excerpt"}
        return {"wave": torch.stack(waves), "place": torch.stack(places), **drawn}

    @torch.no_grad()
    def forward(self, payload: dict[str, Tensor]) -> list[View]:
        """Return the views, on the payload's device."""
        num = len(payload["wave"])
        x, place = self._spectrogram(payload["wave"]), payload["place"]
        if self.shared:
            x, place = (each.expand(-1, self.num_views, *each.shape[2:]) for each in (x, place))
        x, place = x.flatten(0, 1), place.flatten(0, 1)  # (B V, F, T), (B V, 2)
        drawn = {name: value.flatten(0, 1) for name, value in payload.items() if name not in ("wave", "place")}
        x = self._gained(x, drawn["gain"])
        x = self._mixed(x, drawn["background"])
        x, box = self._cropped(x, drawn["crop"], place)
        x = self._faded(x, drawn["fader"])
        views, boxes = (each.unflatten(0, (num, self.num_views)).unbind(1) for each in (self._normalised(x), box))
        return [View(v[:, None], self.modality, aux={"box": b}) for v, b in zip(views, boxes, strict=True)]

    def _spectrogram(self, wave: Tensor) -> Tensor:
        return (log_mel(wave, self.mel) - self.mean) / self.std

    def _gained(self, x: Tensor, drawn: Tensor) -> Tensor:
        if not self.gain:
            return x
        decibels = self.gain * (2 * drawn - 1)
        return x + (decibels * (math.log(10) / 10 / self.std))[:, None, None]

    def _mixed(self, x: Tensor, drawn: Tensor) -> Tensor:
        if not self.mixup:
            return x
        bank = self._bank(x.device)
        which = (drawn[:, 0] * len(bank)).long().clamp(max=len(bank) - 1)
        return backgrounds.mix(x, bank[which], self.mixup * drawn[:, 1])

    def _bank(self, device: torch.device) -> Tensor:
        """Return the backgrounds `(num, F, T)` in the units of the views: read or made at first, then kept."""
        if device not in self._banks:
            if self.background is None:
                made = backgrounds.made_noise(self.bank, self.length, self.mel) / self.std
            else:
                read = backgrounds.recorded(self.background, self.bank, self.length, self.mel, self.padding)
                made = (read - self.mean) / self.std
            self._banks[device] = made.to(device)
        return self._banks[device]

    def _cropped(self, x: Tensor, drawn: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
        """Return the crops, and their boxes `(N, 3, 2)` in the recording."""
        starts, extents = [], []
        for axis, (scale, boundary) in enumerate(zip(self.scales, self.boundary, strict=True)):
            size = x.shape[1 + axis]
            start, num = crops.draw_sides(drawn[:, 2 * axis], drawn[:, 2 * axis + 1], size, scale, boundary)
            x = crops.resize_axis(x, start, num, 1 + axis)
            starts.append(start / size)
            extents.append(num / size)
        if self.padding == "repeat":  # what is before and after a short recording is the recording
            whole = torch.stack([torch.zeros_like(place[:, 0]), torch.ones_like(place[:, 1])], dim=1)
            place = torch.where(place[:, 1:] >= 1, whole, place)
        time = place[:, 0] + starts[1] * place[:, 1], extents[1] * place[:, 1]
        sides = [crops.seen(starts[0], extents[0]), crops.seen(*time)]
        box = torch.stack([torch.stack([*side, torch.zeros_like(side[0])], dim=1) for side in sides], dim=2)
        return x, box

    def _faded(self, x: Tensor, drawn: Tensor) -> Tensor:
        if not self.fader:
            return x
        head, tail = (self.fader * (2 * drawn - 1)).T[..., None]
        return x + torch.lerp(head, tail, torch.linspace(0, 1, x.shape[2], device=x.device))[:, None]

    def _normalised(self, x: Tensor) -> Tensor:
        if self.normalise == "data":
            return x
        x = x - x.mean(dim=(-2, -1), keepdim=True)
        return x / x.std(dim=(-2, -1), keepdim=True, correction=0).clamp(min=1e-3)

    @torch.no_grad()
    def plain(self, samples: Samples) -> View:
        """Return the middle of recordings without augmentation: what the evaluation sees.

        Raises:
            UserError: a recording of another rate.
        """
        return self._look(samples, 0.5)

    @torch.no_grad()
    def looks(self, samples: Samples) -> list[View]:
        """Return `num_looks` excerpts of each recording, from its beginning to its end; one is `plain`.

        Raises:
            UserError: a recording of another rate.
        """
        if self.num_looks == 1:
            return [self.plain(samples)]
        return [self._look(samples, i / (self.num_looks - 1)) for i in range(self.num_looks)]

    def _look(self, samples: Samples, place: float) -> View:
        waves = []
        for sound in samples:
            check_rate(sound, self.mel.sample_rate)
            room = len(sound) - self.length
            start = round(place * room) if room > 0 else -(-room // 2)
            waves.append(excerpt(sound, start, self.length, self.padding))
        return View(self._normalised(self._spectrogram(torch.stack(waves)))[:, None], self.modality)

    def picture(self, samples: Samples, views: Sequence[View]) -> Tensor:
        """Return spectrograms in colours `(3, H, W)`, uint8: a row per sample, first the plain one, then its views."""
        return picture.rows([view.tensor.cpu() for view in (self.plain(samples), *views)])


def _ascending(name: str, pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise UserError(f"views.{name}: {list(pair)} runs backwards; give the least value first.")
    return (pair[0], pair[1])

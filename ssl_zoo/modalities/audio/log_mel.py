"""Log-mel spectrograms: a short-time Fourier transform, triangular bands on the mel scale, a logarithm."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from ssl_zoo.batch import InputSpec
from ssl_zoo.errors import UserError

EPS = torch.finfo(torch.float32).eps
"""Added to the power before the logarithm: silence is -15.9."""


@dataclass(frozen=True)
class MelSettings:
    """What a log-mel spectrogram depends on.

    Attributes:
        sample_rate: of the recordings, per second.
        n_fft: samples of a Fourier transform, an even number.
        window: samples of the Hann window in its middle.
        hop: samples between two frames.
        num_mels: bands.
        f_min: lower end of the first band in Hz.
        f_max: upper end of the last band in Hz.
    """

    sample_rate: int
    n_fft: int
    window: int
    hop: int
    num_mels: int
    f_min: float
    f_max: float

    def num_frames(self, num: int) -> int:
        """Return the frames of a recording of `num` samples; the first is centred on its first sample."""
        return 1 + num // self.hop

    def check(self) -> None:
        """Refuse what has no meaning.

        Raises:
            UserError: such a setting.
        """
        if self.window > self.n_fft:
            raise UserError(f"views.window: {self.window} is more than views.n_fft={self.n_fft}; lower it.")
        if not 0 <= self.f_min < self.f_max <= self.sample_rate / 2:
            raise UserError(
                f"views.f_min and views.f_max: {self.f_min:g} to {self.f_max:g} Hz; give a range within 0 and "
                f"{self.sample_rate / 2:g}, half of views.sample_rate."
            )
        empty = int((mel_bands(self) == 0).all(dim=0).sum())
        if empty:
            raise UserError(
                f"views.num_mels: {empty} of {self.num_mels} bands hold no frequency of views.n_fft={self.n_fft}; "
                "lower num_mels, or raise n_fft or f_min."
            )


@dataclass(frozen=True)
class AudioSpec(InputSpec):
    """An `InputSpec` that also says how the spectrograms are made, so that the modality can give their statistics."""

    mel: MelSettings | None = None


def _mel(hz: Tensor) -> Tensor:
    return 2595 * torch.log10(1 + hz / 700)


@lru_cache(maxsize=16)
def mel_bands(settings: MelSettings) -> Tensor:
    """Return the weights of the frequencies in each band, `(n_fft / 2 + 1, num_mels)`; not to be changed.

    Bands are triangles of height 1 whose corners are equally far from each other in mel, 2595 log10(1 + f / 700)
    (O'Shaughnessy 1987; the scale of HTK).
    """
    with torch.inference_mode(False), torch.device("cpu"):  # also where a method is built without memory
        ends = torch.tensor([settings.f_min, settings.f_max], dtype=torch.float64)
        low, high = _mel(ends).tolist()
        corners = 700 * (10 ** (torch.linspace(low, high, settings.num_mels + 2, dtype=torch.float64) / 2595) - 1)
        frequency = torch.linspace(0, settings.sample_rate / 2, settings.n_fft // 2 + 1, dtype=torch.float64)[:, None]
        rising = (frequency - corners[:-2]) / (corners[1:-1] - corners[:-2])
        falling = (corners[2:] - frequency) / (corners[2:] - corners[1:-1])
        return torch.minimum(rising, falling).clamp(min=0).float()


@lru_cache(maxsize=16)
def _constants(settings: MelSettings, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the window and the bands on a device: a copy in every step would make the host wait."""
    with torch.inference_mode(False):
        return torch.hann_window(settings.window, device=device), mel_bands(settings).to(device)


def log_mel(x: Tensor, settings: MelSettings, constants: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Return log(power in each band + eps) of recordings.

    Args:
        x: float32 `(..., n)`, n more than n_fft / 2.
        settings: of the spectrogram.
        constants: window and bands, where they are at hand.

    Returns:
        `(..., num_mels, 1 + n // hop)`, the lowest band first.
    """
    window, bands = _constants(settings, x.device) if constants is None else constants
    with torch.autocast(x.device.type, enabled=False):
        spectrum = torch.stft(
            x.reshape(-1, x.shape[-1]).float(), settings.n_fft, settings.hop, settings.window, window,
            center=True, pad_mode="reflect", return_complex=True,
        )  # fmt: skip
        power = spectrum.real.square() + spectrum.imag.square()
        mel = (bands.T @ power + EPS).log()
    return mel.reshape(*x.shape[:-1], *mel.shape[1:])


class LogMel(nn.Module):
    """`log_mel` as a module, to be put before an encoder that is exported.

    Args:
        settings: of the spectrogram.
    """

    def __init__(self, settings: MelSettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("window", torch.hann_window(settings.window), persistent=False)
        self.register_buffer("bands", mel_bands(settings).clone(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the log-mel spectrograms `(B, num_mels, num_frames)` of recordings `(B, n)`."""
        return log_mel(x, self.settings, (self.get_buffer("window"), self.get_buffer("bands")))

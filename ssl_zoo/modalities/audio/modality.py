"""The modality `audio`: WAV, FLAC, OGG, MP3 and AIFF files become recordings of one channel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, BinaryIO

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import pad

from ssl_zoo.batch import InputSpec
from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.defaults import Defaults, Given
from ssl_zoo.data.source import Media, Modality
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.audio.decode import EXTENSIONS, HIGHEST_RATE, Channel, Decoding
from ssl_zoo.modalities.audio.defaults import audio_defaults
from ssl_zoo.modalities.audio.log_mel import AudioSpec, log_mel
from ssl_zoo.modalities.audio.sound import Sound, wav_bytes
from ssl_zoo.registry import register

SECONDS_SHOWN = 10.0
"""Of a recording, on a page, at most."""


@register("modality", "audio")
class AudioModality(Modality):
    """Recordings of sound: WAV (read by this package), FLAC, OGG, MP3 and AIFF (by soundfile), as one channel.

    All recordings of a source have one rate, or are brought to one by `sample_rate`. In memory they take 2 bytes per
    sample where files of 8 or 16 bits are read as they are, else 4. In parquet files they are in a column `audio`.

    Args:
        spec: of the views. Statistics are of the log-mel spectrograms that it describes, and left out where it
            describes none.
        sample_rate: samples per second that recordings are brought to, by a windowed sinc; null leaves them as they
            are, and refuses one that differs from the first that was read.
        channel: of files with several: `mean` of all, `left`, `right`, or a number from 1. A mono file is taken as it
            is, so that mono and stereo may be mixed.
        max_seconds: a longer recording is refused.
    """

    axes = "seconds at Hz"
    studies = ("speech", "cifar10", "masked")
    extensions = EXTENSIONS
    columns = ("audio", "sound", "wav")
    item_keys = ("array", "sampling_rate")
    any_size = True
    size_option = "data.decode.max_seconds"

    def __init__(
        self,
        spec: InputSpec,
        *,
        sample_rate: Annotated[int, Field(ge=1, le=HIGHEST_RATE)] | None = None,
        channel: Channel = "mean",
        max_seconds: Annotated[float, Field(gt=0)] = 600.0,
    ) -> None:
        super().__init__(spec)
        self.decoding = Decoding(sample_rate, channel, max_seconds)
        self.max_bytes = self.decoding.max_bytes
        self._first: tuple[str, int] | None = None

    def decode(self, data: bytes | BinaryIO, name: str) -> Sound:
        """Return an encoded recording, decoded.

        Raises:
            BadSample: it cannot be decoded, or has another rate than the first one that was read.
        """
        return self._at_one_rate(self.decoding.decode(data, name), name)

    def from_item(self, value: Any, name: str) -> Sound:
        """Return a recording in an item of a Python data set.

        Args:
            value: a `Sound`, the bytes of a file, or `{"array": values from -1 to 1, "sampling_rate": Hz}`, as Hugging
                Face decodes them; several channels `(C, n)` are averaged.
            name: of the sample, for messages.

        Raises:
            BadSample: it is none of these, or has another rate than the first one that was read.
        """
        if isinstance(value, bytes):
            return self.decode(value, name)
        if isinstance(value, Mapping) and set(self.item_keys) <= set(value):
            array, rate = torch.as_tensor(value["array"]), value["sampling_rate"]
            if array.ndim not in (1, 2) or not array.numel() or not array.is_floating_point():
                raise BadSample(name, f"an array of {array.dtype} and shape {tuple(array.shape)}; give floats (n,)")
            value = self.decoding.resampled(Sound(array.float().reshape(-1, array.shape[-1]).mean(0), int(rate)))
        if not isinstance(value, Sound):
            raise BadSample(
                name, f"a {type(value).__name__}; give a file's bytes, or {{'array': (n,), 'sampling_rate': Hz}}"
            )
        return self._at_one_rate(value, name)

    def _at_one_rate(self, sound: Sound, name: str) -> Sound:
        """Return a recording that has the rate of the first one."""
        if self._first is None:
            self._first = name, sound.rate
        other, rate = self._first
        if sound.rate != rate:
            raise BadSample(
                name,
                f"its rate is {sound.rate} Hz, and that of {other} is {rate} Hz; resample all with "
                f"data.decode.sample_rate={min(rate, sound.rate)}",
            )
        return sound

    def remarks(self, data: bytes | BinaryIO, name: str) -> tuple[str, ...]:
        """Return notes on how an encoded recording is understood: its channels, its rate, silence."""
        return self.decoding.remarks(data, name)

    def nbytes(self, sample: Sound) -> int:
        """Return the size of a recording in memory, in bytes."""
        return sample.nbytes

    def values(self, sample: Sound) -> Tensor | None:
        """Return the log-mel values of a whole recording `(1, n)`, without what views add to short ones.

        None where the views are no log-mel spectrograms, or not known.

        Raises:
            UserError: another rate than that of the views.
        """
        mel = self.spec.mel if isinstance(self.spec, AudioSpec) else None
        if mel is None:
            return None
        check_rate(sample, mel.sample_rate)
        wave = sample.part(0, len(sample))
        wave = pad(wave, (0, max(0, mel.n_fft - len(wave))))  # the Fourier transform needs as many
        return log_mel(wave, mel).reshape(1, -1)

    def media(self, sample: Sound) -> list[Media]:
        """Return the first seconds of a recording as a WAV file."""
        return [Media("audio/wav", wav_bytes(sample, SECONDS_SHOWN))]

    def describe(self, sample: Sound) -> str:
        """Return the length and the rate, such as `0.4 at 8000`."""
        return f"{sample.seconds:.1f} at {sample.rate}"

    def defaults(self, samples: Iterable[Sound], given: Given) -> Defaults:
        """Return the settings of a first recipe on some recordings; see `audio_defaults`."""
        return audio_defaults(samples, given)


def check_rate(sound: Sound, rate: int) -> None:
    """Make sure that a recording has the rate that views are made for.

    Raises:
        UserError: it has another.
    """
    if sound.rate != rate:
        raise UserError(
            f"views.sample_rate: is {rate} Hz, and a recording has {sound.rate} Hz; set views.sample_rate={sound.rate} "
            f"(and n_fft, hop and f_max to fit), or data.decode.sample_rate={rate} to resample."
        )

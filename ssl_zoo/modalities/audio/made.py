"""A small folder of made recordings, for tests, documentation and benchmarks."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from ssl_zoo.modalities.audio.sound import Sound, wav_bytes
from ssl_zoo.rng import generator

CLASSES = ("chirp", "noise", "tone")

PARTS = {
    "views": {"name": "log_mel", "sample_rate": 8000, "seconds": 0.6, "n_fft": 512, "hop": 160, "num_mels": 32,
              "f_max": 4000},
    "encoder": {"name": "audio_convnet", "widths": [16, 32, 64], "out_dim": 256},
}  # fmt: skip
"""What `ssl-zoo bench data` measures on them."""


def write_examples(folder: Path, num: int, *, seconds: float = 0.6, rate: int = 8000, seed: int = 0) -> None:
    """Write recordings of made sounds as `folder/{train,test}/{chirp,noise,tone}/NUMBER.wav`, 16 bits, mono.

    A tone holds its pitch, a chirp glides up or down over an octave, a noise is a burst in a band. Pitch, phase,
    length, loudness and the noise in the background are random.

    Args:
        folder: that they are written to; it is made.
        num: recordings in all, of which a quarter, rounded up, is for the test; classes in turn.
        seconds: length of each, give or take a quarter.
        rate: samples per second.
        seed: of all that is random.
    """
    test = -(-num // 4)
    for i in range(num):
        split, name = "test" if i < test else "train", CLASSES[i % len(CLASSES)]
        path = folder / split / name / f"{i:04d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        sound = Sound(made(name, seconds, rate, generator(seed, "made", i)), rate)
        path.write_bytes(wav_bytes(sound, 2 * seconds))


def made(name: str, seconds: float, rate: int, g: torch.Generator) -> Tensor:
    """Return a made sound, float32 `(n,)`.

    Args:
        name: one of `CLASSES`.
        seconds: its length, give or take a quarter.
        rate: samples per second.
        g: what is random is drawn from it.
    """
    length, pitch, glide, phase, level, background = torch.rand(6, generator=g).tolist()
    num = max(1, int(rate * seconds * (0.75 + length / 2)))
    t = torch.arange(num) / rate
    hertz = 200 * 5**pitch  # 200 to 1000
    hiss = torch.randn(num, generator=g)
    if name == "noise":
        spectrum = torch.fft.rfft(torch.randn(num, generator=g))
        frequency = torch.fft.rfftfreq(num, 1 / rate)
        spectrum = spectrum * ((frequency > hertz) & (frequency < 2 * hertz))
        sound = torch.fft.irfft(spectrum, n=num)
        sound = sound / sound.std().clamp(min=1e-6) / 3
    else:
        octaves = {"tone": 0.0, "chirp": 1.0 if glide < 0.5 else -1.0}[name] / (seconds * 0.75)
        turns = hertz * t if not octaves else hertz * (2 ** (octaves * t) - 1) / (octaves * math.log(2))
        sound = torch.sin(2 * math.pi * (turns + phase))
    fade = torch.minimum(t, t.flip(0)).mul(50).clamp(max=1)  # 20 ms at both ends, without a click
    return sound * fade * (0.1 + 0.6 * level) + hiss * 0.03 * background

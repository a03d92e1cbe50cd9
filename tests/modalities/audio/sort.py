"""What the registry-wide contract tests need to know of audio."""

import torch

from ssl_zoo.batch import InputSpec, ViewSpec
from ssl_zoo.modalities.audio.sound import Sound
from ssl_zoo.rng import generator
from tests.contract import Sort


def sounds(num: int, channels: int = 1, rate: int = 8000) -> list[Sound]:
    """Return noises of several lengths, some of 16 bits; `channels` is that of views."""
    g = generator(0, "sounds")
    waves = [0.1 * torch.randn(2000 + 700 * i, generator=g) for i in range(num)]
    return [Sound((x * 2**15).to(torch.int16) if i % 2 else x, rate) for i, x in enumerate(waves)]


SMALL = {"sample_rate": 8000, "seconds": 0.3, "n_fft": 256, "hop": 80, "num_mels": 24, "bank": 4}

SORT = Sort(
    InputSpec("audio", (ViewSpec("global", (1, 24, 31)),) * 2),
    sounds,
    {"log_mel": SMALL},
    bad=(b"", b"\x00\xff\xfe no sample", b"RIFF\x00\x00\x00\x00WAVE", b"\xff\xfb", b"\x89PNG\r\n\x1a\n"),
)

"""Log-mel spectrograms against torchaudio's, and against what a sine must give."""

import math

import pytest
import torch
import torchaudio

from ssl_zoo.errors import UserError
from ssl_zoo.modalities.audio.log_mel import EPS, AudioSpec, LogMel, MelSettings, log_mel, mel_bands
from ssl_zoo.modalities.audio.modality import AudioModality
from ssl_zoo.modalities.audio.sound import Sound
from ssl_zoo.rng import generator

PAPER = MelSettings(16_000, 1024, 1024, 160, 64, 60, 7800)
SETTINGS = [PAPER, MelSettings(8000, 256, 200, 80, 24, 0, 4000), MelSettings(44_100, 2048, 1024, 512, 100, 20, 20_000)]


@pytest.mark.parametrize("settings", SETTINGS)
def test_it_is_torchaudios(settings: MelSettings) -> None:
    x = 0.1 * torch.randn(3, 9000, generator=generator(0, "x"))
    reference = torchaudio.transforms.MelSpectrogram(
        settings.sample_rate, settings.n_fft, settings.window, settings.hop, settings.f_min, settings.f_max,
        n_mels=settings.num_mels, mel_scale="htk", norm=None,
    )  # fmt: skip
    expected = (reference.double()(x.double()) + EPS).log().float()
    found = log_mel(x, settings)
    assert found.shape == (3, settings.num_mels, settings.num_frames(9000))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(LogMel(settings)(x), found)
    assert torch.equal(log_mel(x[1:2], settings)[0], found[1])  # the rest of a batch makes no difference


def test_a_sine_is_in_its_band() -> None:
    t = torch.arange(16_000, dtype=torch.float64) / 16_000
    for hz in (200, 1000, 5000):
        mel = log_mel(torch.sin(2 * math.pi * hz * t).float(), PAPER)
        width = (2595 * math.log10(1 + 7800 / 700) - 2595 * math.log10(1 + 60 / 700)) / 65
        band = (2595 * math.log10(1 + hz / 700) - 2595 * math.log10(1 + 60 / 700)) / width - 1
        assert abs(mel[:, 50].argmax().item() - band) <= 0.6


def test_silence_is_the_logarithm_of_what_is_added() -> None:
    assert (log_mel(torch.zeros(2000), PAPER) == torch.tensor(EPS).log()).all()


def test_half_precision_does_not_reach_it() -> None:
    x = torch.randn(2, 2000, generator=generator(0, "x"))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(log_mel(x, PAPER), log_mel(x, PAPER).float())
        inside = log_mel(x, PAPER)
    assert torch.equal(inside, log_mel(x, PAPER))


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"num_mels": 500}, r"views\.num_mels: \d+ of 500 bands hold no frequency of views\.n_fft=1024"),
        ({"f_max": 9000.0}, "60 to 9000 Hz; give a range within 0 and 8000"),
        ({"f_min": 7900.0}, "7900 to 7800 Hz"),
        ({"window": 1100}, r"views\.window: 1100 is more than views\.n_fft=1024"),
    ],
)
def test_settings_without_meaning_are_refused(changes: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        MelSettings(**{**PAPER.__dict__, **changes}).check()
    PAPER.check()
    assert mel_bands(PAPER).shape == (513, 64) and (mel_bands(PAPER).amax(dim=0) > 0.5).all()


def test_statistics_are_of_the_views_units() -> None:
    modality = AudioModality(AudioSpec("audio", (), mel=PAPER))
    x = 0.1 * torch.randn(5000, generator=generator(0, "x"))
    values = modality.values(Sound(x, 16_000))
    assert values is not None and torch.equal(values, log_mel(x, PAPER).reshape(1, -1))
    short = modality.values(Sound(x[:10], 16_000))
    assert short is not None and short.isfinite().all()
    with pytest.raises(UserError, match=r"views\.sample_rate: is 16000 Hz, and a recording has 8000 Hz"):
        modality.values(Sound(x, 8000))

"""The resampler against torchaudio's, and against sines."""

import math

import pytest
import torch
import torchaudio

from ssl_zoo.modalities.audio.resample import resample
from ssl_zoo.rng import generator

RATES = [(8000, 16_000), (16_000, 8000), (44_100, 16_000), (22_050, 8000), (11_025, 48_000), (1001, 800)]


@pytest.mark.parametrize("rate, new_rate", RATES)
def test_it_is_torchaudios(rate: int, new_rate: int) -> None:
    x = torch.randn(3000, generator=generator(0, "x"), dtype=torch.float64)
    expected = torchaudio.functional.resample(x, rate, new_rate)
    torch.testing.assert_close(resample(x.float(), rate, new_rate), expected.float(), rtol=0, atol=2e-6)


def test_a_sine_stays_a_sine() -> None:
    def sine(rate: int) -> torch.Tensor:
        return torch.sin(2 * math.pi * 440 * torch.arange(rate // 2, dtype=torch.float64) / rate).float()

    for rate, new_rate in ((8000, 16_000), (48_000, 8000)):
        middle = slice(new_rate // 10, -new_rate // 10)
        torch.testing.assert_close(
            resample(sine(rate), rate, new_rate)[middle], sine(new_rate)[middle], rtol=0, atol=2e-3
        )


def test_its_parts_are_its_whole(monkeypatch) -> None:
    x = torch.randn(2000, generator=generator(0, "x"))
    whole = resample(x, 44_100, 16_000)
    monkeypatch.setattr("ssl_zoo.modalities.audio.resample._AT_ONCE", 1000)
    torch.testing.assert_close(resample(x, 44_100, 16_000), whole, rtol=0, atol=1e-6)
    assert resample(x, 8000, 8000) is x and len(resample(x[:1], 8000, 16_000)) == 2


def test_odd_rates_take_no_large_filter() -> None:
    assert len(resample(torch.ones(4410), 44_101, 16_000)) == 1600

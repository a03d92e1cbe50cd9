"""What a first recipe on recordings begins with: by their rate and their length."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import median

from ssl_zoo.data.defaults import Defaults, Given, Setting
from ssl_zoo.modalities.audio.sound import Sound

LONGEST = 2.0
"""Seconds of a view at most."""


def audio_defaults(samples: Iterable[Sound], given: Given) -> Defaults:
    """Return the settings of a first recipe on recordings."""
    lengths, rates = [], set()
    for sound in samples:
        lengths.append(sound.seconds)
        rates.add(sound.rate)
    rate, middle = min(rates), median(lengths)
    n_fft = max(256, 2 ** round(math.log2(0.064 * rate)))
    mels = 32 if rate <= 8000 else 64
    seconds = round(max(min(0.75 * middle, LONGEST), 1.25 * n_fft / rate), 2)
    views = {
        "name": "log_mel", "sample_rate": rate, "seconds": seconds, "n_fft": n_fft, "window": rate // 20,
        "hop": rate // (50 if rate <= 8000 else 100), "num_mels": mels, "f_min": 60,
        "f_max": min(7800, int(0.475 * rate)),
    }  # fmt: skip
    if given.has_patches:
        views["num_views"] = 1
    facts = {
        "length": f"{min(lengths):.2f} to {max(lengths):.2f} s, the median is {middle:.2f}",
        "rate": ", ".join(f"{each} Hz" for each in sorted(rates)),
    }
    why = (
        f"excerpts of {seconds:g} s, three quarters of the median length and at most {LONGEST:g}; bands up to f_max Hz"
    )
    encoder = {"name": "vit", "patch": 8, "width": 64, "depth": 3, "heads": 2} if given.has_patches else None
    stages = [16, 32, 64] if not given.accelerator else [64, 64, 64]
    settings = [
        Setting("encoder", encoder or {"name": "audio_convnet", "widths": stages, "out_dim": 512},
                "convolutions over bands and time" if encoder is None else "the method hides patches"),
        Setting("views", views, why),
    ]  # fmt: skip
    if len(rates) > 1:
        settings.append(Setting("data.decode.sample_rate", rate, "the recordings have several rates"))
    return Defaults(facts, tuple(settings))

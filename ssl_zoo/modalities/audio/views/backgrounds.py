"""Mixing of log-mel spectrograms with others in the background, and where these come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_zoo import registry
from ssl_zoo.data.open import build_source, split_of
from ssl_zoo.data.source import Split
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.audio.log_mel import AudioSpec, MelSettings, log_mel
from ssl_zoo.modalities.audio.modality import AudioModality, check_rate
from ssl_zoo.modalities.audio.sound import Sound
from ssl_zoo.modalities.audio.views.excerpts import Padding, excerpt, first_sample
from ssl_zoo.rng import generator

STEEPEST = 2.0
"""The power of made noise falls with frequency to the power of 0 (white) to this (brown)."""


def mix(x: Tensor, background: Tensor, ratio: Tensor) -> Tensor:
    """Return log((1 - ratio) exp(x) + ratio exp(background)): powers are added, not their logarithms.

    The log-mixup-exp of BYOL-A (Niizumi et al. 2021, arXiv 2103.06695).

    Args:
        x: `(N, F, T)`.
        background: `(N, F, T)`.
        ratio: `(N,)`, from 0 to below 1.
    """
    ratio = ratio[:, None, None]
    return torch.logaddexp(x + (-ratio).log1p(), background + ratio.log())


def made_noise(num: int, length: int, settings: MelSettings) -> Tensor:
    """Return log-mel spectrograms of noise `(num, num_mels, num_frames)`, each of mean 0.

    Their spectra fall at slopes from white to brown; the same numbers in every run.

    Args:
        num: how many.
        length: samples of each.
        settings: of the spectrograms.
    """
    g = generator(0, "background")
    slope = STEEPEST * torch.rand(num, 1, generator=g)
    spectrum = torch.fft.rfft(torch.randn(num, length, generator=g))
    frequency = torch.arange(1, spectrum.shape[1] + 1) / spectrum.shape[1]
    wave = torch.fft.irfft(spectrum * frequency ** (-slope / 2), n=length)
    mel = log_mel(wave / wave.std(dim=1, keepdim=True), settings)
    return mel - mel.mean(dim=(1, 2), keepdim=True)


def recorded(source: str | Mapping[str, Any], num: int, length: int, settings: MelSettings, padding: Padding) -> Tensor:
    """Return log-mel spectrograms of excerpts of recordings `(num or fewer, num_mels, num_frames)`.

    Recordings of the split train are drawn without replacement and cut at random; the same ones in every run.

    Args:
        source: a path, or a source as a recipe writes it: `{name: folder, path: noises}`.
        num: how many.
        length: samples of each.
        settings: of the spectrograms.
        padding: of shorter recordings.

    Raises:
        UserError: no such source, a recording that cannot be read, or one of another rate.
    """
    modality = AudioModality(AudioSpec("audio", (), mel=settings))
    split = _open(source, modality)
    g = generator(0, "background")
    chosen = torch.randperm(len(split), generator=g)[:num].tolist()
    places = torch.rand(len(chosen), generator=g).tolist()
    excerpts = []
    for i, place in zip(chosen, places, strict=True):
        sound: Sound = split.read(i)
        check_rate(sound, settings.sample_rate)
        excerpts.append(excerpt(sound, first_sample(len(sound), length, place), length, padding))
    if not excerpts:
        raise UserError(f"views.background: {source} holds no recordings.")
    return log_mel(torch.stack(excerpts), settings)


def _open(source: str | Mapping[str, Any], modality: AudioModality) -> Split:
    if isinstance(source, str):
        path = Path(source).expanduser()
        for entry in registry.entries("source"):
            matches = getattr(entry.factory, "matches", None)
            own = getattr(entry.factory, "modality", "audio") == "audio"
            if matches is not None and own and path.exists() and matches(path, AudioModality):
                return split_of(build_source(entry.name, {"path": source}, modality), "train")
        raise UserError(f"views.background: {source} is no folder, zip or parquet file of recordings.")
    options = dict(source)
    if not isinstance(options.get("name"), str):
        raise UserError("views.background: is a path, or a source: {name: folder, path: FOLDER}.")
    return split_of(build_source(options.pop("name"), options, modality), "train")

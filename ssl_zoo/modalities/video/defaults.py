"""What a first recipe on videos begins with: by their length and the size of their frames, and by the machine."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import Any

from ssl_zoo.data.defaults import Defaults, Given, Setting
from ssl_zoo.modalities.video.footage import Footage

FRAMES = 8
"""Of a view."""


def video_defaults(samples: Iterable[Footage], given: Given) -> Defaults:
    """Return the settings of a first recipe on videos."""
    sides, lengths, frames = [], [], []
    for video in samples:
        sides.append(min(video.whole))
        lengths.append(float(video.duration))
        frames.append(video.num_frames)
    side, seconds = int(median(sides)), median(lengths)
    size = min(side, 112 if given.accelerator else 40) // 8 * 8 or side
    rate = round(min(median(frames) / seconds, 2 * FRAMES / seconds), 2)
    encoder: dict[str, Any] = (
        {"name": "r3d_18"} if given.accelerator else {"name": "tiny_r2plus1d", "widths": [16, 32, 64, 128]}
    )
    if given.has_patches:
        encoder = {
            "name": "video_vit",
            "frames": 2,
            "patch": 8 if size > 48 else 4,
            "width": 64,
            "depth": 3,
            "heads": 2,
        }
    facts = {
        "size": f"frames of {min(sides)} to {max(sides)} pixels on the short side",
        "length": f"{min(lengths):.1f} to {max(lengths):.1f} s, {min(frames)} to {max(frames)} frames",
    }
    views: dict[str, Any] = {"name": "clips", "num_frames": FRAMES, "size": size, "rate": rate, "scale": [0.3, 1.0]}
    if given.has_patches:
        views |= {"num_views": 1, "eval_clips": 1, "jitter": 0.0, "grey": 0.0, "blur": 0.0}
    batch = 32 if not given.accelerator else 128
    settings = (
        Setting("encoder", encoder, "for a GPU" if given.accelerator else "small enough for a CPU"),
        Setting("views", views, f"clips of {FRAMES} frames at {rate:g} a second span half of the median video"),
        Setting("training.batch_size", batch, "clips are large, and reading them is slow"),
    )
    return Defaults(facts, settings)

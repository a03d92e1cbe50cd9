"""The example clips: the same every time, and of a class that only motion shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ssl_zoo.data.open import build_source
from ssl_zoo.modalities.video import made
from tests.modalities.video.conftest import modality, sequential


def test_they_are_written_by_split_and_class(tmp_path: Path) -> None:
    made.write_examples(tmp_path, 20)
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.mp4"))
    assert len(files) == 20 and files[:2] == ["test/down/0003.mp4", "test/left/0003.mp4"]
    frames, times = sequential(tmp_path / "train" / "up" / "0000.mp4")
    assert frames.shape == (32, 3, 48, 48) and times[-1] == 31 / 16
    drawn = made.dots(3, made.CLASSES["up"])
    difference = frames.permute(0, 2, 3, 1).numpy().astype(int) - drawn.astype(int)
    assert np.abs(difference).mean() < 3  # of 255 levels, lost to the codec


def test_all_dots_move_one_way_and_none_lives_long() -> None:
    for name, (down, right) in made.CLASSES.items():
        frames = made.dots(7, made.CLASSES[name])[..., 0].astype(float)

        def likeness(t: int, dy: int, dx: int, apart: int = 3, frames: np.ndarray = frames) -> float:
            moved = np.roll(frames[t], (dy, dx), axis=(0, 1))
            return float(np.corrcoef(moved.ravel(), frames[t + apart].ravel())[0, 1])

        shifts = {(dy, dx): np.mean([likeness(t, dy, dx) for t in range(0, 28, 3)])
                  for dy in (-4, 0, 4) for dx in (-4, 0, 4)}  # fmt: skip
        assert max(shifts, key=lambda shift: shifts[shift]) == (4 * down, 4 * right), name
        assert abs(np.corrcoef(frames[0].ravel(), frames[20].ravel())[0, 1]) < 0.3


def test_the_source_has_the_same_clips_in_memory(tmp_path: Path) -> None:
    source = build_source("moving_dots", {"num": 20}, modality(size=42))
    train, test = source.split("train"), source.split("test")
    assert len(train) == 16 and len(test) == 4 and test.labels is not None and test.labels.tolist() == [0, 1, 2, 3]
    video = train.read(3)
    assert train.class_names is not None and train.class_names[int(train.labels[3])] == "up"
    assert np.array_equal(video.frames.permute(0, 2, 3, 1).numpy(), made.dots(3, made.CLASSES["up"]))
    assert video.duration == 2 and modality(channels=1, size=14).nbytes(source.split("train").read(0)) > 0

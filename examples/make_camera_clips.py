"""Makes a folder of short clips, in class folders of `train` and `test`, of a folder or zip of photographs.

The clips are made, not filmed: a camera moves over one photograph along a straight line and zooms, and the clip's class
is that of the photograph. Nothing in the scene moves. A clip shows natural texture, and from frame to frame the same
things at other places, some of which leave the picture while others enter it. What can be tried on them is whether a
method that trains on clips learns what is in a picture; they show nothing about actions, or about objects that move.

Each clip is a folder of PNGs, which lose nothing, for the source `frames`. Everything is a function of the seed, of the
photograph's path `SPLIT/CLASS/NAME.png` and of its pixels.

    python examples/make_camera_clips.py CIFAR10_ZIP camera_clips
"""

from __future__ import annotations

import argparse
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import numpy as np
from PIL import Image

WINDOW = (0.6, 0.75)
"""Least and largest side of what the camera sees, over the photograph's short side."""


def names_of(source: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the names `SPLIT/CLASS/NAME.png` below a folder or in a zip, sorted, and the content of the files."""
    if source.is_dir():
        for path in sorted(source.rglob("*.png")):
            yield path.relative_to(source).as_posix(), path.read_bytes()
        return
    with zipfile.ZipFile(source) as archive:
        for name in sorted(name for name in archive.namelist() if name.endswith(".png")):
            yield name, archive.read(name)


def filmed(photograph: Image.Image, rng: np.random.Generator, num_frames: int, size: int) -> np.ndarray:
    """Return a clip, uint8 `(T, size, size, 3)`: a square window that moves and grows or shrinks evenly.

    Args:
        photograph: RGB.
        rng: for the window's side and centre in the first and in the last frame.
        num_frames: T.
        size: of the frames, in pixels.
    """
    sides = rng.uniform(*WINDOW, 2) * min(photograph.size)
    room = np.array(photograph.size) - sides[:, None]  # (2, 2): in the first and last frame, along width and height
    corners = rng.uniform(size=(2, 2)) * room
    ends = np.concatenate([corners, corners + sides[:, None]], axis=1)  # left, top, right, bottom
    boxes = ends[0] + np.linspace(0, 1, num_frames)[:, None] * (ends[1] - ends[0])
    resized = (photograph.resize((size, size), Image.Resampling.BICUBIC, box=tuple(box)) for box in boxes)
    return np.stack([np.asarray(frame) for frame in resized])


def write(source: Path, target: Path, limit: dict[str, int], seed: int, num_frames: int, size: int) -> int:
    """Write a clip of each of the first photographs of each class.

    Args:
        source: folder or zip of `SPLIT/CLASS/NAME.png`.
        target: the folder, which must not exist; the clips are `SPLIT/CLASS/NAME/0.png` and on.
        limit: clips of a class, for each split.
        seed: of the paths.
        num_frames: of a clip.
        size: of a frame, in pixels.

    Returns:
        How many were written.
    """
    target.mkdir(parents=True)
    done = dict[str, int]()
    for name, content in names_of(source):
        folder = name.rpartition("/")[0]
        if done.get(folder, 0) >= limit.get(folder.partition("/")[0], 0):
            continue
        done[folder] = done.get(folder, 0) + 1
        rng = np.random.default_rng([seed, crc32(name.encode())])
        with Image.open(io.BytesIO(content)) as image:
            frames = filmed(image.convert("RGB"), rng, num_frames, size)
        clip = target / Path(name).with_suffix("")
        clip.mkdir(parents=True)
        for number, frame in enumerate(frames):
            Image.fromarray(frame).save(clip / f"{number}.png")
    return sum(done.values())


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder or zip of train/CLASS/*.png and test/CLASS/*.png")
    parser.add_argument("target", type=Path, help="the folder that is made")
    parser.add_argument("--num-train", type=int, default=300, help="clips of each class to train on")
    parser.add_argument("--num-test", type=int, default=50, help="clips of each class to test on")
    parser.add_argument("--frames", type=int, default=8, help="of a clip")
    parser.add_argument("--size", type=int, default=24, help="height and width of a frame, in pixels")
    parser.add_argument("--seed", type=int, default=0, help="of the camera's paths")
    args = parser.parse_args()
    limit = {"train": args.num_train, "test": args.num_test}
    print(f"{write(args.source, args.target, limit, args.seed, args.frames, args.size)} clips in {args.target}")


if __name__ == "__main__":
    main()

"""Makes a folder of 13-channel uint16 TIFFs, in class folders of `train` and `test`, of a folder or zip of photographs.

The spectra are made, not measured: RGB has three numbers a pixel, and what is written here has no more. Each band is a
fixed mixture of red, green and blue by a bell over the visible range, bent by an exponent of its own and by the product
of two neighbouring bands (so that bands are no linear map of RGB), then put into its own part of the 16-bit range by
a gain and an offset, with noise of a sensor: a part that grows with the signal, and a part that does not. What it shows
is that data of many channels and 16 bits go through the whole of the framework unclipped, and that training works
there; it shows nothing about any instrument.

Everything is a function of the seed, of the file's name and of its pixels.

    python examples/make_spectral.py CIFAR10_ZIP spectral
"""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path
from zlib import crc32

import numpy as np
import tifffile
from PIL import Image

BANDS = 13


class Sensor:
    """The fixed properties of the bands.

    Args:
        seed: of the exponents, gains and offsets.
    """

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        centres, primaries = np.linspace(0, 1, BANDS), np.array([0.85, 0.5, 0.15])  # red is the longest
        weights = np.exp(-(((centres[:, None] - primaries) / 0.22) ** 2))
        self.mixture = weights / weights.sum(axis=1, keepdims=True)  # (13, 3)
        self.exponent = rng.uniform(0.5, 2.0, BANDS)
        self.product = rng.uniform(0.0, 0.5, BANDS)
        self.gain = rng.uniform(4000, 45000, BANDS)
        self.offset = rng.uniform(500, 8000, BANDS)
        self.seed = seed

    def bands(self, rgb: np.ndarray, name: str) -> np.ndarray:
        """Return an image uint8 `(H, W, 3)` as uint16 `(13, H, W)`; its name seeds the noise."""
        light = np.tensordot(self.mixture, rgb / 255, axes=(1, 2))
        bent = light ** self.exponent[:, None, None]
        mixed = bent + self.product[:, None, None] * bent * np.roll(light, 1, axis=0)
        signal = self.offset[:, None, None] + self.gain[:, None, None] * mixed
        noise = np.random.default_rng([self.seed, crc32(name.encode())]).standard_normal((2, *signal.shape))
        noisy = signal + 4 * np.sqrt(signal) * noise[0] + 60 * noise[1]
        return np.clip(np.rint(noisy), 0, 65535).astype(np.uint16)


def write(source: Path, target: Path, num_train: int | None, num_test: int | None, seed: int) -> int:
    """Write the images of an archive `SPLIT/CLASS/NAME.png` as TIFFs of the same names.

    Args:
        source: the archive.
        target: the folder, which must not exist.
        num_train: of each class; None takes all.
        num_test: of each class.
        seed: of the bands and of their noise.

    Returns:
        How many were written.
    """
    target.mkdir(parents=True)
    sensor, done = Sensor(seed), dict[str, int]()
    limit = {"train": num_train, "test": num_test}
    with zipfile.ZipFile(source) as archive:
        for name in sorted(name for name in archive.namelist() if name.endswith(".png")):
            folder = name.rpartition("/")[0]
            most = limit[folder.partition("/")[0]]
            if most is not None and done.get(folder, 0) >= most:
                continue
            done[folder] = done.get(folder, 0) + 1
            with archive.open(name) as file, Image.open(file) as image:
                pixels = sensor.bands(np.asarray(image.convert("RGB")), name)
            path = target / Path(name).with_suffix(".tif")
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, pixels, planarconfig="separate", photometric="minisblack", compression="zlib")
    return sum(done.values())


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="a zip of train/CLASS/*.png and test/CLASS/*.png")
    parser.add_argument("target", type=Path, help="the folder that is made")
    parser.add_argument("--num-train", type=int, help="images of each class to train on; all by default")
    parser.add_argument("--num-test", type=int, help="of each class to test on")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(f"{write(args.source, args.target, args.num_train, args.num_test, args.seed)} TIFFs in {args.target}")


if __name__ == "__main__":
    main()

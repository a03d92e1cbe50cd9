"""Small pictures of three colours, and a run on them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ssl_zoo

COLOURS = {"blue": (40, 40, 200), "dark red": (160, 30, 30), "green": (40, 180, 60)}
RECIPE = (
    "encoder={name: convnet, widths: [8, 16]}", "projector.dims=[8, 8]", "predictor.dims=[4, 8]", "views.size=12",
    "views.blur=0", "training.batch_size=16", "training.max_steps=2", "evaluation.protocols=[]", "data.num_workers=0",
)  # fmt: skip


def picture(colour: tuple[int, int, int], seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(-25, 26, (12, 12, 3))
    return Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8))


def write(folder: Path, counts: dict[str, dict[str, int]]) -> Path:
    """Write `{split: {class: number of pictures}}` as an image folder."""
    for split, classes in counts.items():
        for name, num in classes.items():
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            for i in range(num):
                seed = 1000 * len(split) + 100 * len(name) + i
                picture(COLOURS.get(name, (128, 128, 128)), seed).save(folder / split / name / f"{i}.png")
    return folder


@pytest.fixture(scope="session")
def colours(tmp_path_factory) -> Path:
    """Ten pictures of each colour to train on and four to test on, not to be changed."""
    each = {"train": dict.fromkeys(COLOURS, 10), "test": dict.fromkeys(COLOURS, 4)}
    return write(tmp_path_factory.mktemp("colours") / "data", each)


@pytest.fixture(scope="session")
def run(colours, tmp_path_factory) -> Path:
    """A run of two steps on them, not to be changed."""
    folder = tmp_path_factory.mktemp("colours") / "run"
    recipe = ssl_zoo.load_recipe("simsiam", RECIPE, data=str(colours))
    ssl_zoo.train(recipe, out=folder, log=lambda line: None)
    return folder

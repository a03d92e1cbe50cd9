"""Made photographs, and the run of a small encoder on them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import ssl_zoo

SMALL = [
    "encoder={name: convnet, widths: [4, 6]}", "projector.dims=[8, 8]", "predictor.dims=[4, 8]", "views.size=16",
    "training.batch_size=16", "training.max_steps=4", "evaluation.protocols=[]", "data.num_workers=0",
]  # fmt: skip


def picture(seed: int, height: int = 60, width: int = 80) -> Image.Image:
    """Return a picture of coarse and fine colours, as photographs have them."""
    source = torch.Generator().manual_seed(seed)
    layers = [
        F.interpolate(torch.rand(1, 3, side, side, generator=source), size=(height, width), mode="bicubic")
        for side in (3, 6, 12, 24)
    ]
    x = sum(weight * layer for weight, layer in zip((0.5, 0.3, 0.2, 0.1), layers, strict=True))[0]
    return Image.fromarray((x.clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy())


@pytest.fixture(scope="session")
def made_picture() -> Callable[..., Image.Image]:
    return picture


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 48 pictures in 3 classes."""
    folder = tmp_path_factory.mktemp("search") / "photos"
    for i in range(48):
        path = folder / f"c{i % 3}" / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(i).save(path)
    return folder


@pytest.fixture(scope="session")
def run(photos: Path) -> Path:
    folder = photos.parent / "run"
    ssl_zoo.train(ssl_zoo.load_recipe("simsiam", SMALL, data=str(photos)), out=folder, log=lambda line: None)
    return folder


@pytest.fixture(scope="session")
def unit() -> np.ndarray:
    """1,000 vectors of unit length `(1000, 12)`, float32."""
    x = np.random.default_rng(0).normal(size=(1000, 12))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)

"""Clips and sequences train from a recipe at its defaults: nothing in the way of a run knows the shape of an image."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_zoo import registry
from ssl_zoo.batch import InputSpec, View, ViewSpec
from ssl_zoo.data import MemorySplit
from ssl_zoo.data.source import ViewPolicy
from ssl_zoo.recipe.model import parse
from ssl_zoo.runs.encoder import load_encoder
from ssl_zoo.training.train import train

SHAPES = {"clips": (2, 4, 6, 6), "words": (5, 8)}


class Noisy(ViewPolicy):
    """The sample and a little noise, twice."""

    modality = "tensor"

    def __init__(self, *, of: str) -> None:
        super().__init__()
        self.shape = SHAPES[of]
        self.spec = InputSpec("tensor", (ViewSpec("global", self.shape),) * 2)

    def draw(self, generator: torch.Generator, num: int) -> dict[str, Tensor]:
        return {"noise": 0.1 * torch.randn(num, 2, *self.shape, generator=generator)}

    def collate(self, samples: Any, params: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"views": samples[:, None] + params["noise"]}

    def forward(self, payload: dict[str, Tensor]) -> list[View]:
        return [View(x) for x in payload["views"].unbind(dim=1)]

    def plain(self, samples: Any) -> View:
        return View(samples if isinstance(samples, Tensor) else torch.stack(list(samples)))

    def picture(self, samples: Any, views: Sequence[View]) -> Tensor:
        return torch.zeros(3, 8, 8, dtype=torch.uint8)


class Random:
    """Sixty-four random samples."""

    splits = ("train",)
    notes = ()

    def __init__(self, *, of: str) -> None:
        self.data = torch.randn(64, *SHAPES[of], generator=torch.Generator().manual_seed(0))

    def split(self, name: str) -> MemorySplit:
        return MemorySplit(self.data)


class Convolutions(nn.Sequential):
    """A 3-D convolution."""

    def __init__(self) -> None:
        layers = [nn.Conv3d(2, 4, 3), nn.BatchNorm3d(4), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten()]
        super().__init__(*layers)
        self.out_dim = 4


class Transformer(nn.Module):
    """One layer of attention, and the mean of the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.out_dim = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 8

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).mean(dim=1)


@pytest.fixture(autouse=True)
def parts(own_parts: None) -> None:
    registry.register("views", "noisy")(Noisy)
    registry.register("source", "random")(Random)
    registry.register("encoder", "clips")(Convolutions)
    registry.register("encoder", "words")(Transformer)


@pytest.mark.parametrize("what", sorted(SHAPES))
def test_it_trains_is_evaluated_and_exported_at_default_settings(what, tmp_path):
    raw = {
        "method": "tiny",
        "encoder": what,
        "projector": {"name": "mlp", "dims": [8, 8], "last_norm": "batch"},
        "predictor": {"name": "mlp", "dims": [4, 8]},
        "target": "stop_gradient",
        "objective": "negative_cosine",
        "views": {"name": "noisy", "of": what},
        "data": {"source": {"name": "random", "of": what}},
        "training": {"batch_size": 32, "max_steps": 2},
        "evaluation": {"protocols": ["label_free"]},
    }
    summary = train(parse(raw, "tiny"), out=tmp_path / "run", log=lambda line: None)
    assert summary["status"] == "done" and set(summary["baselines"]) == {"raw", "untrained"}
    x = torch.zeros(3, *SHAPES[what])
    assert load_encoder(tmp_path / "run")(x).shape == (3, 4 if what == "clips" else 8)

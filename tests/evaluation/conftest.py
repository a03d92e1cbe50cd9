"""A policy, splits and an encoder that keep the contract of the real ones."""

from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from ssl_zoo.batch import View
from ssl_zoo.data.source import Modality, Split, ViewPolicy
from ssl_zoo.evaluation.features import Features
from ssl_zoo.evaluation.seen import EvaluationData
from tests.tiny import spec_of


class PlainPolicy(ViewPolicy):
    """Scales uint8 samples to 0..1."""

    modality = "image"
    spec = spec_of()

    def plain(self, samples: Tensor | Sequence[Tensor]) -> View:
        stacked = samples if isinstance(samples, Tensor) else torch.stack(list(samples))
        return View(stacked.float() / 255, self.modality)

    def picture(self, samples: Tensor | Sequence[Tensor], views: Sequence[View]) -> Tensor:
        return torch.cat([sample.repeat_interleave(8, 1).repeat_interleave(8, 2) for sample in samples], dim=1)


class ListSplit(Split):
    """Samples that are read one by one."""

    def __init__(self, data: Tensor, labels: Tensor | None = None):
        self.data, self.labels = data, labels

    def __len__(self) -> int:
        return len(self.data)

    def read(self, i: int) -> Tensor:
        return self.data[i]


class BatchSplit(ListSplit):
    """Samples that are read in batches."""

    stacked = True

    def read_batch(self, indices: Tensor) -> Tensor:
        return self.data[indices]


def images(num: int, size: int = 8, seed: int = 0) -> Tensor:
    """Random uint8 images `(num, 3, size, size)`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (num, 3, size, size), generator=generator, dtype=torch.uint8)


def encoder(seed: int = 0) -> nn.Sequential:
    """A network with BatchNorm and Dropout, `(B, 3, 8, 8)` -> `(B, 5)`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten()]
        return nn.Sequential(*body, nn.Linear(144, 5), nn.BatchNorm1d(5))


def evaluation_data(train: Split, test: Split | None = None) -> EvaluationData:
    return EvaluationData(PlainPolicy(), Modality(spec_of()), train, test)


@pytest.fixture(scope="session")
def fakes() -> SimpleNamespace:
    """What stands in for the real policy, splits and encoder."""
    parts = {"ListSplit": ListSplit, "BatchSplit": BatchSplit, "images": images, "encoder": encoder}
    return SimpleNamespace(policy=PlainPolicy(), modality=Modality(spec_of()), data=evaluation_data, **parts)


@pytest.fixture(scope="session")
def digits() -> tuple[Features, Features]:
    """Train and test features: the 64 pixels of scikit-learn's digits, the first 1,200 and the other 597."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x, y = torch.tensor(bunch.data, dtype=torch.float32), torch.tensor(bunch.target)
    return Features(x[:1200], y[:1200]), Features(x[1200:], y[1200:])

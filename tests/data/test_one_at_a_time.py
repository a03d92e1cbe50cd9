"""Large images: one whole image is held at a time, wherever they are read, and what comes of it is the same."""

import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ssl_zoo import registry, rng
from ssl_zoo.data import Loader, MemorySplit, check_source, choose_workers, cutter, load
from ssl_zoo.data import memory as module
from ssl_zoo.data.held import LargeSplit
from ssl_zoo.data.preview import picture_of_views
from ssl_zoo.data.source import Modality, Split
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.features import extract, raw
from tests.tiny import spec_of

NUM = 20
MODALITY = Modality(spec_of())


class Photos(Split):
    """Images of several sizes (or one), that know how many of them are held."""

    def __init__(self, one_size: bool = False) -> None:
        self.labels = torch.arange(NUM)
        self.one_size, self.alive, self.most = one_size, 0, 0

    def __len__(self) -> int:
        return NUM

    def read(self, i: int) -> Tensor:
        size = (3, 40, 50) if self.one_size else (3, 30 + i, 50 - i)
        pixels = np.random.default_rng(i).integers(0, 256, size, np.uint8)
        self.alive += 1
        self.most = max(self.most, self.alive)
        weakref.finalize(pixels, self._gone)
        return torch.from_numpy(pixels)

    def _gone(self) -> None:
        self.alive -= 1

    def name(self, i: int) -> str:
        return f"{i}.jpg"


def policy(name: str = "augment", **options) -> nn.Module:
    return registry.build("views", name, {"size": 16, **options})


class Flat(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :32]


def _train(photos: Photos) -> None:
    list(Loader(photos, policy(), batch_size=8, seed=0, accumulate=2).iterate(0, 4))


def _multi_crop(photos: Photos) -> None:
    list(Loader(photos, policy("multi_crop", local_size=8), batch_size=8, seed=0).iterate(0, 2))


PLACES: dict[str, Callable[[Photos], object]] = {
    "training": _train,
    "training with small crops": _multi_crop,
    "evaluation": lambda photos: extract(Flat(), policy(), photos, batch_size=8, device="cpu"),
    "raw pixels": lambda photos: raw(MODALITY, policy(), photos, batch_size=8),
    "picture": lambda photos: picture_of_views(photos, policy(), seed=0),
    "timing": lambda photos: choose_workers(photos, policy(), "auto", 8),
    "check": lambda photos: check_source(photos, MODALITY),
    "probing": load,
}


@pytest.mark.parametrize("place", PLACES)
def test_one_whole_image_is_held_at_a_time(monkeypatch, place):
    monkeypatch.setattr(cutter, "HOLD_BYTES", 100)
    photos = Photos()
    PLACES[place](photos)
    assert photos.most == 1 and photos.alive == 0


def test_small_images_are_held_up_to_a_limit_to_be_cut_together(monkeypatch):
    monkeypatch.setattr(cutter, "HOLD_BYTES", 3 * 6000)
    photos = Photos(one_size=True)
    _train(photos)
    assert photos.most == 4 and photos.alive == 0


def test_reading_into_memory_holds_one_beside_it():
    photos = Photos(one_size=True)
    assert isinstance(load(photos, "memory"), MemorySplit) and photos.most == 1


@pytest.mark.parametrize("name", ["augment", "multi_crop"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("hold", [100, 12_000], ids=["one by one", "a few"])
def test_cutting_one_by_one_gives_what_cutting_a_batch_gives(monkeypatch, name, interpolation, hold):
    monkeypatch.setattr(cutter, "HOLD_BYTES", hold)
    made = policy(name, interpolation=interpolation)
    photos = Photos()
    [[batch]] = Loader(photos, made, batch_size=8, seed=3).iterate(1, 2)
    whole = [photos.read(i) for i in batch.index.tolist()]
    expected = made.collate(whole, made.draw(rng.generator(3, "views", 1), 8))
    assert batch.payload.keys() == expected.keys()
    assert all(torch.equal(batch.payload[key], value) for key, value in expected.items())


def test_plain_one_by_one_is_plain_of_a_batch():
    made, photos = policy(), Photos()
    features = extract(nn.Flatten(), made, photos, batch_size=7, device="cpu")
    assert torch.equal(features.x, made.plain([photos.read(i) for i in range(NUM)]).tensor.flatten(1))


def test_large_samples_in_memory_are_cut_one_by_one(monkeypatch):
    """A batch of photographs would be copied whole for views of a few pixels."""
    photos, made = Photos(one_size=True), policy()
    monkeypatch.setattr(module, "WHOLE_BYTES", 3 * 40 * 50 - 1)
    held = load(photos, "memory", on_error="skip")
    assert isinstance(held, LargeSplit) and load(held) is held and held.name(3) == "3.jpg"
    assert torch.equal(held.labels, photos.labels) and held.nbytes == NUM * 6000
    [[batch]] = Loader(held, made, batch_size=8, seed=0, on_error="skip", num_ranks=2).iterate(0, 1)
    [[fresh]] = Loader(photos, made, batch_size=8, seed=0, num_ranks=2).iterate(0, 1)
    assert batch.payload["cut"].shape == (2, 4, 3, 16, 16)
    assert all(torch.equal(batch.payload[key], value) for key, value in fresh.payload.items())
    assert choose_workers(held, made, "auto").note.startswith("data: 0 MiB in memory, cut in every epoch, ")
    monkeypatch.setattr(module, "WHOLE_BYTES", 3 * 40 * 50)
    assert isinstance(load(photos, "memory"), MemorySplit)


def test_memory_that_is_not_there_is_told_before_it_is_filled(monkeypatch):
    photos = Photos(one_size=True)
    monkeypatch.setattr(module, "free_bytes", lambda: NUM * 6000 - 1)
    with pytest.raises(
        UserError, match=r"cache: memory needs 0\.0 GiB for 20 samples of 3x40x50.* use data.cache=auto"
    ):
        load(photos, "memory")
    monkeypatch.setattr(module, "free_bytes", lambda: NUM * 6000)
    assert len(load(photos, "memory")) == NUM

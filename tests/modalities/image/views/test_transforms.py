"""A transform of the user's as views: seeded per sample and view, whatever the workers; mistakes are one sentence."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ssl_zoo import registry
from ssl_zoo.data.loader import Loader
from ssl_zoo.data.source import Split
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.image.views.transforms import Transforms
from ssl_zoo.recipe.model import Recipe, parse
from ssl_zoo.rng import generator
from ssl_zoo.training.train import train
from tests.tiny import small

OWN = """
import torch
from torchvision.transforms import v2

augment = v2.Compose([
    v2.RandomResizedCrop(12, scale=(0.5, 1.0)),
    v2.RandomHorizontalFlip(),
    v2.ToDtype(torch.float32, scale=True),
    v2.Normalize([0.5], [0.25]),
])
number = 3

def broken(image):
    raise ZeroDivisionError("no light")

def levels(image):
    return image[:, :12, :12]

def wide(image):
    return image.float()

def as_image(image):
    return v2.functional.to_pil_image(image)

def in_place(image):
    return image.zero_().float()[:, :12, :12]

def learns(image):
    return image[:, :12, :12].float() * torch.ones((), requires_grad=True)
"""


@pytest.fixture(autouse=True)
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's, under a new name in each test."""
    name = f"own_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return name


class Images(Split):
    """Images of several sizes, as a folder holds."""

    def __len__(self) -> int:
        return 24

    def read(self, i: int) -> Tensor:
        return images(1, seed=i, side=14 + i % 3)[0]


def images(num: int = 5, seed: int = 0, side: int = 16) -> Tensor:
    return torch.randint(0, 256, (num, 3, side, side), dtype=torch.uint8, generator=generator(seed, "images"))


def views_of(policy: Transforms, samples: Any, seed: int = 0) -> list[Tensor]:
    params = policy.draw(generator(seed, "views"), len(samples))
    return [view.tensor for view in policy(policy.collate(samples, params))]


@pytest.mark.parametrize("name", ["tests.tiny:noisy_view", "augment"])
def test_views_differ_between_views_samples_and_seeds_and_repeat_by_seed(name: str, own_module: str) -> None:
    policy = Transforms(transform=name if ":" in name else f"{own_module}:{name}", size=12)
    same = images(1).expand(4, -1, -1, -1)
    one, two = views_of(policy, same)
    assert one.shape == (4, 3, 12, 12) and one.dtype == torch.float32
    assert not torch.equal(one, two) and all(not torch.equal(one[i], one[j]) for i in range(4) for j in range(i))
    assert all(torch.equal(a, b) for a, b in zip(views_of(policy, same), (one, two), strict=True))
    assert not torch.equal(views_of(policy, same, seed=1)[0], one)


def test_the_generators_of_the_process_are_left_as_they_are() -> None:
    policy = Transforms(transform="tests.tiny:noisy_view", size=12)

    def numbers() -> tuple[float, ...]:
        return float(torch.rand(())), random.random(), float(np.random.rand())

    def seeded() -> None:
        torch.manual_seed(5), random.seed(5), np.random.seed(5)

    seeded()
    expected = numbers()
    seeded()
    views_of(policy, images())
    assert numbers() == expected


def test_each_view_may_have_its_own_transform(own_module: str) -> None:
    policy = Transforms(transform=["tests.tiny:noisy_view", f"{own_module}:augment"], size=12)
    alone = Transforms(transform=f"{own_module}:augment", size=12)
    assert torch.equal(views_of(policy, images())[1], views_of(alone, images())[1])
    with pytest.raises(UserError, match="views.transform: 1 names for 2 views; give one, or one per view"):
        Transforms(transform=["tests.tiny:noisy_view"])


def test_samples_are_left_as_they_are_and_views_carry_no_gradient(own_module: str) -> None:
    samples = images()
    before = samples.clone()
    views_of(Transforms(transform=f"{own_module}:in_place", size=12), samples)
    assert torch.equal(samples, before)
    assert not any(x.requires_grad for x in views_of(Transforms(transform=f"{own_module}:learns", size=12), samples))


def stream(policy: Transforms, num_workers: int, start: int = 0, accumulate: int = 1) -> list[Tensor]:
    loader = Loader(Images(), policy, batch_size=8, seed=3, num_workers=num_workers, accumulate=accumulate)
    steps = loader.iterate(start, 4)
    return [torch.cat([raw.payload["views"] for raw in step], dim=1) for step in steps]


def test_the_stream_is_the_same_for_any_workers_parts_and_first_step() -> None:
    policy = Transforms(transform="tests.tiny:noisy_view", size=12)
    whole = stream(policy, 0)
    for other in (stream(policy, 2), stream(policy, 2, start=2), stream(policy, 0, accumulate=2)):
        assert all(torch.equal(a, b) for a, b in zip(whole[4 - len(other) :], other, strict=True))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_error_is_one_sentence_from_a_worker_too(num_workers: int, own_module: str) -> None:
    with pytest.raises(UserError) as caught:
        stream(Transforms(transform=f"{own_module}:broken", size=12), num_workers)
    assert str(caught.value).startswith(f"views.transform: {own_module}:broken fails on a uint8 image of shape (3, ")
    assert str(caught.value).endswith(f"ZeroDivisionError: no light ({own_module}.py, line 14).")


@pytest.mark.parametrize(
    "name, words",
    [
        (
            "levels",
            r"return a float tensor of shape \(3, 12, 12\), but returned torch.uint8 of shape \(3, 12, 12\)",
        ),
        ("wide", r"but returned torch.float32 of shape \(3, 16, 16\); end it with a resize"),
        ("as_image", "but returned Image; end it with"),
    ],
)
def test_what_is_no_view_is_refused(name: str, words: str, own_module: str) -> None:
    with pytest.raises(UserError, match=words):
        views_of(Transforms(transform=f"{own_module}:{name}", size=12), images())


def test_samples_of_other_channels_are_refused() -> None:
    with pytest.raises(UserError, match="made for images of 3 channels"):
        views_of(Transforms(transform="tests.tiny:noisy_view", size=12), images()[:, :1])


@pytest.mark.parametrize(
    "name, words",
    [
        (
            "no_such_module_at_all:augment",
            "cannot be imported: ModuleNotFoundError: .*; run from its folder with",
        ),
        ("{own}:nothing", "the module {own} has no 'nothing'; name a callable of it, as {own}:NAME"),
        ("{own}:number", "has 'number', but it cannot be called"),
    ],
)
def test_a_missing_callable_is_one_sentence(name: str, words: str, own_module: str) -> None:
    with pytest.raises(UserError, match=words.format(own=own_module)):
        registry.build("views", "transforms", {"transform": name.format(own=own_module)})


@pytest.mark.parametrize("name", ["__import__('os').getcwd", "os", "os:getcwd()", "os:path.join", ":augment", "a b:c"])
def test_only_the_name_of_a_modules_attribute_is_taken(name: str) -> None:
    with pytest.raises(UserError, match="transform"):
        registry.build("views", "transforms", {"transform": name})


def recipe(num_workers: int) -> Recipe:
    raw = small("simsiam").dump()
    views = {"name": "transforms", "transform": "tests.tiny:noisy_view", "size": 12, "mean": [0.5], "std": [0.5]}
    raw |= {"views": views, "data": {"source": {"name": "digits", "placements": 1}, "num_workers": num_workers}}
    raw["evaluation"] = {"protocols": ["label_free"], "limit": 50, "baselines": False}
    raw["training"] |= {"batch_size": 100, "max_steps": 4, "log_every": 1}
    return parse(raw, "simsiam")


def test_a_resumed_run_is_the_whole_run_bit_for_bit(tmp_path: Path) -> None:
    train(recipe(0), out=tmp_path / "whole", log=lambda line: None)
    train(recipe(2), out=tmp_path / "halves", log=lambda line: None, stop_at=2)
    train(recipe(2), out=tmp_path / "halves", log=lambda line: None, resume=True)
    whole, halves = (load_file(tmp_path / name / "encoder.safetensors") for name in ("whole", "halves"))
    assert whole.keys() == halves.keys() and all(torch.equal(whole[name], halves[name]) for name in whole)

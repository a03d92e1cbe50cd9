"""lightly's transforms as view policies: its own views for the same seeds, with any workers; mistakes in a sentence."""

import json
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from ssl_zoo import registry
from ssl_zoo.data.loader import Loader
from ssl_zoo.data.source import Split
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.image.views.lightly import REFUSED, TRANSFORMS, LightlyViews
from ssl_zoo.recipe.model import Recipe, parse
from ssl_zoo.rng import generator
from ssl_zoo.training.train import train
from tests.modalities.image.sort import LIGHTLY
from tests.tiny import small


class Images(Split):
    """Images of several sizes, as a folder holds."""

    def __len__(self) -> int:
        return 12

    def read(self, i: int) -> Tensor:
        side = 14 + i % 3
        return torch.randint(0, 256, (3, side, side), dtype=torch.uint8, generator=generator(i, "images"))


def policy_of(name: str, **options: Any) -> Any:
    return registry.build("views", f"lightly/{name}", options or LIGHTLY[f"lightly/{name}"])


@pytest.mark.parametrize("name", ["SimSiamTransform", "DINOTransform"])
def test_views_are_lightlys_for_the_same_seeds(name: str) -> None:
    import lightly.transforms

    theirs = getattr(lightly.transforms, name)(**LIGHTLY[f"lightly/{name}"])
    policy, sample = policy_of(name), Images().read(0)
    before = torch.rand(()), random.random(), np.random.rand()
    torch.manual_seed(5), random.seed(5), np.random.seed(5)
    expected = theirs(Image.fromarray(sample.permute(1, 2, 0).numpy()))
    torch.manual_seed(6), random.seed(6), np.random.seed(6)
    views = policy(policy.collate([sample], {"seed": torch.tensor([5])}))
    after = torch.rand(()), random.random(), np.random.rand()
    torch.manual_seed(6), random.seed(6), np.random.seed(6)
    assert after == (torch.rand(()), random.random(), np.random.rand()) != before
    assert len(views) == len(expected) and all(
        torch.equal(v.tensor[0], x) for v, x in zip(views, expected, strict=True)
    )


def test_the_stream_is_the_same_with_workers_from_any_step_and_in_any_part() -> None:
    def stream(start: int = 0, **options: Any) -> list[list[Tensor]]:
        loader = Loader(Images(), policy_of("SimSiamTransform"), batch_size=4, seed=3, **options)
        return [
            [x for raw in step for _, x in sorted(raw.payload.items())] for step in loader.iterate(start, start + 2)
        ]

    expected = stream()
    assert not torch.equal(expected[0][0], expected[1][0])
    others = [stream(num_workers=2), [stream(1)[0]], [[torch.cat(x) for x in zip(*parts, strict=True)] for parts in
              zip(*(stream(rank=rank, num_ranks=2) for rank in range(2)), strict=True)]]  # fmt: skip
    for other, wanted in zip(others, (expected, expected[1:], expected), strict=True):
        for a, b in zip(other, wanted, strict=True):
            assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_statistics_are_those_of_the_output(name: str) -> None:
    """Black stays black whatever the augmentation, so that its views are - mean / std."""
    policy = policy_of(name)
    black = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    expected = (-policy.mean / policy.std).expand(1, 3, 1, 1)
    for view in policy(policy.collate(black, policy.draw(generator(0, "views"), 1))):
        torch.testing.assert_close(view.tensor, expected.expand_as(view.tensor))
    torch.testing.assert_close(policy.plain(black).tensor[..., :1, :1], expected)
    assert policy.spec.mean == pytest.approx((0.485, 0.456, 0.406))


def test_views_that_are_not_normalised_are_known() -> None:
    options = {"input_size": 12, "normalize": None}
    policy = policy_of("BYOLTransform", view_1_transform=options, view_2_transform=options)
    assert policy.spec.mean == (0.0, 0.0, 0.0) and policy.spec.std == (1.0, 1.0, 1.0)


def test_a_normalisation_that_is_not_found_is_refused() -> None:
    with pytest.raises(UserError, match="how it normalises is not understood; use views: augment"):
        LightlyViews("Own", lambda image: [torch.ones(3, 12, 12), torch.ones(3, 12, 12)])


def test_every_transform_is_listed_or_refused() -> None:
    import lightly.transforms

    names = {name for name in vars(lightly.transforms) if name.endswith("Transform")}
    whole = {name for name in names if "ViewTransform" not in name and "View1" not in name and "View2" not in name}
    assert len(TRANSFORMS) >= 20 and not set(TRANSFORMS) & set(REFUSED)
    assert whole == {*TRANSFORMS, *REFUSED}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("SimSiam", {}, "unknown views 'lightly/SimSiam'; did you mean 'SimSiamTransform'\\? `ssl-zoo list views"),
        ("PIRLTransform", {}, "cannot be used here: its second view is a stack of pieces of the image"),
        (
            "SimSiamTransform",
            {"size": 32},
            "^views 'lightly/SimSiamTransform': size: unknown key of views",
        ),
        ("BYOLTransform", {"view_1_transform": {"size": 32}}, "view_1_transform.size: unknown key"),
        ("SimSiamTransform", {"input_size": [12, 14]}, "input_size"),
        ("SimSiamTransform", {"input_size": -3}, "lightly/SimSiamTransform': fails on an image of shape .3, 64, 64.:"),
    ],
)
def test_mistakes_are_one_sentence(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        registry.build("views", f"lightly/{name}", options)


def test_other_samples_are_refused() -> None:
    policy = policy_of("SimSiamTransform")
    with pytest.raises(UserError, match="take images of 8 bits, not float32; use views: augment"):
        policy.plain(torch.zeros(1, 3, 16, 16))
    with pytest.raises(UserError, match="images of 3 channels"):
        policy.plain(torch.zeros(1, 1, 16, 16, dtype=torch.uint8))


def test_no_warning_of_theirs_is_left() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        policy_of("FDATransform")


def recipe() -> Recipe:
    """A recipe whose views, head and losses are all lightly's, one of them with random numbers."""
    raw = small("vicreg").dump()
    raw |= {
        "views": {"name": "lightly/SimSiamTransform", "input_size": 12},
        "projector": {"name": "lightly/VICRegProjectionHead", "hidden_dim": 8, "output_dim": 6},
        "objective": ["lightly/VICRegLoss", {"name": "lightly/SIGReg", "num_vectors": 4, "weight": 0.1}],
        "data": {"source": {"name": "digits", "placements": 1}, "num_workers": 0},
        "evaluation": {"protocols": [], "baselines": False},
    }
    raw["training"] |= {"batch_size": 16, "max_steps": 3, "log_every": 1}
    return parse(raw, "lightly")


def test_a_resumed_run_of_lightlys_parts_is_the_whole_run(tmp_path: Path) -> None:
    train(recipe(), out=tmp_path / "whole", log=lambda line: None)
    train(recipe(), out=tmp_path / "halves", log=lambda line: None, stop_at=2)
    train(recipe(), out=tmp_path / "halves", log=lambda line: None, resume=True)
    whole, halves = (load_file(tmp_path / name / "encoder.safetensors") for name in ("whole", "halves"))
    assert whole.keys() == halves.keys() and all(torch.equal(whole[name], halves[name]) for name in whole)
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert set(rows[-1]["terms"]) == {"lightly/VICRegLoss", "lightly/SIGReg"}

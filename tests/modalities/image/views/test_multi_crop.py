"""Multi-crop: roles, sizes, areas, what it shares with `augment`, and that it is a function of its generator."""

import pytest
import torch
from torch import Tensor

from ssl_zoo import registry
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.image.views.augment import Augment
from ssl_zoo.modalities.image.views.multi_crop import MultiCrop
from ssl_zoo.targets.stop_gradient import StopGradient

PLAIN = {"flip": 0.0, "jitter": 0.0, "grey": 0.0, "blur": 0.0}


def policy(**options: object) -> MultiCrop:
    return MultiCrop(**{"num_local": 3, "size": 16, "local_size": 8, **options})


def images(num: int = 4, side: int = 20) -> Tensor:
    return torch.randint(0, 256, (num, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def views_of(made: MultiCrop, samples: Tensor | list[Tensor], seed: int = 0) -> list:
    return made(made.collate(samples, made.draw(torch.Generator().manual_seed(seed), len(samples))))


def test_global_views_come_first_and_local_ones_are_no_target() -> None:
    views = views_of(policy(), images())
    assert [v.role for v in views] == ["global"] * 2 + ["local"] * 3
    assert [tuple(v.data.shape) for v in views] == [(4, 3, 16, 16)] * 2 + [(4, 3, 8, 8)] * 3
    targets = StopGradient()(views, [v.data.mean(dim=(2, 3)) for v in views])
    assert [t is None for t in targets] == [False] * 2 + [True] * 3


def test_areas_are_those_asked_for() -> None:
    views = views_of(policy(scale=(0.5, 1.0), local_scale=(0.05, 0.2)), images(64, 100))
    for view in views:
        area = view.aux["box"][:, 1].prod(dim=1)
        low, high = (0.5, 1.0) if view.role == "global" else (0.05, 0.2)
        assert (area > low - 0.02).all() and (area < high + 0.02).all() and area.std() > 0


def test_global_views_are_those_of_augment() -> None:
    made, augment = policy(), Augment(size=16, scale=(0.14, 1.0))
    samples = images()
    params = augment.draw(torch.Generator().manual_seed(0), 4)
    expected = augment(augment.collate(samples, params))
    for view, alike in zip(views_of(made, samples), expected, strict=False):
        assert torch.equal(view.data, alike.data) and torch.equal(view.aux["box"], alike.aux["box"])


def test_the_views_are_a_function_of_the_generator() -> None:
    first, again, other = (views_of(policy(), images(), seed) for seed in (0, 0, 1))
    assert all(torch.equal(a.data, b.data) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a.data, b.data) for a, b in zip(first, other, strict=True))


def test_draws_are_per_sample() -> None:
    """A sample's views are the same whatever else is in its batch: what workers and processes rely on."""
    made = policy()
    params = made.draw(torch.Generator().manual_seed(0), 4)
    assert all(len(value) == 4 for value in params.values())
    whole = made(made.collate(images(), params))
    part = made(made.collate(images()[2:], {name: value[2:] for name, value in params.items()}))
    for a, b in zip(whole, part, strict=True):
        torch.testing.assert_close(a.data[2:], b.data)


def test_images_of_several_sizes_are_cut_in_the_loader() -> None:
    samples = [images(1, side)[0] for side in (20, 30, 40)]
    views = views_of(policy(), samples)
    assert [tuple(v.data.shape) for v in views] == [(3, 3, 16, 16)] * 2 + [(3, 3, 8, 8)] * 3
    same = views_of(policy(**PLAIN), [images(1, 20)[0]] * 2)
    as_batch = views_of(policy(**PLAIN), images(1, 20).expand(2, -1, -1, -1))
    for a, b in zip(same, as_batch, strict=True):
        assert torch.equal(a.aux["box"], b.aux["box"])
        torch.testing.assert_close(a.data, b.data, rtol=0, atol=2 / 255 / 0.22)  # uint8 rounding, cut in the loader


def test_a_list_of_probabilities_ends_with_the_local_views() -> None:
    made = policy(solarise=[1.0, 0.0, 0.5])
    assert made.policies["global"].chance["solarise"] == [1.0, 0.0]
    assert made.policies["local"].chance["solarise"] == [0.5] * 3
    with pytest.raises(UserError, match="views.blur: 2 numbers for 2 global views and the local ones; give one, or 3"):
        policy(blur=[1.0, 0.1])


def test_plain_images_and_picture_have_the_global_size() -> None:
    made = policy()
    samples = images()
    assert made.plain(samples).tensor.shape == (4, 3, 16, 16)
    picture = made.picture(samples, views_of(made, samples), least=16, gap=2)
    assert picture.shape == (3, 4 * 20, 6 * 20) and picture.dtype == torch.uint8


def test_options_shared_with_augment_have_its_types_and_defaults() -> None:
    ours, augments = (registry.options(registry.find("views", name)[0]).model_fields for name in (
        "multi_crop", "augment"))  # fmt: skip
    shared = set(ours) & set(augments)
    assert set(augments) <= set(ours) and len(shared) >= 18
    for name in shared:
        assert ours[name].annotation == augments[name].annotation and ours[name].metadata == augments[name].metadata
        assert ours[name].default == augments[name].default or name == "scale"


def test_errors_are_augments() -> None:
    with pytest.raises(UserError, match="made for images of 3 channels"):
        made = policy()
        made.collate(images().double(), made.draw(torch.Generator(), 4))
    with pytest.raises(UserError, match="runs backwards"):
        policy(local_scale=(0.5, 0.1))

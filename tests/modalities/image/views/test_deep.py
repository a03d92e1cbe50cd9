"""Views of uint16 and float32 images: those of uint8 on the same picture, and torchvision's in float."""

import pytest
import torch
import torchvision.transforms.v2.functional as TF
from torch import Tensor

from ssl_zoo.errors import UserError
from ssl_zoo.modalities.image.views import geometry
from ssl_zoo.modalities.image.views.augment import Augment
from ssl_zoo.modalities.image.views.multi_crop import MultiCrop
from ssl_zoo.rng import generator

PLAIN = {"grey": 0.0, "saturation": 0.0, "hue": 0.0}
MEAN, STD = 0.45, 0.25


def images(num: int = 6, channels: int = 3, side: int = 32) -> Tensor:
    return torch.randint(0, 256, (num, channels, side, side), generator=generator(0, "deep"), dtype=torch.uint8)


def deep(x: Tensor, dtype: torch.dtype) -> Tensor:
    """The same picture in another type; exactly so, as 65535 = 257 * 255."""
    return (x.int() * 257).to(torch.uint16) if dtype == torch.uint16 else x.float() / 255


def policy(channels: int = 3, **options: object) -> Augment:
    colours = {} if channels == 3 else PLAIN
    return Augment(**{"channels": channels, "size": 24, "mean": [MEAN], "std": [STD], **colours, **options})


def views_of(made: Augment | MultiCrop, samples: Tensor | list[Tensor], seed: int = 0) -> list[Tensor]:
    params = made.draw(generator(seed, "views"), len(samples))
    return [view.tensor for view in made(made.collate(samples, params))]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size, side", [(24, 32), (80, 100)])
@pytest.mark.parametrize("channels", [2, 3, 13])
def test_views_of_uint16_are_those_of_uint8_on_the_same_picture(channels, size, side, interpolation):
    made = policy(channels, size=size, interpolation=interpolation)
    x = images(4, channels, side)
    for one, other in zip(views_of(made, x), views_of(made, deep(x, torch.uint16)), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)
    for one, other in zip(views_of(made, list(x)), views_of(made, list(deep(x, torch.uint16))), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2.5 / 255 / STD)  # cut in the loader, to whole levels


@pytest.mark.parametrize("colour", ["matrix", "exact"])
def test_solarised_and_exact_colours_of_uint16_are_those_of_uint8(colour):
    made = policy(colour=colour, solarise=1.0, threshold=0.4999, blur=0.0, jitter=0.0, scale=(1.0, 1.0), size=32)
    x = images()
    for one, other in zip(views_of(made, x), views_of(made, deep(x, torch.uint16)), strict=True):
        near = (one - (0.4999 - MEAN) / STD).abs() < 1e-3
        assert torch.allclose(one[~near], other[~near], atol=1e-4) and near.float().mean() < 0.01


@pytest.mark.parametrize("dtype", [torch.uint16, torch.float32])
@pytest.mark.parametrize("channels", [4, 13])
@pytest.mark.parametrize("size", [24, 72])
def test_views_are_torchvisions_in_float(dtype, channels, size):
    """Crop, flip, brightness, contrast about each channel's own mean, blur and normalisation, by float operations."""
    made = policy(channels, size=size, blur=0.5, sigma=(0.5, 1.5), jitter=1.0)
    x = images(4, channels, 90)
    x = deep(x, dtype) if dtype == torch.uint16 else 40 * deep(x, dtype) - 20  # a range of its own
    params = made.draw(generator(0, "views"), 4)
    views = made(made.collate(list(x), params))
    for v, view in enumerate(views):
        for i in range(4):
            d = {name: value[i, v] for name, value in params.items()}
            on = dict(zip(made.chance, (d["chance"] < torch.tensor([c[v] for c in made.chance.values()])), strict=True))
            box = geometry.crop_boxes(d["crop"][None], *[torch.tensor([90.0])] * 2, made.scale, made.ratio)[0]
            y = TF.resized_crop(x[i].float(), *box.int().tolist(), [size] * 2, antialias=True)
            y = y / 65535 if dtype == torch.uint16 else y
            y = TF.horizontal_flip(y) if on["flip"] else y
            if on["blur"]:
                taps = 2 * geometry.blur_radius(1.5, size) + 1
                y = TF.gaussian_blur(y, [taps] * 2, [0.5 + d["sigma"].item()] * 2)
            brightness, contrast = (0.6 + 0.8 * d["factors"][:2]).tolist()
            y = torch.lerp((brightness * y).mean(dim=(1, 2), keepdim=True), brightness * y, contrast)
            y = y.clamp(0, 1) if dtype == torch.uint16 else y
            expected = (y - MEAN) / STD
            atol = 2e-4 if dtype == torch.uint16 else 2e-4 * 40
            torch.testing.assert_close(view.tensor[i], expected, rtol=0, atol=atol)


def test_floats_are_kept_in_no_range():
    x = 1000 * deep(images(), torch.float32) + 200
    made = policy(
        jitter=0.0, grey=0.0, flip=0.0, blur=0.0, scale=(1.0, 1.0), ratio=(1.0, 1.0), size=32, mean=[0.0], std=[1.0]
    )
    for view in (*views_of(made, x), made.plain(x).tensor):
        torch.testing.assert_close(view, x, rtol=1e-5, atol=1e-2)
    for option, words in (({"solarise": 0.2}, "solarise"), ({"colour": "exact"}, "colour")):
        with pytest.raises(
            UserError, match=rf"views.{words}: needs values from 0 to 1, and images of floats have no range"
        ):
            views_of(policy(**option), x)
    with pytest.raises(UserError, match="views.solarise: needs values"):
        views_of(MultiCrop(size=24, local_size=16, solarise=[0.0, 0.1, 0.0]), list(x))


def test_images_of_two_types_in_one_batch_are_refused():
    x = images(2)
    mixed = [x[0], deep(x[1], torch.uint16)]
    with pytest.raises(
        UserError, match="images of torch.uint8 and of torch.uint16 in one batch; set data.decode.dtype"
    ):
        views_of(policy(), mixed)
    with pytest.raises(UserError, match="in one batch"):
        policy().plain(mixed)


@pytest.mark.parametrize("dtype", [torch.uint16, torch.float32])
@pytest.mark.parametrize("side", [16, 20, 40])
def test_plain_samples_are_the_same_in_every_type(dtype, side):
    made, x = policy(size=16), images(3, 3, side)
    rounding = 0 if side == 16 else 1.01 / 255 / STD
    torch.testing.assert_close(made.plain(x).tensor, made.plain(deep(x, dtype)).tensor, rtol=0, atol=1e-5 + rounding)
    one = made.plain(list(deep(x, dtype))).tensor
    torch.testing.assert_close(one, made.plain(deep(x, dtype)).tensor)
    picture = made.picture(deep(x, dtype), [])
    assert picture.dtype == torch.uint8 and picture.shape[0] == 3 and picture.float().std() > 20


@pytest.mark.parametrize("dtype", [torch.uint16, torch.float32])
def test_views_of_deep_images_are_a_function_of_their_draws(dtype):
    """Whatever else is in the batch: what workers, processes and resuming rely on."""
    made = policy(13, drop_channels=0.3)
    x = deep(images(6, 13), dtype)
    params = made.draw(generator(0, "views"), 6)
    whole = made(made.collate(x, params))
    for rows in ([0], [4, 1], [5, 3, 2]):
        part = made(made.collate(x[rows], {name: value[rows] for name, value in params.items()}))
        again = made(made.collate(x[rows], {name: value[rows] for name, value in params.items()}))
        for all_of_them, some, same in zip(whole, part, again, strict=True):
            torch.testing.assert_close(all_of_them.tensor[rows], some.tensor, rtol=1e-5, atol=1e-5)
            assert torch.equal(some.tensor, same.tensor)


@pytest.mark.parametrize("make", [policy, lambda channels, **options: MultiCrop(
    channels=channels, size=24, local_size=16, mean=[MEAN], std=[STD], **PLAIN, **options)])  # fmt: skip
def test_dropped_channels_are_their_mean_and_change_nothing_else(make):
    x = images(64, 5)
    plain, dropping, always = views_of(make(5), x), views_of(make(5, drop_channels=0.4), x), make(5, drop_channels=1.0)
    for view, kept in zip(dropping, plain, strict=True):
        gone = (view == 0).all(dim=(2, 3))
        assert torch.equal(view[~gone], kept[~gone]) and not gone.all(dim=1).any()
        assert abs(float(gone.float().mean()) - 0.4) < 0.1
    for view in views_of(always, x):
        assert ((view != 0).any(dim=(2, 3)).sum(dim=1) == 1).all()


def test_a_policy_that_drops_nothing_draws_as_ever():
    first, other = (
        policy().draw(generator(0, "views"), 3),
        policy(drop_channels=[0.0, 0.5]).draw(generator(0, "views"), 3),
    )
    assert set(other) - set(first) == {"dropped"} and other["dropped"].shape == (3, 2, 3)
    assert all(torch.equal(value, other[name]) for name, value in first.items())


@pytest.mark.parametrize("make", [Augment, MultiCrop])
@pytest.mark.parametrize("channels", [2, 13])
def test_colours_that_need_rgb_are_refused_and_what_takes_their_place_is_named(make, channels):
    with pytest.raises(UserError, match="views.grey=0, views.saturation=0 and views.hue=0"):
        make(channels=channels, mean=[0.5], std=[0.5])
    with pytest.raises(UserError, match="views.jitter=0, or views.colour=matrix"):
        make(channels=channels, mean=[0.5], std=[0.5], colour="exact", **PLAIN)
    with pytest.raises(
        UserError, match=f"3 numbers for {channels} channels; .* as `ssl-zoo data stats SRC` prints them"
    ):
        make(channels=channels, **PLAIN)

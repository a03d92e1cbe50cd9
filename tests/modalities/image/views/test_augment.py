"""The view policy `augment`: equal to torchvision's ops for the parameters drawn, and random where it should be."""

import pytest
import torch
import torchvision.transforms.v2.functional as TF
from torch import Tensor
from torchvision.transforms import RandomResizedCrop

from ssl_zoo.errors import UserError
from ssl_zoo.modalities.image.views import geometry
from ssl_zoo.modalities.image.views.augment import Augment
from ssl_zoo.rng import generator
from tests.killing import in_child
from tests.modalities.image import not_imported

EXACT = {"colour": "exact", "size": 24, "sigma": (0.5, 1.5)}


def images(num: int = 12, channels: int = 3, height: int = 32, width: int = 32) -> Tensor:
    return torch.randint(0, 256, (num, channels, height, width), generator=generator(0, "test"), dtype=torch.uint8)


def views_of(policy: Augment, samples: Tensor | list[Tensor], seed: int = 0) -> list[Tensor]:
    params = policy.draw(generator(seed, "views"), len(samples))
    return [view.data for view in policy(policy.collate(samples, params))]


def by_torchvision(policy: Augment, image: Tensor, draws: dict[str, Tensor], view: int) -> Tensor:
    """Make one view of one image with torchvision's ops, reading the policy's options and draws."""
    d = {name: value[view] for name, value in draws.items()}
    chance = dict(zip(policy.chance, d["chance"].tolist(), strict=True))
    on = {name: chance[name] < policy.chance[name][view] for name in policy.chance}
    size = torch.tensor([float(image.shape[1])]), torch.tensor([float(image.shape[2])])
    box = geometry.crop_boxes(d["crop"][None], *size, policy.scale, policy.ratio)[0].int().tolist()
    x = TF.resized_crop(image.float() / 255, *box, [policy.size] * 2, antialias=True)
    x = TF.horizontal_flip(x) if on["flip"] else x
    if on["jitter"]:
        b, c, s, h = policy.strengths
        u = d["factors"].tolist()
        factors = [1 - b + 2 * b * u[0], 1 - c + 2 * c * u[1], 1 - s + 2 * s * u[2], -h + 2 * h * u[3]]
        ops = [TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue]
        for number in d["order"].tolist():
            x = ops[number](x, factors[number])
    x = TF.rgb_to_grayscale(x, 3) if on["grey"] else x
    if on["blur"]:
        low, high = policy.sigma
        taps = 2 * geometry.blur_radius(high, policy.size) + 1
        x = TF.gaussian_blur(x, [taps, taps], [low + (high - low) * d["sigma"].item()] * 2)
    x = TF.solarize(x, policy.threshold) if on["solarise"] else x
    return TF.normalize(x, policy.mean.flatten().tolist(), policy.std.flatten().tolist())


def test_each_view_of_each_sample_is_torchvisions_for_the_same_parameters() -> None:
    policy = Augment(**EXACT, blur=[1.0, 0.3], solarise=[0.0, 0.5], grey=0.3)
    x = images()
    params = policy.draw(generator(0, "views"), len(x))
    made = policy(policy.collate(x, params))
    compared = 0
    for view in range(2):
        for i in range(len(x)):
            expected = by_torchvision(policy, x[i], {name: value[i] for name, value in params.items()}, view)
            difference = (made[view].data[i] - expected).abs() * policy.std
            if float(difference.max()) > 1 / 255:  # a pixel beside solarise's threshold
                assert float((difference > 1 / 255).float().mean()) < 0.002
            else:
                compared += 1
    assert compared >= 20


def test_images_of_several_sizes_make_the_same_views_as_alone() -> None:
    policy = Augment(**EXACT, blur=0.0)
    x = images(4)
    params = policy.draw(generator(0, "views"), 4)
    batch = policy(policy.collate(x, params))
    mixed = policy(policy.collate([*x], params))  # a list is cut by torchvision in the loader, and rounded to uint8
    for one, other in zip(batch, mixed, strict=True):
        assert one.data.shape == other.data.shape == (4, 3, 24, 24)
        assert float(((one.data - other.data).abs() * policy.std).mean()) < 2 / 255
        torch.testing.assert_close(one.aux["box"], other.aux["box"])


def test_views_differ_between_views_samples_and_seeds_and_repeat_by_seed() -> None:  # T34, T35
    policy = Augment(size=24)
    same = images(1).expand(6, -1, -1, -1)
    one, two = views_of(policy, same)
    assert not torch.equal(one, two)
    assert all(not torch.equal(one[i], one[j]) for i in range(6) for j in range(i))
    assert all(torch.equal(a, b) for a, b in zip(views_of(policy, same), (one, two), strict=True))
    assert not torch.equal(views_of(policy, same, seed=1)[0], one)


def test_turning_one_option_leaves_the_other_draws_as_they_are() -> None:
    x = images()
    plain = views_of(Augment(size=24, grey=0.0, solarise=0.0, blur=0.0), x)
    other = views_of(Augment(size=24, grey=0.0, solarise=1.0, blur=0.0), x)
    assert not torch.equal(plain[0], other[0])
    narrow = Augment(size=24, grey=0.0, blur=0.0, solarise=[0.0, 1.0])
    assert torch.equal(views_of(narrow, x)[0], plain[0]) and torch.equal(views_of(narrow, x)[1], other[1])


def test_crops_have_the_distribution_of_torchvisions_parameters() -> None:
    num = 4000
    drawn = geometry.draw_crops(generator(0, "crops"), num)
    side = torch.full((num,), 32.0)
    ours = geometry.crop_boxes(drawn, side, side, (0.2, 1.0), (3 / 4, 4 / 3))
    torch.manual_seed(0)
    image = torch.zeros(3, 32, 32)
    theirs = torch.tensor([RandomResizedCrop.get_params(image, [0.2, 1.0], [3 / 4, 4 / 3]) for _ in range(num)]).float()
    # 4000 draws: the standard error of a mean is below 0.13 pixels, that of a standard deviation below 0.1.
    assert float((ours.mean(0) - theirs.mean(0)).abs().max()) < 0.5
    assert float((ours.std(0) - theirs.std(0)).abs().max()) < 0.4
    assert bool((ours[:, :2] + ours[:, 2:] <= 32).all()) and bool((ours >= 0).all())


def test_views_of_other_channels_than_the_policys_are_refused() -> None:
    with pytest.raises(UserError, match="made for images of 3 channels"):
        views_of(Augment(size=8), images(2, channels=1))
    with pytest.raises(UserError, match="made for images"):
        views_of(Augment(size=8), images(2).double())
    with pytest.raises(UserError, match="no hue or saturation"):
        Augment(channels=4, size=8, mean=[0.5], std=[0.5])


@pytest.mark.parametrize("channels", [1, 2, 4, 13])
def test_any_number_of_channels_has_views(channels: int) -> None:  # T36
    policy = Augment(channels=channels, size=8, grey=0.0, saturation=0.0, hue=0.0, mean=[0.5], std=[0.5])
    for view in views_of(policy, images(3, channels=channels)):
        assert view.shape == (3, channels, 8, 8) and view.isfinite().all()


def test_options_of_another_length_and_backward_ranges_are_refused() -> None:
    with pytest.raises(UserError, match=r"views.blur: 3 numbers for 2 views"):
        Augment(blur=[0.1, 0.2, 0.3])
    with pytest.raises(UserError, match=r"views.mean: 2 numbers for 3 channels"):
        Augment(mean=[0.1, 0.2])
    with pytest.raises(UserError, match=r"views.scale: .* runs backwards"):
        Augment(scale=(1.0, 0.2))


def test_plain_is_resize_centre_crop_and_normalise() -> None:
    policy = Augment(size=16)
    image = images(1, height=40, width=24)[0]
    expected = TF.center_crop(TF.resize(image, [16], antialias=True), [16, 16]).float() / 255
    expected = TF.normalize(expected, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    torch.testing.assert_close(policy.plain([image]).tensor[0], expected)


def test_the_picture_has_a_row_a_sample_and_a_column_a_view() -> None:
    policy = Augment(size=24)
    x = images(5)
    made = policy(policy.collate(x, policy.draw(generator(0, "views"), 5)))
    picture = policy.picture(x, made)
    tile = 24 * 3 + 4
    assert picture.shape == (3, 5 * tile, 3 * tile) and picture.dtype == torch.uint8
    assert torch.equal(picture[:, 2 : tile - 2 : 3, 2 : tile - 2 : 3], TF.resize(x[0], [24], antialias=True))


def test_torchvision_is_imported_when_it_is_needed_only() -> None:
    in_child(not_imported.use_augment)


def test_a_policy_stays_on_its_device() -> None:
    """Whatever the device of the samples: what depends on it is made there, and nothing of the policy moves."""
    policy = Augment(size=16)
    meta = torch.zeros(2, 3, 16, 16, dtype=torch.uint8, device="meta")
    assert policy.plain(meta).tensor.device.type == "meta"
    assert policy.mean.device.type == "cpu" and not list(policy.buffers())
    assert policy.plain(meta.new_zeros(meta.shape, device="cpu")).tensor.device.type == "cpu"

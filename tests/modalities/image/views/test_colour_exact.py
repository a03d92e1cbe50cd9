"""`colour: exact`: torchvision's functions with each sample's own parameters, and only where they are wanted."""

import dataclasses

import pytest
import torch
import torchvision.transforms.v2.functional as TF
from torch import Tensor

from ssl_zoo.errors import UserError
from ssl_zoo.modalities.image.views.augment import Augment
from ssl_zoo.modalities.image.views.colour_at_once import render_at_once
from ssl_zoo.modalities.image.views.params import RenderSettings, SampleParams
from ssl_zoo.modalities.image.views.render import render

ADJUST = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)
NUM = 24


def levels(num: int = NUM, channels: int = 3, size: int = 9) -> Tensor:
    g = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (1, num, channels, size, size), dtype=torch.uint8, generator=g)


def rendered(source: Tensor, used: tuple[bool, ...] = (True,) * 4, threshold: float = 0.5, **given: Tensor) -> Tensor:
    """Views of crops that are cut already, with nothing done but what is given; neither shifted nor scaled."""
    num = source.shape[1]
    params = SampleParams(
        None, *[None] * 5, factors=torch.zeros(1, num, 4), order=torch.arange(4).expand(1, num, 4),
        sigma=torch.ones(1, num),
    )  # fmt: skip
    plain = torch.zeros(1, 1, 1, 1)
    settings = RenderSettings(source.shape[-1], "bilinear", "exact", used, 3, threshold, plain, plain + 1)
    return render(source, dataclasses.replace(params, **given), settings)[0]


def drawn() -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(1)
    low, high = torch.tensor([0.2, 0.2, 0.2, -0.5]), torch.tensor([1.8, 1.8, 1.8, 0.5])
    factors = torch.lerp(low, high, torch.rand(1, NUM, 4, generator=g))
    return {"factors": factors, "order": torch.rand(1, NUM, 4, generator=g).argsort(dim=-1)}


CHOSEN = (torch.arange(NUM) % 3 != 0)[None]
NONE = torch.zeros(1, NUM, dtype=torch.bool)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("used", [(True,) * 4, (False, False, True, False), (True, False, False, True)])
def test_the_jitter_is_torchvisions_in_each_samples_order(channels: int, used: tuple[bool, ...]) -> None:
    source, draws = levels(channels=channels), drawn()
    expected = []
    for i, image in enumerate(source[0].float() / 255):
        for number in draws["order"][0, i].tolist() if CHOSEN[0, i] else []:
            image = ADJUST[number](image, float(draws["factors"][0, i, number])) if used[number] else image
        expected.append(image)
    result = rendered(source, used, jitter=CHOSEN, **draws)
    assert torch.equal(result, torch.stack(expected))
    if channels == 3 and all(used):  # the order matters, so the equality above says something
        other = rendered(source, used, jitter=CHOSEN, factors=draws["factors"], order=draws["order"].flip(-1))
        assert float((result - other).abs().max()) > 0.05


def test_flip_grey_blur_and_solarise_are_torchvisions_and_only_where_they_are_chosen() -> None:
    source = levels()
    images = source[0].float() / 255
    sigma = torch.linspace(0.5, 1.5, NUM)[None]
    changes = {
        "flip": [TF.horizontal_flip(image) for image in images],
        "grey": [TF.rgb_to_grayscale(image, 3) for image in images],
        "blur": [TF.gaussian_blur(image, [7, 7], [float(s)] * 2) for image, s in zip(images, sigma[0], strict=True)],
        "solarise": [TF.solarize(image, 0.5) for image in images],
    }
    for name, expected in changes.items():
        result = rendered(source, sigma=sigma, **{name: CHOSEN})
        wanted = CHOSEN[0].view(-1, 1, 1, 1)
        assert torch.equal(result, torch.where(wanted, torch.stack(expected), images)), name
        assert torch.equal(rendered(source, **{name: NONE}), images)


def test_one_channel_has_no_colour_to_lose() -> None:
    source = levels(channels=1)
    assert torch.equal(rendered(source, grey=~NONE), source[0].float() / 255)


def test_solarise_inverts_the_pixels_at_the_threshold_as_pil_does() -> None:
    source = torch.arange(256, dtype=torch.uint8).view(1, 1, 1, 16, 16)
    result = rendered(source, threshold=128 / 255, solarise=torch.tensor([[True]]))
    assert torch.equal((result * 255).round()[0], TF.solarize(source[0, 0], 128).float())


def test_what_torchvision_cannot_change_is_refused() -> None:
    plain = {"channels": 4, "size": 8, "grey": 0.0, "saturation": 0.0, "hue": 0.0, "mean": [0.5], "std": [0.5]}
    with pytest.raises(UserError, match="not of 4; set views.jitter=0, or views.colour=matrix"):
        Augment(**plain, colour="exact")
    policy = Augment(**plain, colour="exact", jitter=0.0)
    images = levels(channels=4)[0]
    views = policy(policy.collate(images, policy.draw(torch.Generator().manual_seed(0), NUM)))
    assert views[0].tensor.shape == (NUM, 4, 8, 8)


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("cut", [False, True], ids=["images", "crops"])
def test_all_samples_at_once_as_on_a_gpu_are_the_same(cut: bool, channels: int) -> None:
    colours = {"grey": 0.3} if channels == 3 else {"grey": 0.0, "saturation": 0.0, "hue": 0.0}
    policy = Augment(size=16, channels=channels, colour="exact", blur=0.4, solarise=0.3, **colours)
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (NUM, channels, 20, 24), dtype=torch.uint8, generator=g)
    x[:4] = x[:4, :, :1, :1]  # of one colour, and two greys
    x[:2] = x[:2, :1]
    payload = policy.collate(list(x) if cut else x, policy.draw(g, NUM))
    source = payload["cut" if cut else "image"]
    params, settings = policy.sample_params(payload), policy.settings(x.device)
    one_by_one, at_once = render(source, params, settings), render_at_once(source, params, settings)
    difference = (one_by_one - at_once).abs() * settings.std
    assert float(difference.quantile(0.998)) < 1e-4  # a pixel at the threshold of solarisation may be on either side

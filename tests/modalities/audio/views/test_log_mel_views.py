"""The view policy `log_mel`: a function of its draws, each step against its formula, with errors by name."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from ssl_zoo import registry
from ssl_zoo.batch import View
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.audio.log_mel import log_mel
from ssl_zoo.modalities.audio.made import write_examples
from ssl_zoo.modalities.audio.sound import Sound, wav_bytes
from ssl_zoo.modalities.audio.views.log_mel import LogMelViews
from ssl_zoo.rng import generator
from tests.modalities.audio.sort import SMALL, sounds

OFF = {"mixup": 0.0, "fader": 0.0, "boundary": [1.0, 1.0], "frequency_scale": [1.0, 1.0], "time_scale": [1.0, 1.0]}
"""Options that leave the excerpts as they are."""


def policy(**options: Any) -> LogMelViews:
    return registry.build("views", "log_mel", {**SMALL, **options})


def views_of(policy: LogMelViews, samples: list[Sound], seed: int = 0) -> list[View]:
    return policy(policy.collate(policy.cut(samples, drawn := draw(policy, len(samples), seed)), drawn))


def draw(policy: LogMelViews, num: int, seed: int = 0) -> dict[str, torch.Tensor]:
    return policy.draw(generator(seed, "views"), num)


@pytest.mark.parametrize("options", [{}, {"excerpts": "each", "padding": "repeat", "gain": 6.0, "num_views": 3}])
def test_views_are_a_function_of_the_draws(options: dict[str, Any]) -> None:
    """Neither the rest of a batch nor what was made before makes a difference, to the bit."""
    made, samples = policy(**options), sounds(6)
    drawn = draw(made, 6)
    whole = made(made.collate(samples, drawn))
    others = policy(**options)
    for rows in (slice(0, 2), slice(2, 3), slice(3, 6)):
        part = others(others.collate(samples[rows], {name: value[rows] for name, value in drawn.items()}))
        for one, other in zip(part, whole, strict=True):
            assert torch.equal(one.tensor, other.tensor[rows]) and torch.equal(one.aux["box"], other.aux["box"][rows])
    assert not torch.equal(whole[0].tensor, whole[1].tensor)


def test_draws_do_not_depend_on_options() -> None:
    one, other = draw(policy(), 5), draw(policy(**OFF, gain=3.0, excerpts="each", background="nowhere"), 5)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_without_augmentation_a_view_is_the_excerpt() -> None:
    made = policy(**OFF, excerpts="each")
    sound = sounds(4)[3]  # 4100 samples, of 16 bits
    drawn = draw(made, 1)
    for v, view in enumerate(made(made.collate([sound], drawn))):
        start = int(drawn["excerpt"][0, v] * (4100 - 2400 + 1))
        expected = (log_mel(sound.part(start, start + 2400), made.mel) - made.mean) / made.std
        assert torch.equal(view.tensor[0, 0], expected)
        box = torch.tensor([[0.0, start / 4100], [1.0, 2400 / 4100], [0.0, 0.0]])
        torch.testing.assert_close(view.aux["box"][0], box)
    one, same = views_of(policy(**OFF), [sound])
    assert torch.equal(one.tensor, same.tensor)


def test_the_background_is_mixed_in_by_its_share() -> None:
    made, plain = policy(**{**OFF, "mixup": 0.4}), policy(**OFF)
    samples = sounds(8)
    drawn = draw(made, 8)
    bank = made._bank(torch.device("cpu"))
    assert len(bank) == 4 and bank.mean().abs() < 1e-5
    for v in range(2):
        x = plain(plain.collate(samples, drawn))[v].tensor[:, 0]
        which, share = (drawn["background"][:, v, 0] * 4).long(), 0.4 * drawn["background"][:, v, 1, None, None]
        expected = torch.log((1 - share) * x.exp() + share * bank[which].exp())
        torch.testing.assert_close(made(made.collate(samples, drawn))[v].tensor[:, 0], expected, rtol=1e-4, atol=1e-4)


def test_gain_and_fader() -> None:
    samples = [Sound(0.1 * torch.randn(2400, generator=generator(i, "x")), 8000) for i in range(6)]
    drawn = draw(policy(), 6)
    still = policy(**OFF)
    base = [view.tensor[:, 0] for view in still(still.collate(samples, drawn))]
    louder, fading = policy(**{**OFF, "gain": 6.0}), policy(**{**OFF, "fader": 1.5})
    for v, view in enumerate(louder(louder.collate(samples, drawn))):
        decibels = 6 * (2 * drawn["gain"][:, v] - 1)
        scaled = [Sound(s.wave * 10 ** (d / 20), 8000) for s, d in zip(samples, decibels.tolist(), strict=True)]
        again = still(still.collate(scaled, drawn))[v].tensor
        torch.testing.assert_close(view.tensor, again, rtol=0, atol=1e-4)
    for v, view in enumerate(fading(fading.collate(samples, drawn))):
        line = view.tensor[:, 0] - base[v]
        head, tail = (1.5 * (2 * drawn["fader"][:, v] - 1)).unbind(dim=1)
        at = torch.linspace(0, 1, 31)
        expected = head[:, None] + (tail - head)[:, None] * at
        torch.testing.assert_close(line, expected[:, None].expand_as(line), rtol=0, atol=1e-5)


def test_a_box_is_what_a_view_shows() -> None:
    """Of a recording whose two halves differ, the box tells how much of each a view shows."""
    t = torch.arange(8000) / 8000
    sound = Sound(torch.where(t < 0.5, torch.sin(2 * math.pi * 500 * t), torch.sin(2 * math.pi * 2500 * t)), 8000)
    made = policy(**{**OFF, "time_scale": [0.3, 1.0], "boundary": [1.0, 1.2]}, num_views=1, seconds=0.8)
    num = 0
    for seed in range(20):
        (view,) = views_of(made, [sound], seed)
        start, extent, _ = view.aux["box"][0, :, 1].tolist()
        if view.tensor[0, 0].std(dim=0).min() == 0:
            continue  # it reaches beyond the excerpt, which is 0 there
        band = view.tensor[0, 0].argmax(dim=0)
        share = (band < 12).float().mean().item()
        assert abs(share - min(1.0, max(0.0, (0.5 - start) / extent))) < 0.08
        num += 1
    assert num > 5


def test_plain_is_the_middle_and_looks_are_spread() -> None:
    made = policy(num_looks=3)
    long, short = sounds(6)[5], Sound(torch.ones(400), 8000)
    assert torch.equal(made.plain([long]).tensor, made.looks([long])[1].tensor)
    for look, start in zip(made.looks([long]), (0, 1550, 3100), strict=True):
        expected = (log_mel(long.part(start, start + 2400), made.mel) - made.mean) / made.std
        assert torch.equal(look.tensor[0, 0], expected) and look.tensor.shape == (1, 1, 24, 31)
    padded = torch.cat([torch.zeros(1000), torch.ones(400), torch.zeros(1000)])
    assert torch.equal(made.plain([short]).tensor[0, 0], (log_mel(padded, made.mel) - made.mean) / made.std)
    (only,) = policy().looks([long, short])
    assert torch.equal(only.tensor, policy().plain([long, short]).tensor)


def test_normalised_by_the_sample() -> None:
    made = policy(normalise="sample", gain=6.0)
    silence = [Sound(torch.zeros(3000), 8000)]
    for view in (*views_of(made, sounds(5)), made.plain(sounds(5))):
        torch.testing.assert_close(view.tensor.mean(dim=(1, 2, 3)), torch.zeros(5), rtol=0, atol=1e-5)
        torch.testing.assert_close(view.tensor.std(dim=(1, 2, 3), correction=0), torch.ones(5))
    assert made.plain(silence).tensor.abs().max() < 1e-3


def test_backgrounds_may_be_recordings(tmp_path: Path) -> None:
    write_examples(tmp_path / "made", 12, seconds=0.4)
    for background in (str(tmp_path / "made"), {"name": "folder", "path": str(tmp_path / "made"), "labels": "none"}):
        made = policy(background=background, bank=64)
        bank = made._bank(torch.device("cpu"))
        assert bank.shape == (9, 24, 31)  # all of train
        assert torch.equal(bank, policy(background=background, bank=64)._bank(torch.device("cpu")))
    with pytest.raises(UserError, match=r"views\.background: \S*nowhere is no folder"):
        views_of(policy(background=str(tmp_path / "nowhere")), sounds(2))
    with pytest.raises(UserError, match=r"views\.background: is a path, or a source"):
        views_of(policy(background={"path": "x"}), sounds(2))
    (tmp_path / "fast").mkdir()
    (tmp_path / "fast" / "a.wav").write_bytes(wav_bytes(Sound(torch.ones(5000), 16_000), 1))
    with pytest.raises(UserError, match=r"views\.sample_rate: is 8000 Hz, and a recording has 16000 Hz"):
        views_of(policy(background=str(tmp_path / "fast")), sounds(2))


@pytest.mark.parametrize(
    "options, words",
    [
        ({"seconds": 0.01}, r"views\.seconds: 0\.01 s are 80 samples, and views\.n_fft=256 needs more than 128"),
        ({"time_scale": [1.5, 0.6]}, r"views\.time_scale: \[1\.5, 0\.6\] runs backwards"),
        ({"f_max": 5000.0}, r"60 to 5000 Hz; give a range within 0 and 4000"),
        ({"num_mels": 200}, r"views\.num_mels: \d+ of 200 bands hold no frequency"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        policy(**options)


def test_another_rate_is_one_sentence() -> None:
    made, wrong = policy(), sounds(2, rate=16_000)
    words = r"set views\.sample_rate=16000 .*or data\.decode\.sample_rate=8000 to resample"
    for call in (lambda: views_of(made, wrong), lambda: made.plain(wrong), lambda: made.looks(wrong)):
        with pytest.raises(UserError, match=words):
            call()


def test_a_picture_has_low_frequencies_at_the_bottom() -> None:
    made = policy(**OFF)
    low = Sound(torch.sin(2 * math.pi * 200 * torch.arange(2400) / 8000), 8000)
    picture = made.picture([low, low], views_of(made, [low, low]))
    assert picture.shape == (3, 2 * (72 + 4), 3 * (93 + 4))  # 24 x 31, enlarged three times
    brightness = picture[:, 2:74, 2:95].float().mean(dim=(0, 2))
    assert brightness[-16:].mean() > brightness[:16].mean() + 20

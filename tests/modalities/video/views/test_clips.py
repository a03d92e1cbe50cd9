"""Views of clips: alike in all frames, equal from files and from memory, and made of no more frames than they show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.loader import Loader
from ssl_zoo.data.memory import load
from ssl_zoo.data.source import Split
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.image.views.geometry import blur_radius, half_kernels
from ssl_zoo.modalities.video import readers
from ssl_zoo.modalities.video.footage import Clip
from ssl_zoo.rng import generator
from tests.modalities.video.conftest import clip, modality, policy
from tests.modalities.video.sort import clips as random_clips

OFF = {"flip": 0.0, "jitter": 0.0, "grey": 0.0, "blur": 0.0, "scale": (1.0, 1.0), "ratio": (1.0, 1.0)}


def views_of(made: Any, samples: list[Any], seed: int = 0) -> list[Tensor]:
    params = made.draw(generator(seed, "views"), len(samples))
    return [view.tensor for view in made(made.collate(samples, params))]


def still(num: int = 12) -> Clip:
    """Return a video of which all frames are one picture of noise."""
    picture = torch.randint(0, 256, (1, 3, 16, 20), dtype=torch.uint8, generator=generator(0, "still"))
    return Clip(picture.expand(num, -1, -1, -1).contiguous(), torch.arange(num).double() / 8, num / 8)


def test_all_frames_of_a_clip_are_changed_alike() -> None:
    """Of a picture that stands still, all frames of a view are equal; the views of a video, and of others, are not."""
    made = policy(jitter=1.0, blur=1.0, grey=0.0)
    for x in views_of(made, [still(), still(), still()]):
        assert torch.equal(x, x[:, :, :1].expand_as(x))
        assert not torch.equal(x[0], x[1]) and not torch.equal(x[1], x[2])
    first, second = views_of(made, [still()])
    assert not torch.equal(first, second)


def test_colours_change_by_one_map_for_the_clip() -> None:
    """Equal pixels of different frames stay equal, although the frames' own means differ."""
    frames = torch.randint(0, 256, (4, 3, 12, 12), dtype=torch.uint8, generator=generator(1, "frames"))
    frames[:, :, 0] = torch.tensor([77, 140, 30]).view(3, 1)
    frames[2, :, 3:] = 250
    made = policy(**{**OFF, "jitter": 1.0})
    for x in views_of(made, [Clip(frames, torch.arange(4).double(), 4.0)]):
        row = x[0, :, :, 0]
        torch.testing.assert_close(row, row[:, :1, :1].expand_as(row), atol=1e-5, rtol=0)
        assert row.std() > 0 and x[0, :, 0, 3:].std() > 0


def test_flip_blur_and_normalisation_are_those_of_the_formulas() -> None:
    sample = random_clips(1, 3)[0]
    options: dict[str, Any] = {**OFF, "num_views": 1, "num_frames": 12, "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]}
    mean, std = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1, 1), torch.tensor([0.5, 0.6, 0.7]).view(3, 1, 1, 1)
    square = Clip(sample.frames[..., :16], sample.times, 1.5)
    x = square.frames.transpose(0, 1).float() / 255
    (plain,) = views_of(policy(size=16, **options), [square])
    torch.testing.assert_close(plain[0], (x - mean) / std)
    (flipped,) = views_of(policy(size=16, **{**options, "flip": 1.0}), [square])
    assert torch.equal(flipped[0], plain[0].flip(3))
    (blurred,) = views_of(policy(size=16, **{**options, "blur": 1.0, "sigma": (1.0, 1.0)}), [square])
    radius = blur_radius(1.0, 16)
    half = half_kernels(torch.tensor([1.0]), radius)[0]
    kernel = torch.cat([half.flip(0)[:-1], half])
    expected = torch.nn.functional.pad(x.transpose(0, 1), (radius,) * 4, mode="reflect").transpose(0, 1)
    expected = torch.nn.functional.conv3d(
        expected[:, None], torch.outer(kernel, kernel).view(1, 1, 1, *(2 * radius + 1,) * 2)
    )
    torch.testing.assert_close(blurred[0], (expected[:, 0] - mean) / std, atol=1e-5, rtol=1e-5)


def test_boxes_say_where_a_view_lies() -> None:
    """What a box cuts out of the video is the view."""
    sample = random_clips(1, 3)[0]
    made = policy(num_frames=4, stride=2, size=16, **{**OFF, "flip": 0.5, "scale": (0.6, 1.0)})
    params = made.draw(generator(3, "views"), 1)
    for view in made(made.collate([sample], params)):
        start, extent, mirrored = view.aux["box"][0]
        t, top, left = (round(float(a) * side) for a, side in zip(start, (12, 16, 20), strict=True))
        length, height, width = (round(float(a) * side) for a, side in zip(extent, (12, 16, 20), strict=True))
        part = sample.frames[t : t + length : 2, :, top : top + height, left : left + width].contiguous()
        part = torch.nn.functional.interpolate(part, (16, 16), mode="bilinear", antialias=True)
        part = part.flip(3) if mirrored[2] else part
        expected = (part.transpose(0, 1).float() / 255 - 0.45) / 0.225
        torch.testing.assert_close(view.tensor[0], expected, atol=1e-5, rtol=1e-5)
        assert mirrored[0] == mirrored[1] == 0


def test_views_are_a_function_of_the_draws() -> None:
    """Those of a sample do not depend on the others of its batch, and nothing else is random."""
    made, samples = policy(blur=0.7), random_clips(5, 3)
    params = made.draw(generator(0, "views"), 5)
    together = made(made.collate(samples, params))
    torch.manual_seed(1)
    for i in (3, 0):
        alone = made(made.collate(made.cut([samples[i]], one := {k: v[i : i + 1] for k, v in params.items()}), one))
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a.tensor[i : i + 1], b.tensor, atol=1e-5, rtol=0)
            assert torch.equal(a.aux["box"][i : i + 1], b.aux["box"])


class Files(Split):
    """Video files, decoded by a modality when they are read."""

    def __init__(self, contents: dict[str, bytes], made: Any) -> None:
        self.names, self._contents, self._modality = list(contents), list(contents.values()), made

    def __len__(self) -> int:
        return len(self._contents)

    def name(self, i: int) -> str:
        return self.names[i]

    def read(self, i: int) -> Any:
        return self._modality.decode(self._contents[i], self.names[i])


@pytest.fixture
def files(videos: Path) -> Files:
    """The videos, read with frames of a short side of 24 pixels."""
    return Files({path.name: path.read_bytes() for path in sorted(videos.iterdir())}, modality(short_side=24))


@pytest.mark.parametrize("rate", [None, 5.0])
def test_views_from_files_are_those_from_memory_bit_for_bit(files: Files, rate: float | None) -> None:
    kept = load(files, "memory", modality=files._modality)
    made = policy(rate=rate, size=20)
    batches = []
    for split in (files, kept):
        loader = Loader(split, made, batch_size=4, seed=0)
        batches.append([batch.payload for parts in loader.iterate(0, 3) for batch in parts])
    for a, b in zip(*batches, strict=True):
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
    samples = [[split.read(i) for i in range(4)] for split in (files, kept)]
    assert torch.equal(*(made.plain(each).tensor for each in samples))
    first, second = (made.looks(each) for each in samples)
    assert len(first) == 4 and all(torch.equal(a.tensor, b.tensor) for a, b in zip(first, second, strict=True))


class Counting:
    """A reader that counts the frames which it decodes."""

    def __init__(self, inner: readers.Reader, counts: list[int]) -> None:
        self._inner, self._counts = inner, counts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def at(self, index: Any) -> tuple[Tensor, Tensor]:
        self._counts.append(len(index))
        return self._inner.at(index)

    def shown(self, seconds: Any) -> Tensor:
        self._counts.append(len(seconds))
        return self._inner.shown(seconds)


@pytest.mark.parametrize("rate", [None, 5.0])
def test_only_the_frames_that_views_show_are_asked_for(
    files: Files, rate: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    original = readers.open_reader
    monkeypatch.setattr(readers, "open_reader", lambda *args: Counting(original(*args), counts))
    made = policy(rate=rate, num_views=3)
    params = made.draw(generator(0, "views"), 1)
    samples = [files.read(0)]
    assert counts == []  # reading decodes nothing
    made.collate(samples, params)
    assert counts == [3 * 4]  # one call for all views
    made.plain([files.read(0)])
    assert counts == [12, 4]


def test_a_clip_that_cannot_be_decoded_has_another_in_its_place(files: Files) -> None:
    """It shows when frames are asked for: after reading, while the others are cut."""

    class Broken(Clip):
        def at(self, index: Any) -> Tensor:
            raise BadSample("broken.mp4", "frame 3 cannot be decoded")

    good = random_clips(3, 3)
    samples = [good[0], Broken(good[0].frames, good[0].times, 1.5), good[1], good[2]]

    class Some(Split):
        def __len__(self) -> int:
            return 4

        def read(self, i: int) -> Any:
            return samples[i]

    made = policy()
    ((batch,),) = Loader(Some(), made, batch_size=4, seed=0, on_error="skip", bad_budget=0.5).iterate(0, 1)
    assert set(batch.bad) == {("broken.mp4", "frame 3 cannot be decoded")}
    order = torch.randperm(4, generator=generator(0, "order", 0))
    assert torch.equal(batch.index[order != 1], order[order != 1]) and 1 not in batch.index
    drawn = made.draw(generator(0, "views", 0), 4)
    alone = made.collate([samples[i] for i in batch.index.tolist()], drawn)
    assert all(torch.equal(batch.payload[key], alone[key]) for key in alone)  # the others' views are what they were
    with pytest.raises(UserError, match="broken.mp4"):
        next(iter(Loader(Some(), made, batch_size=4, seed=0).iterate(0, 1)))


def test_plain_is_the_middle_and_looks_are_spread() -> None:
    made = policy(size=8, num_frames=4, eval_clips=3, mean=[0.0], std=[1.0])
    video = clip(20)
    assert (made.plain([video]).tensor[0, 0, :, 0, 0] * 25.5).round().tolist() == [8, 9, 10, 11]
    looks = made.looks([video, video])
    shown = [(view.tensor[1, 0, :, 0, 0] * 25.5).round().tolist() for view in looks]
    assert shown == [[0, 1, 2, 3], [8, 9, 10, 11], [16, 17, 18, 19]]
    marked = Clip(torch.zeros(4, 3, 10, 30, dtype=torch.uint8), torch.arange(4).double(), 4.0)
    marked.frames[..., 10:20] = 255
    assert (made.plain([marked]).tensor == 1).all()  # the central square


def test_pictures_are_film_strips() -> None:
    made = policy(size=10, num_frames=6)
    samples = random_clips(2, 3)
    views = made(made.collate(samples, made.draw(generator(0, "views"), 2)))
    picture = made.picture(samples, views)
    assert picture.shape == (3, 2 * (50 + 4), 3 * (4 * 51 + 3)) and picture.dtype == torch.uint8
    grey = policy(size=10, channels=1, num_frames=2, saturation=0.0, hue=0.0, grey=0.0)
    samples = random_clips(1, 1)
    views = grey(grey.collate(samples, grey.draw(generator(0, "views"), 1)))
    assert grey.picture(samples, views).shape == (3, 54, 3 * 105)


def test_mistakes_are_one_sentence() -> None:
    for options, words in (
        ({"flip": [0.1, 0.2, 0.3]}, "views.flip: 3 numbers for 2 views"),
        ({"mean": [0.1, 0.2]}, "views.mean: 2 numbers for 3 channels"),
        ({"scale": (0.5, 0.2)}, "views.scale: .* runs backwards"),
        ({"rate": -1.0}, "rate"),
    ):
        with pytest.raises(UserError, match=words):
            policy(**options)
    params = policy().draw(generator(0, "views"), 1)
    with pytest.raises(UserError, match="made of videos, but got Tensor"):
        policy().collate([torch.zeros(3, 8, 8, dtype=torch.uint8)], params)
    with pytest.raises(UserError, match="made for videos of 3 channels, but a clip has 1; set views.channels"):
        policy().collate([clip(channels=1)], params)

"""When clips begin, what they show, and what happens to videos that are too short."""

from __future__ import annotations

import pytest
import torch

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.modalities.video.views.timing import Timing
from tests.modalities.video.conftest import clip


def timing(num_frames: int = 4, rate: float | None = None, stride: int = 1, **options) -> Timing:
    return Timing(num_frames, rate, stride, **{"within": None, "short": "repeat", **options})


def numbers(made: Timing, starts: list[float], num: int = 20) -> list[list[int]]:
    """Return which frames of a video of 2 seconds are shown."""
    return (made.read(clip(num), starts)[:, :, 0, 0, 0] / 10).int().tolist()


def test_frames_are_counted_or_timed() -> None:
    assert numbers(timing(), [0, 3, 16]) == [[0, 1, 2, 3], [3, 4, 5, 6], [16, 17, 18, 19]]
    assert numbers(timing(stride=3), [0, 10]) == [[0, 3, 6, 9], [10, 13, 16, 19]]
    assert numbers(timing(rate=5), [0, 0.55]) == [[0, 2, 4, 6], [5, 7, 9, 11]]  # of a file of 10 frames per second
    assert numbers(timing(rate=20), [0]) == [[0, 0, 1, 1]]
    assert numbers(timing(num_frames=20, rate=10), [0]) == [list(range(20))]  # no rounding skips one or shows one twice


@pytest.mark.parametrize("made", [timing(stride=3), timing(rate=5), timing(20), timing(20, rate=10)])
def test_clips_lie_in_the_video_from_the_first_frame_to_the_last(made: Timing) -> None:
    u = [0.0, 0.3, 0.999999, 1 - 2**-53]
    starts = made.at_random(clip(20), 0.5, u)
    shown = numbers(made, starts)
    assert shown[0][0] == 0 and shown[-1][-1] == (18 if made.rate == 5 else 19)  # each is shown for 0.2 s, two frames
    assert all(len(set(each)) == made.num_frames for each in shown)  # none is repeated to fill it up
    boxes = made.boxes(clip(20), starts)
    assert (boxes >= 0).all() and (boxes.sum(dim=1) <= 1 + 1e-6).all() and (boxes[:, 1] > 0).all()


@pytest.mark.parametrize("rate", [None, 10.0])
def test_the_distance_of_clips_is_bounded_and_its_place_is_not(rate: float | None) -> None:
    per_second = 10 if rate is None else 1
    u = torch.rand(300, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).tolist()
    for within in (0.0, 0.5, 99.0):
        made = timing(rate=rate, within=within)
        starts = torch.tensor([made.at_random(clip(20), each[0], each[1:]) for each in u])
        apart = (starts[:, 0] - starts[:, 1]).abs().max() / per_second
        assert apart <= within + 1e-9 and apart >= min(0.8 * within, 1.2)
        assert starts.min() < 0.1 * per_second and starts.max() > 1.35 * per_second


def test_starts_are_uniform() -> None:
    made = timing(17)
    u = [(i + 0.5) / 400 for i in range(400)]
    starts = made.at_random(clip(20), 0.0, u)
    assert [starts.count(each) for each in range(4)] == [100] * 4


def test_evenly_spaced_clips() -> None:
    assert timing().evenly(clip(20), 1) == [8] and timing().evenly(clip(20), 3) == [0, 8, 16]
    assert timing(rate=10).evenly(clip(20), 2) == [0, pytest.approx(1.6)]
    assert timing(40).evenly(clip(20), 3) == [0, 0, 0]


@pytest.mark.parametrize("rate", [None, 10.0])
def test_short_videos_by_each_rule(rate: float | None) -> None:
    assert numbers(timing(5, rate, short="repeat"), [0], num=3) == [[0, 1, 2, 2, 2]]
    assert numbers(timing(5, rate, short="loop"), [0], num=3) == [[0, 1, 2, 0, 1]]
    assert numbers(timing(5, rate, short="refuse"), [0], num=5) == [[0, 1, 2, 3, 4]]
    with pytest.raises(
        BadSample, match="a clip: (3 frames, fewer than the 5|0.3 seconds, shorter than the 0.5) .*repeat"
    ):
        timing(5, rate, short="refuse").read(clip(3), [0])
    assert timing(5, rate).boxes(clip(3), [0.0]).tolist() == [[0, 1]]


def test_a_video_of_one_frame() -> None:
    assert numbers(timing(), timing().at_random(clip(1), 0.7, [0.9]), num=1) == [[0] * 4]
    made = timing(rate=3)
    assert numbers(made, made.at_random(clip(1), 0.7, [0.9]), num=1) == [[0] * 4]

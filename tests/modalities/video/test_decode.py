"""Decoding is exact, whatever the reader, container and frame rate, and what is broken is named."""

from __future__ import annotations

import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.video import readers
from ssl_zoo.modalities.video.containers import missing_bytes
from ssl_zoo.modalities.video.decode import Decoding
from tests.modalities.video.conftest import READERS, clip, modality, opened, pattern, sequential, write

FILES = ["even.mp4", "even.mkv", "even.avi", "uneven.mkv"]
reader = pytest.mark.parametrize("reader", READERS)


@reader
@pytest.mark.parametrize("file", FILES)
def test_frames_are_those_of_sequential_decoding(videos: Path, file: str, reader: str) -> None:
    expected, times = sequential(videos / file)
    index = random.Random(0).choices(range(30), k=12)
    video = opened(videos / file, reader)
    assert video.num_frames == len(expected) == 30 and video.whole == (40, 48)
    assert torch.equal(video.at(index), expected[index])  # out of order, some twice
    assert torch.equal(opened(videos / file, reader).at([29]), expected[29:])
    found = opened(videos / file, reader).decoded()
    assert torch.equal(found.frames, expected)
    torch.testing.assert_close(found.times - found.times[0], torch.tensor(times).double() - times[0])


@reader
@pytest.mark.parametrize("file", FILES)
def test_the_frame_shown_at_a_time_is_the_last_one_that_began(videos: Path, file: str, reader: str) -> None:
    expected, times = sequential(videos / file)
    video = opened(videos / file, reader)
    drawn = random.Random(1)
    seconds = [drawn.uniform(0, video.duration - 0.01) for _ in range(10)]
    seconds = [each for each in seconds if min(abs(each + times[0] - t) for t in times) > 0.005]
    numbers = [max(i for i, t in enumerate(times) if t - times[0] <= each) for each in seconds]
    assert torch.equal(video.shown(seconds), expected[numbers])
    assert torch.equal(video.shown([-5.0, 99.0]), expected[[0, 29]])
    assert torch.equal(video.decoded().shown([*seconds, -5.0, 99.0]), expected[[*numbers, 0, 29]])
    starts = [t - times[0] for t in times]
    assert torch.equal(video.shown(starts), expected)  # also where Matroska rounded them to milliseconds


def test_varying_frame_rates_are_sampled_by_time(videos: Path) -> None:
    """Frames of 40 ms and of 230 ms: a constant number of frames per second shows the long ones several times."""
    video = opened(videos / "uneven.mkv")
    assert video.duration > 2.2
    found = video.shown([i / 20 for i in range(20)])
    _, times = sequential(videos / "uneven.mkv")
    numbers = [max(n for n, t in enumerate(times) if t <= i / 20 + 1e-3) for i in range(20)]
    assert torch.equal(found, video.at(numbers)) and len(set(numbers)) < 20


@reader
def test_what_is_in_memory_is_what_is_decoded_later(videos: Path, reader: str) -> None:
    """The resize is part of both, so that frames are equal bit for bit."""
    for channels in (3, 1):
        video = opened(videos / "even.mp4", reader, side=24, channels=channels)
        assert video.size == (24, 29)
        kept = video.decoded()
        assert kept.frames.shape == (30, channels, 24, 29) and kept.duration == video.duration
        assert torch.equal(kept.at([3, 17, 4]), video.at([3, 17, 4]))
        assert torch.equal(kept.shown([0.2, 1.7]), video.shown([0.2, 1.7]))
        assert torch.equal(video.some(7), kept.frames[::5])


def test_all_frames_may_be_decoded_in_parts(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, video = opened(videos / "even.mp4").decoded(), opened(videos / "even.mp4")
    monkeypatch.setattr("ssl_zoo.modalities.video.footage.CHUNK", 7 * 40 * 48 * 3)
    assert torch.equal(video.decoded().frames, whole.frames)
    assert torch.equal(video.some(4), whole.frames[::8]) and torch.equal(video.at(range(20)), whole.frames[:20])


def test_a_video_travels_to_another_process(videos: Path) -> None:
    video = opened(videos / "even.mp4")
    assert torch.equal(pickle.loads(pickle.dumps(video)).at([5]), video.at([5]))


@pytest.mark.parametrize("file", ["even.mp4", "even.mkv", "even.avi"])
@pytest.mark.parametrize("part", [0.35, 0.8, 0.999])
@reader
def test_a_file_that_is_cut_short_is_named(videos: Path, file: str, part: float, reader: str) -> None:
    """Every reader decodes a cut Matroska file without an error."""
    content = (videos / file).read_bytes()
    assert missing_bytes(content) == 0
    with pytest.raises(BadSample, match="short.mkv: .*(cut short: \\d+ of the \\d+ bytes|damaged)"):
        Decoding(reader=reader).open(content[: int(part * len(content))], "short.mkv")


def test_containers_state_their_length() -> None:
    box = (16).to_bytes(4, "big") + b"ftyp" + bytes(8)
    large = (1).to_bytes(4, "big") + b"mdat" + (30).to_bytes(8, "big") + bytes(14)
    assert missing_bytes(box + large) == 0 and missing_bytes((box + large)[:-3]) == 3
    assert missing_bytes(box + (0).to_bytes(4, "big") + b"mdat") == 0  # a size of 0 is that of the rest
    ebml, segment = b"\x1a\x45\xdf\xa3\x82ab", b"\x18\x53\x80\x67"
    assert missing_bytes(ebml + segment + b"\x85abc") == 2 and missing_bytes(ebml + segment + b"\x83abc") == 0
    assert missing_bytes(ebml + segment + b"\x01" + b"\xff" * 7 + b"abc") == 0  # of unknown size
    assert missing_bytes(b"RIFF\x08\x00\x00\x00AVI a") == 3 and missing_bytes(b"nothing that is known") == 0


@pytest.mark.parametrize("reader, codec", [("av", "mpeg4"), ("av", "libx264"), ("torchcodec", "libx264")])
def test_damage_in_the_middle_is_named_when_the_frames_are_asked_for(tmp_path: Path, reader: str, codec: str) -> None:
    """Of MPEG-4, torchcodec has FFmpeg conceal it, and cannot know; PyAV is told to be strict."""
    import av

    if codec not in av.codecs_available or (reader == "torchcodec" and len(READERS) < 2):
        pytest.skip(f"needs {codec} and {reader}")
    path = write(tmp_path / "a.mp4", pattern(40, 64, 96), codec=codec, g=20, bf=0)
    content = bytearray(path.read_bytes())
    place = content.index(b"mdat")
    size = int.from_bytes(content[place - 4 : place], "big")
    content[place + size // 2 : place + size // 2 + size // 5] = b"\xff" * (size // 5)
    video = Decoding(reader=reader).open(bytes(content), "broken.mp4")
    with pytest.raises(BadSample, match="broken.mp4: damaged video"):
        video.decoded()
    assert len(video.at([0])) == 1


@reader
def test_files_without_a_picture_are_named(tmp_path: Path, reader: str) -> None:
    import av

    with av.open(str(tmp_path / "sound.mp4"), "w") as file:
        stream = file.add_stream("aac", rate=8000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 8000
        file.mux(stream.encode(silence))
        file.mux(stream.encode(None))
    decoding = Decoding(reader=reader)
    for content, words in (
        ((tmp_path / "sound.mp4").read_bytes(), "no video in it"),
        (b"", "the file is empty"),
        (b"certainly no video, but of some length", "damaged video, or none"),
    ):
        with pytest.raises(BadSample, match=words) as caught:
            decoding.open(content, "a.mp4")
        assert caught.value.name == "a.mp4" and "\n" not in str(caught.value) and ".cpp" not in str(caught.value)


@reader
def test_bounds_are_checked_before_anything_is_decoded(videos: Path, reader: str) -> None:
    for options, words in (
        ({"max_frames": 29}, "30 frames, more than the 29 .*max_frames=30"),
        ({"max_pixels": 1000}, "frames of 40x48 pixels, more than the 1000 .*max_pixels=1920"),
    ):
        with pytest.raises(BadSample, match=words):
            opened(videos / "even.mp4", reader, **options)


def test_a_video_that_is_too_large_for_memory_is_kept_as_its_file(
    videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = modality(size=64)
    content = (videos / "even.mp4").read_bytes()
    assert made.nbytes(made.kept(made.decode(content, "a"))) > 30 * 40 * 48 * 3
    monkeypatch.setattr("ssl_zoo.modalities.video.modality.KEEP_BYTES", 1000)
    kept = made.kept(made.decode(content, "a"))
    assert made.nbytes(kept) == len(content) and len(kept.at([2, 3])) == 2


def test_the_modality_describes_and_measures(videos: Path) -> None:
    made = modality(size=16)
    video = made.decode((videos / "even.mp4").read_bytes(), "a")
    assert made.describe(video) == "30x40x48" and video.size == (18, 22)  # 16 * 8 / 7
    values = made.values(video)
    assert values.shape == (3, 30 * 18 * 22) and 0 <= values.min() < values.max() <= 1
    torch.testing.assert_close(values, made.values(made.kept(video)), rtol=0, atol=0)
    assert made.remarks((videos / "even.mp4").read_bytes(), "a") in (
        (),
        ("read by PyAV, since torchcodec is not installed or finds no FFmpeg",),
    )
    assert made.describe(clip(5)) == "5x16x20"


def test_short_videos_get_a_remark(tmp_path: Path) -> None:
    content = write(tmp_path / "a.mp4", pattern(5)).read_bytes()
    assert "fewer than the 8 frames of a view" in modality(reader="av").remarks(content, "a")[0]


def test_a_reader_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssl_zoo.modalities.video.readers.find_spec", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name in ("auto", "av", "torchcodec"):
        with pytest.raises(UserError, match=r"pip install 'ssl_zoo\[video\]'"):
            readers.chosen(name)


def test_other_channels_are_refused() -> None:
    with pytest.raises(UserError, match=r"1 channel \(grey\) or 3 \(RGB\), not 4"):
        modality(channels=4)

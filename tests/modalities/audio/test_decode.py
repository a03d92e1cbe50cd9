"""Files of many kinds against the standard library and soundfile, and those that are damaged."""

import importlib.util
import io
import struct
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from ssl_zoo import registry
from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.check import check_source
from ssl_zoo.data.open import open_data
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.audio.decode import Decoding
from ssl_zoo.modalities.audio.modality import AudioModality
from ssl_zoo.modalities.audio.sound import Sound, wav_bytes
from tests.modalities.audio.sort import SORT, sounds

RNG = np.random.default_rng(0)
NOISE = (0.3 * RNG.standard_normal((1000, 2))).clip(-1, 0.99)


def encoded(values: np.ndarray, rate: int = 8000, kind: str = "WAV", subtype: str = "PCM_16") -> bytes:
    """Return what soundfile writes."""
    file = io.BytesIO()
    soundfile.write(file, values, rate, format=kind, subtype=subtype)
    return file.getvalue()


def read(content: bytes, **options: Any) -> np.ndarray:
    sound = Decoding(**options).decode(content, "a.wav")
    return sound.part(0, len(sound)).numpy()


def reason(content: bytes, **options: Any) -> str:
    with pytest.raises(BadSample) as caught:
        Decoding(**options).decode(content, "a.wav")
    assert caught.value.name == "a.wav"
    return caught.value.reason


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("kind", ["WAV", "WAVEX"])
def test_wav_is_what_soundfile_reads_to_the_bit(kind: str, subtype: str) -> None:
    content = encoded(NOISE, kind=kind, subtype=subtype)
    expected, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    for channel, column in (("left", 0), ("right", 1), (2, 1)):
        assert np.array_equal(read(content, channel=channel), expected[:, column])
    mean = expected.astype(np.float64).mean(axis=1).astype(np.float32)
    assert np.array_equal(read(content), mean)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_wav_is_what_the_standard_library_reads(width: int) -> None:
    file = io.BytesIO()
    stored = RNG.integers(0, 256, 3 * 500 * width, dtype=np.uint8).tobytes()
    with wave.open(file, "wb") as writer:
        writer.setparams((3, width, 44_100, 0, "NONE", ""))
        writer.writeframes(stored)
    with wave.open(io.BytesIO(file.getvalue())) as reader:
        frames = reader.readframes(500)
    assert frames == stored
    values = [
        int.from_bytes(frames[i : i + width], "little", signed=width > 1) for i in range(width, len(frames), 3 * width)
    ]
    expected = np.array([(v - 128) / 128 if width == 1 else v / 2 ** (8 * width - 1) for v in values])
    sound = Decoding(channel=2).decode(file.getvalue(), "a.wav")
    assert sound.rate == 44_100 and np.array_equal(sound.part(0, 500).numpy(), expected.astype(np.float32))


@pytest.mark.parametrize("subtype, dtype", [("PCM_16", torch.int16), ("PCM_24", torch.float32)])
def test_flac_is_exact(subtype: str, dtype: torch.dtype) -> None:
    stored = (NOISE * 2**31).astype(np.int32)  # integers: of floats, the two writers round differently
    from_wav = Decoding(channel="left").decode(encoded(stored, subtype=subtype), "a")
    from_flac = Decoding(channel="left").decode(encoded(stored, kind="FLAC", subtype=subtype), "a")
    assert from_flac.wave.dtype == from_wav.wave.dtype == dtype and torch.equal(from_flac.wave, from_wav.wave)


@pytest.mark.parametrize("kind, subtype", [("OGG", "VORBIS"), ("AIFF", "PCM_16"), ("WAV", "ULAW")])
def test_other_formats_are_what_soundfile_reads(kind: str, subtype: str) -> None:
    content = encoded(NOISE[:, 0], 16_000, kind, subtype)
    expected, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    assert rate == 16_000 and np.array_equal(read(content), expected)


def test_mp3_is_read() -> None:
    """The last bit depends on how many values its decoder is asked for at once."""
    content = encoded(NOISE[:, 0], 16_000, "MP3", "MPEG_LAYER_III")
    expected, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    np.testing.assert_allclose(read(content), expected, rtol=0, atol=1e-6)


def test_sixteen_bits_stay_sixteen_bits_in_memory() -> None:
    values = RNG.integers(-(2**15), 2**15, 700, dtype=np.int16)
    sound = Decoding().decode(encoded(values), "a")
    assert sound.wave.numpy().dtype == np.int16 and np.array_equal(sound.wave.numpy(), values)
    assert sound.nbytes == 1400 and sound.seconds == 700 / 8000
    assert np.array_equal(sound.part(10, 20).numpy(), values[10:20] / np.float32(2**15))
    again = Decoding().decode(wav_bytes(sound, 1.0), "a")
    assert torch.equal(again.wave, sound.wave) and len(Decoding().decode(wav_bytes(sound, 0.01), "a")) == 80


def test_stereo_and_mono_may_be_mixed() -> None:
    mono, stereo = encoded(NOISE[:, 0]), encoded(NOISE)
    for channel in ("mean", "left", "right"):
        assert np.array_equal(read(mono, channel=channel), soundfile.read(io.BytesIO(mono), dtype="float32")[0])
    assert Decoding().remarks(stereo, "a") == ("2 channels, of which the mean is taken",)
    assert Decoding(channel=2).remarks(stereo, "a") == ("2 channels, of which number 2 is taken",)
    assert Decoding().remarks(mono, "a") == ()
    assert reason(mono, channel=2) == "it has 1 channel, and data.decode.channel is 2"


@pytest.mark.parametrize("kept", [600, 1043, 1044])
def test_a_wav_that_is_cut_short_says_by_how_much(kept: int) -> None:
    content = encoded(NOISE[:, 0])
    assert len(content) == 2044  # 1000 values after a header of 44 bytes
    have = (kept - 44) / 16_000
    assert reason(content[:kept]) == f"it is cut short: its header states 0.12 s, and {have:.2f} s are there"
    for reader in (lambda: soundfile.read(io.BytesIO(content[:kept])), lambda: wave.open(io.BytesIO(content[:kept]))):
        reader()  # which is why: others read it without a word


@pytest.mark.parametrize("kind, subtype", [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("WAV", "ULAW"), ("AIFF", "PCM_16")])
def test_other_files_that_are_cut_short_are_bad(kind: str, subtype: str) -> None:
    content = encoded(RNG.standard_normal(20_000) / 4, kind=kind, subtype=subtype)
    for share in (0.5, 0.9):
        reason(content[: int(share * len(content))])


@pytest.mark.parametrize("num", [0, 4, 11, 12, 20, 36, 43, 44])
def test_a_header_that_is_cut_short_is_bad(num: int) -> None:
    assert reason(encoded(NOISE[:, 0])[:num])


def test_a_length_that_a_pipe_left_open_is_read_to_the_end() -> None:
    content = encoded(NOISE[:, 0])
    for size in (0xFFFFFFFF, 0x7FFFF024):
        streamed = content[:40] + struct.pack("<I", size) + content[44:]
        assert np.array_equal(read(streamed), read(content))
        assert Decoding().remarks(streamed, "a") == ("its header leaves its length open: read to the end of the file",)


def test_values_that_are_no_sound() -> None:
    assert reason(b"") == "the file is empty"
    assert reason(encoded(np.zeros((0, 1)))) == "it holds no sound: its length is 0"
    broken = NOISE.astype(np.float32)
    broken[400, 1] = np.nan
    assert reason(encoded(broken, subtype="FLOAT")) == "a value is not finite (nan or inf), at 0.050 s"
    assert np.isfinite(read(encoded(broken, subtype="FLOAT"), channel="left")).all()
    assert not read(encoded(np.zeros(50))).any() and Decoding().remarks(encoded(np.zeros(50)), "a") == (
        "silence: all values are 0",
    )


def test_what_a_header_states_is_not_trusted() -> None:
    long = encoded(NOISE[:, 0], rate=100)
    assert reason(long, max_seconds=9) == (
        "it lasts 10.0 s or more, and 9 s are allowed; raise data.decode.max_seconds"
    )
    assert "it lasts 10.0 s" in reason(encoded(NOISE[:, 0], 100, "FLAC"), max_seconds=9)
    content = encoded(NOISE[:, 0])
    assert "at 4294967295 Hz" in reason(content[:24] + b"\xff" * 4 + content[28:])
    assert "0 channels" in reason(content[:22] + b"\0\0" + content[24:])
    assert "in 2 bytes" in reason(content[:22] + b"\5\0" + content[24:])
    assert "too large" not in reason(b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 20_000)


def test_soundfile_is_named_where_it_is_needed_and_only_there(monkeypatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "soundfile" else found(name, *rest)
    )
    for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT"):
        assert len(read(encoded(NOISE, subtype=subtype))) == 1000
    with pytest.raises(UserError, match=r"reading FLAC files needs the package soundfile.*ssl_zoo\[audio\]") as caught:
        read(encoded(NOISE, kind="FLAC"))
    assert not isinstance(caught.value, BadSample)
    assert "no WAV, FLAC" in reason(b"neither of them")


def modality(**options: Any) -> AudioModality:
    return registry.build("modality", "audio", options, spec=SORT.spec)


def folder(path: Path) -> Path:
    """Write recordings of two rates, mono and stereo, one of them silent."""
    for name, rate, values in (
        ("a", 8000, NOISE),
        ("b", 8000, NOISE[:, 0]),
        ("c", 16_000, NOISE),
        ("d", 8000, NOISE * 0),
    ):
        path.mkdir(exist_ok=True)
        (path / f"{name}.wav").write_bytes(encoded(values, rate))
    return path


class FolderPart:
    """The source of a folder, as a recipe has it."""

    name = "folder"

    def __init__(self, path: Path) -> None:
        self.options = {"path": str(path)}


def test_rates_that_differ_name_both_files_and_the_option(tmp_path: Path) -> None:
    part = FolderPart(folder(tmp_path / "mixed"))
    with pytest.raises(UserError, match=r"c\.wav.*16000 Hz.*a\.wav is 8000 Hz.*data\.decode\.sample_rate=8000"):
        open_data(part, modality())
    kept = open_data(part, modality(sample_rate=8000)).train
    assert [len(kept.read(i)) for i in range(4)] == [1000, 1000, 500, 1000]
    assert {kept.read(i).rate for i in range(4)} == {8000}
    skipped = open_data(part, modality(), on_error="skip", bad_budget=0.5)
    assert len(skipped.train) == 3 and [Path(name).name for name in skipped.bad] == ["c.wav"]


def test_a_report_counts_lengths_rates_and_remarks(tmp_path: Path) -> None:
    kind = modality()
    source = registry.build("source", "folder", {"path": str(folder(tmp_path / "mixed"))}, modality=kind)
    report = check_source(source.split("train"), kind)
    assert report["num_bad"] == 1 and report["sizes"] == {"0.1 at 8000": 3} and report["axes"] == "seconds at Hz"
    assert report["mean"] == []  # no views are known, whose units they would be in
    counts = {text: each["num"] for text, each in report["remarks"].items()}
    assert counts == {"2 channels, of which the mean is taken": 2, "silence: all values are 0": 1}


def test_a_page_plays_the_first_seconds() -> None:
    (media,) = modality().media(Sound(torch.ones(200_000), 8000))
    with wave.open(io.BytesIO(media.data)) as reader:
        assert media.mime == "audio/wav" and reader.getparams()[:4] == (1, 2, 8000, 80_000)
    assert modality().describe(sounds(1)[0]) == "0.2 at 8000"


def test_the_spoken_digits(shared_data: Path) -> None:
    """The names hold the test split: recordings 0 to 4 of each speaker and digit."""
    options = {"path": str(shared_data / "fsdd.parquet"), "label": "digit", "test": ["*_[0-4].wav"]}
    source = registry.build("source", "parquet", options, modality=modality())
    train, test = source.split("train"), source.split("test")
    assert (len(train), len(test)) == (2700, 300) and test.labels.bincount().tolist() == [30] * 10
    sound = train.read(0)
    assert sound.rate == 8000 and sound.wave.dtype == torch.int16

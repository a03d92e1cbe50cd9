"""Items of Python data sets: their samples equal those of files, their labels are found, what is wrong is named."""

import pickle
import random
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_zoo import registry
from ssl_zoo.batch import InputSpec
from ssl_zoo.data import BadSample, Split, loader
from ssl_zoo.data.contents import contents_of
from ssl_zoo.data.given import take
from ssl_zoo.data.open import build_source
from ssl_zoo.data.paired import PairedModality
from ssl_zoo.data.source import Source
from ssl_zoo.errors import UserError
from ssl_zoo.registry import build
from tests.tiny import image_modality

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
"""Height 5, width 6, RGB."""


def opened(data: Any, test: Any = None, channels: int = 3, **decode: Any) -> Source:
    return build_source("python", {}, image_modality(channels, **decode), take(data, test))


def train(data: Any, **options: Any) -> Split:
    return opened(data, **options).split("train")


@pytest.mark.parametrize(
    "item",
    [
        Image.fromarray(PIXELS),
        PIXELS,
        PIXELS.transpose(2, 0, 1),
        torch.from_numpy(PIXELS).permute(2, 0, 1),
        torch.from_numpy(PIXELS).permute(2, 0, 1).float() / 255,
        (Image.fromarray(PIXELS),),
        (PIXELS, 1),
        {"image": PIXELS, "label": 1},
        {"img": Image.fromarray(PIXELS)},
    ],
    ids=lambda item: type(item).__name__,
)
def test_a_sample_is_the_picture(item: Any) -> None:
    read = train([item] * 2).read(1)
    assert read.dtype == torch.uint8 and torch.equal(read, torch.from_numpy(PIXELS).permute(2, 0, 1))


def test_pictures_are_converted_as_those_of_files() -> None:
    grey = train([PIXELS], channels=1).read(0)
    assert torch.equal(grey[0], torch.from_numpy(np.asarray(Image.fromarray(PIXELS).convert("L")).copy()))
    assert torch.equal(train([PIXELS[..., 0]]).read(0), torch.from_numpy(PIXELS[..., 0].copy()).expand(3, -1, -1))
    deep = train([torch.from_numpy(PIXELS.astype(np.uint16) * 257).permute(2, 0, 1)]).read(0)
    assert torch.equal(deep, torch.from_numpy(PIXELS).permute(2, 0, 1))
    scaled = train([PIXELS / 51 - 1], value_range=(-1.0, 4.0)).read(0)
    assert torch.equal(scaled, torch.from_numpy(PIXELS).permute(2, 0, 1))


def test_bands_keep_their_values() -> None:
    bands = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    assert torch.equal(train([bands], channels=5).read(0), torch.from_numpy(bands))
    floats = train([torch.from_numpy(bands[:3])], dtype="float32").read(0)
    assert torch.equal(floats, torch.from_numpy(bands[:3]))


@pytest.mark.parametrize(
    "item, sentence",
    [
        (torch.randn(3, 8, 8), "floats from .* where 0 to 1 is meant; leave Normalize out"),
        (PIXELS[:4], "shape .4, 6, 3., whose channels may come first or last; set data.decode.npy_axes"),
        (torch.zeros(2, 8, 8), "no axis of 1, 3 or 4 channels"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), "int64 values, which have no known range"),
        ("a.png", "a str; give a picture of Pillow"),
        (None, "a NoneType; give a picture"),
        (Image.new("LAB", (4, 4)), "CIELAB"),
    ],
)
def test_a_sample_that_means_nothing_is_bad(item: Any, sentence: str) -> None:
    with pytest.raises(BadSample, match=sentence) as caught:
        train([item]).read(0)
    assert caught.value.name == "train sample 0 of list"


def test_an_item_that_is_written_otherwise_is_bad() -> None:
    split = train([{"image": PIXELS, "label": 0}, {"picture": PIXELS}, PIXELS])
    for i, sentence in ((1, "a dict without the key 'image'"), (2, "a ndarray without the key")):
        with pytest.raises(BadSample, match=sentence):
            split.read(i)
    for item, sentence in (({"picture": 1}, "keys picture; the sample is looked for"), ((1, 2, 3), "tuples of 3")):
        with pytest.raises(UserError, match=sentence):
            train([item])


class Odd:
    """Raises for every third sample, and lists nothing."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, i: int) -> Any:
        if i % 3 == 1:
            raise KeyError("gone")
        return PIXELS, i % 2


def test_what_a_data_set_raises_is_a_bad_sample() -> None:
    split = train(Odd())
    assert split.labels is not None and split.labels.tolist() == [0, -1, 0, 1, -1, 1]
    with pytest.raises(BadSample, match=r"its data set raises KeyError: 'gone' \(test_python.py, line \d+\)"):
        split.read(1)
    copy = pickle.loads(pickle.dumps(split))
    assert torch.equal(copy.read(0), split.read(0)) and copy.name(3) == "train sample 3 of Odd"


def test_a_data_set_that_cannot_be_sent_to_workers_is_one_sentence(monkeypatch: Any) -> None:
    """Where they are not forked."""

    class Local(Odd):
        pass

    monkeypatch.setattr(loader, "FORKS", False)
    policy = build("views", "augment", {"size": 8})
    with pytest.raises(UserError, match="cannot be sent to worker processes .*define the data set at the top"):
        loader.Loader(train(Local()), policy, batch_size=2, seed=0, num_workers=1)
    loader.Loader(train(Odd()), policy, batch_size=2, seed=0, num_workers=1)


def test_samples_of_several_members_are_mappings() -> None:
    members = {name: image_modality(1) for name in ("left", "right")}
    spec = InputSpec("left + right", (), members=tuple((name, of.spec) for name, of in members.items()))
    items = [{"left": PIXELS, "right": Image.fromarray(PIXELS), "label": 3}, {"left": PIXELS, "right": None}]
    split = build_source("python", {}, PairedModality(spec, members), take(items)).split("train")
    assert split.labels is not None and split.labels.tolist() == [0, -1]
    read = split.read(0)
    assert list(read) == ["left", "right"] and torch.equal(read["left"], read["right"])
    with pytest.raises(BadSample, match="right: a NoneType"):
        split.read(1)
    with pytest.raises(UserError, match="have the keys left, and none for the member 'right'"):
        build_source("python", {}, PairedModality(spec, members), take([{"left": PIXELS}]))


def test_other_modalities_take_what_they_decode_to() -> None:
    text = registry.build("modality", "text", {}, spec=InputSpec("text", ()))
    texts = build_source("python", {}, text, take(["a text", ["two", "texts"], b"bytes", 3])).split("train")
    assert [texts.read(i) for i in range(3)] == [("a text",), ("two", "texts"), ("bytes",)]
    audio = registry.build("modality", "audio", {}, spec=InputSpec("audio", ()))
    wave = np.linspace(-1, 1, 100)
    mono = {"array": wave, "sampling_rate": 8000, "label": "x"}
    sounds = build_source("python", {}, audio, take([mono])).split("train")
    assert sounds.read(0).rate == 8000 and torch.equal(sounds.read(0).wave, torch.from_numpy(wave).float())
    assert sounds.class_names == ["x"]
    stereo = {"array": np.stack([wave, -wave]), "sampling_rate": 8000}
    both = build_source("python", {}, audio, take([(stereo,)])).split("train")
    assert not both.read(0).wave.any()
    with pytest.raises(BadSample, match="a int"):
        texts.read(3)


def test_classes_are_the_same_in_both_splits() -> None:
    source = opened([(PIXELS, "owl"), (PIXELS, "emu")], [(PIXELS, "owl")])
    labels = {name: source.split(name).labels for name in source.splits}
    assert {name: None if of is None else of.tolist() for name, of in labels.items()} == {"train": [1, 0], "test": [1]}
    assert source.split("test").class_names == ["emu", "owl"]


class Random(Odd):
    def __getitem__(self, i: int) -> Any:
        return PIXELS // random.choice([1, 2, 3, 5, 7, 11, 13, 17]) + np.uint8(random.randrange(40))


def test_randomness_of_a_data_set_is_said() -> None:
    assert not opened([PIXELS]).notes
    assert any("another one each time it is read" in note for note in opened(Random()).notes)
    assert contents_of(train(Random())).digests == () and len(contents_of(train([PIXELS] * 3)).digests) == 3


def test_names_of_a_data_set_are_those_of_its_samples() -> None:
    class Named(list[Any]):
        names = ("a/0.png", "b/1.png")

    assert [train(Named([PIXELS, PIXELS])).name(i) for i in range(2)] == ["a/0.png", "b/1.png"]


def test_without_an_object_one_sentence_says_so() -> None:
    with pytest.raises(UserError, match="are a Python object .x of 3 samples., which the command line cannot have"):
        build_source("python", {"data": "x of 3 samples"}, image_modality(3))

"""Data of a modality that no module of the package knows: files are found, decoded and refused by what it states."""

import pytest
import torch
from PIL import Image
from torch import Tensor

from ssl_zoo.batch import InputSpec, View, ViewSpec
from ssl_zoo.data import MemorySplit, check_source, load
from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.open import open_data
from ssl_zoo.data.source import Modality, ViewPolicy
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.features import raw
from ssl_zoo.methods.build import build_modality, build_views
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.recipe.resolve import open_source, resolve
from ssl_zoo.registry import register

LENGTH = 8


@pytest.fixture(autouse=True)
def texts(own_parts) -> None:
    """The modality `texts`, whose files end in `.txt`, its views, and a source of its own for one kind of path."""

    @register("modality", "texts")
    class Texts(Modality):
        """Bytes of a text, cut or filled up to one length.

        Args:
            spec: of the views.
            fill: what short texts are filled up with.
        """

        extensions = frozenset({".txt"})

        def __init__(self, spec: InputSpec, *, fill: int = 0) -> None:
            super().__init__(spec)
            self.fill = fill

        def decode(self, data, name: str) -> Tensor:
            text = data if isinstance(data, bytes) else data.read()
            if not text:
                raise BadSample(name, "the text is empty")
            padded = text[:LENGTH].ljust(LENGTH, bytes([self.fill]))
            return torch.frombuffer(bytearray(padded), dtype=torch.uint8)[None]

        def describe(self, sample: Tensor) -> str:
            return f"{sample.shape[1]} bytes"

    @register("views", "shifted")
    class Shifted(ViewPolicy):
        """Two shifted copies of each text."""

        modality = "texts"
        spec = InputSpec("texts", (ViewSpec("global", (1, LENGTH)),) * 2)

        def draw(self, generator, num):
            return {"shift": torch.randint(0, LENGTH, (num,), generator=generator)}

        def collate(self, samples, params):
            return {"text": torch.stack(list(samples)), **params}

        def forward(self, payload):
            return [View(payload["text"].float(), "texts"), View(payload["text"].float(), "texts")]

        def plain(self, samples):
            return View(torch.stack(list(samples)).float(), "texts")

        def picture(self, samples, views):
            return torch.zeros(3, 1, LENGTH, dtype=torch.uint8)

    @register("source", "image_album")
    class Album:
        """A source of images that takes every path."""

        modality = "image"

        @staticmethod
        def matches(path, modality):
            return True


@pytest.fixture
def folder(tmp_path):
    for name in ("train/no/1.txt", "train/no/2.txt", "train/yes/1.txt", "test/no/3.txt", "test/yes/2.txt"):
        path = tmp_path / "letters" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name[-9:])
    Image.new("L", (4, 4)).save(tmp_path / "letters" / "train" / "scan.png")
    return tmp_path / "letters"


@pytest.fixture
def pictures(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / "pictures" / name / "1.png")
    return tmp_path / "pictures"


def opened(path, *overrides: str):
    recipe = load_recipe("simsiam", ["views=shifted", *overrides], data=str(path))
    policy = build_views(recipe)
    return (
        recipe,
        policy,
        open_data(
            recipe.data.source,
            build_modality(recipe, policy.spec),
            recipe.data.cache,
            recipe.data.on_error,
            recipe.data.bad_budget,
        ),
    )


def test_a_folder_is_read_as_the_modality_of_the_recipes_views(folder):
    recipe, policy, data = opened(folder)
    assert recipe.data.source.name == "folder"  # and not the source of images, though that takes every path
    assert (len(data.train), len(data.test), data.train.class_names) == (3, 2, ["no", "yes"])
    assert isinstance(data.train, MemorySplit) and data.train.read(0).tolist() == [list(b"/no/1.tx")]
    assert data.notes[0].endswith("by the ending: .png (1); for example train/scan.png.")
    assert raw(data.modality, policy, data.test).x.shape == (2, LENGTH)
    assert resolve(str(folder), "texts") == {"name": "folder", "path": str(folder)}
    assert resolve(str(folder), "image")["name"] == "folder"


def test_options_of_decoding_are_those_of_the_modality(folder):
    (folder / "train" / "no" / "1.txt").write_text("ab")
    _, _, data = opened(folder, "data.decode.fill=7")
    assert data.train.read(0).tolist() == [[97, 98, *[7] * 6]]
    with pytest.raises(UserError, match=r"data\.decode\.max_pixels"):
        opened(folder, "data.decode.max_pixels=5")


def test_a_folder_of_another_modality_is_refused_in_one_sentence(pictures):
    with pytest.raises(UserError, match=r"the folder .* has 2 files but none to read: .* \.png \(2\); .* are \.txt\.$"):
        opened(pictures)


def test_a_file_of_another_modality_is_refused_in_one_sentence(pictures):
    with pytest.raises(
        UserError,
        match=r"no source reads it as data of the modality 'texts'; .*: folder, huggingface, list, parquet",
    ):
        opened(pictures / "a" / "1.png")


def test_a_folder_is_checked_by_its_modality(folder):
    (folder / "train" / "no" / "1.txt").write_text("")
    source, kind = open_source(str(folder), [], 1, "texts")
    report = check_source(source.split("train"), kind)
    assert report["sizes"] == {"8 bytes": 2} and list(report["bad"].values()) == ["the text is empty"]
    assert len(load(source.split("train"), "memory", "skip", 0.5)) == 2
    with pytest.raises(UserError, match=r"several modalities read .*letters \(image, text, texts\); give --modality"):
        open_source(str(folder), [], 1)

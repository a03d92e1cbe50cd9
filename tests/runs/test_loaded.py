"""A loaded encoder takes files and pictures as the evaluation sees them, and is the module that it was."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import v2

import ssl_zoo
from ssl_zoo.errors import UserError
from ssl_zoo.methods.build import build_encoder
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.runs.encoder import read_encoder
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.runs.product import save_encoder

SHAPES = [(40, 50, 3), (16, 16, 3), (33, 90), (20, 16, 4), (8, 300, 3)]


def run_with(root: Path, *overrides: str) -> Path:
    """Write a run that ended on pictures of many sizes and kinds."""
    source, photos = np.random.default_rng(0), root / "photos"
    photos.mkdir(parents=True)
    for i, shape in enumerate(SHAPES):
        Image.fromarray(source.integers(0, 256, shape, dtype=np.uint8)).save(photos / f"{i}.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    Image.fromarray(source.integers(0, 256, (30, 60, 3), dtype=np.uint8)).save(photos / "5.jpg", exif=exif)
    small = ["encoder={name: convnet, widths: [4, 8]}", "views.size=16", *overrides]
    recipe = load_recipe("simsiam", small, data=str(photos))
    encoder = build_encoder(recipe)
    encoder(3 + torch.randn(4, 3, 16, 16))
    folder = RunFolder(root / "run")
    folder.path.mkdir()
    folder.create(recipe)
    save_encoder(folder, encoder, recipe, 1, {})
    return folder.path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_with(tmp_path_factory.mktemp("loaded"))


@pytest.fixture(scope="module")
def files(run: Path) -> list[Path]:
    return sorted((run.parent / "photos").iterdir())


def test_files_are_embedded_as_by_the_command_bit_for_bit(run, files, tmp_path) -> None:
    table = pq.read_table(ssl_zoo.embed(run, tmp_path / "a.parquet", log=lambda line: None)["out"])
    vectors = {Path(row["name"]).name: row["vector"] for row in table.to_pylist()}
    found = ssl_zoo.load_encoder(run).embed(files)
    assert found.shape == (6, 8) and found.dtype == torch.float32
    assert torch.equal(found, torch.tensor([vectors[path.name] for path in files]))


def test_pictures_tensors_and_arrays_are_the_same_samples(run, files) -> None:
    encoder = ssl_zoo.load_encoder(run)
    expected = encoder.embed(files)
    assert torch.equal(encoder.embed([str(path) for path in files]), expected)
    assert torch.equal(encoder.embed([path.read_bytes() for path in files]), expected)
    assert torch.equal(encoder.embed([Image.open(path) for path in files]), expected)
    array = np.asarray(Image.open(files[0]))
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    alone = encoder.embed(files[0])
    assert alone.shape == (8,)
    for one in (array, tensor, Image.open(files[0])):
        assert torch.equal(encoder.embed(one), alone)
    for several in (np.stack([array] * 2), torch.stack([tensor] * 2), [tensor, files[0]]):
        assert torch.equal(encoder.embed(several), encoder.embed([files[0]] * 2))
    assert encoder.embed([]).shape == (0, 8)
    for wrong in ("nowhere.png", run, b"no picture", torch.zeros(5, 7, 9, dtype=torch.uint8), None):
        with pytest.raises(UserError):
            encoder.embed(wrong)


def test_the_transform_prepares_what_the_module_takes(run, files) -> None:
    encoder = ssl_zoo.load_encoder(run)
    assert isinstance(encoder.preprocess, v2.Transform) and "size=16" in repr(encoder.preprocess)
    x = torch.stack([v2.Compose([encoder.preprocess])(Image.open(path)) for path in files])
    with torch.no_grad():
        assert torch.equal(encoder(x), encoder.embed(files)) and torch.equal(encoder.module(x), encoder(x))
    picture, label = encoder.preprocess(Image.open(files[0]), 3)
    assert torch.equal(picture, x[0]) and label == 3
    assert torch.equal(pickle.loads(pickle.dumps(encoder.preprocess))(files[0]), x[0])  # goes to worker processes


def test_it_is_the_module_that_it_was(run, files) -> None:
    encoder, module = ssl_zoo.load_encoder(run), read_encoder(run)
    names = list(module.state_dict())
    assert list(encoder.state_dict()) == names and encoder.out_dim == 8 and not encoder.training
    assert [name for name, _ in encoder.named_parameters()] == [name for name, _ in module.named_parameters()]
    both = nn.Sequential(encoder, nn.Linear(8, 2))
    assert list(both.state_dict()) == [*(f"0.{name}" for name in names), "1.weight", "1.bias"]
    changed = {name: value + 1 for name, value in both.state_dict().items()}
    both.load_state_dict(changed)
    assert all(torch.equal(value, changed[f"0.{name}"]) for name, value in encoder.state_dict().items())
    encoder.load_state_dict(module.state_dict())
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in encoder.module.state_dict().items())
    again = copy.deepcopy(encoder).double()
    assert next(again.parameters()).dtype == torch.float64 and next(encoder.parameters()).dtype == torch.float32
    encoder.train()
    before = encoder.embed(files)
    assert encoder.training and all(part.training for part in encoder.modules())  # and back in it
    assert torch.equal(before, ssl_zoo.load_encoder(run).embed(files))
    encoder.body = nn.Flatten()  # a part of one's own, in the place of the module's
    assert encoder(torch.zeros(1, 3, 2, 2)).shape == (1, 12)
    with pytest.raises(AttributeError, match="nothing"):
        encoder.nothing  # noqa: B018


def test_how_files_are_decoded_is_remembered(tmp_path) -> None:
    """Also without the recipe; and of runs whose card is too old to say it, by the recipe."""
    run = run_with(tmp_path, "data.decode.max_pixels=2100")
    for change in ("", '"decode"', '"decodes"'):
        text = (run / "encoder.json").read_text()
        (run / "encoder.json").write_text(text.replace('"decode"', change) if change else text)
        with pytest.raises(UserError, match="2970 pixels, more than the 2100 that are allowed"):
            ssl_zoo.load_encoder(run).embed(run.parent / "photos" / "2.png")
    (run / "recipe.yaml").unlink()
    assert ssl_zoo.load_encoder(run).embed(run.parent / "photos" / "2.png").shape == (8,)

"""The product: an encoder on disk gives the features that it gave in training, and wrong weights are refused."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file

from ssl_zoo.artefact import load_encoder, save_encoder
from ssl_zoo.construct import build_encoder
from ssl_zoo.errors import UserError
from ssl_zoo.recipes import load_recipe
from ssl_zoo.run_folder import RunFolder

ENCODERS = {
    "convnet": "encoder={name: convnet, widths: [4, 8], in_channels: 2}",
    "resnet18": "encoder={name: resnet18, stem: small, width: 0.05, in_channels: 2}",
}


def saved(folder: RunFolder, name: str = "convnet"):
    """Write an encoder that has seen data, and return it with its recipe."""
    recipe = load_recipe("simsiam", [ENCODERS[name], "views.size=12", "views.mean=[0.5]", "views.std=[0.25]"])
    encoder = build_encoder(recipe)
    g = torch.Generator().manual_seed(0)
    for _ in range(3):
        encoder(3 + torch.randn(4, 2, 12, 12, generator=g))  # moves the running statistics
    folder.path.mkdir(exist_ok=True)
    save_encoder(folder, encoder, recipe, steps=17, environment={"torch": "x"})
    return encoder.eval(), recipe


@pytest.mark.parametrize("name", sorted(ENCODERS))
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_loaded_encoder_gives_the_same_features(tmp_path, name, layout):
    encoder, recipe = saved(RunFolder(tmp_path / "run"), name)
    save_encoder(RunFolder(tmp_path / "run"), encoder.to(memory_format=layout), recipe, 17, {})
    loaded = load_encoder(tmp_path / "run")
    x = torch.randn(5, 2, 12, 12, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(loaded(x), encoder.to(memory_format=torch.contiguous_format)(x))
    assert not loaded.training and loaded.out_dim == encoder.out_dim
    assert load_file(tmp_path / "run" / "encoder.safetensors").keys() == encoder.state_dict().keys()  # no prefix


def test_the_card_says_how_to_use_it(tmp_path):
    folder = RunFolder(tmp_path / "run")
    _, recipe = saved(folder)
    card = json.loads(folder.card.read_text())
    assert card["input"] == {"modality": "image", "channels": 2, "size": 12, "mean": [0.5], "std": [0.25]}
    assert card["encoder"] == recipe.encoder.plain() and card["out_dim"] == 8
    assert (card["method"], card["branch"], card["steps"], card["seed"]) == ("simsiam", "online", 17, 0)
    assert card["views"] == recipe.dump()["views"] and card["environment"] == {"torch": "x"}
    assert not list(folder.path.glob("*.partial"))


def test_weights_that_are_not_the_cards_are_refused(tmp_path):
    folder = RunFolder(tmp_path / "run")
    encoder, _ = saved(folder)
    weights = encoder.state_dict()
    first, *others = weights
    for wrong in (
        {name: weights[name] for name in others},
        {**weights, "fc.weight": torch.ones(1)},
        {**weights, first: torch.ones(1)},
        {f"encoder.{name}": value for name, value in weights.items()},
    ):
        save_file(wrong, folder.encoder)
        with pytest.raises(UserError, match=r"encoder\.safetensors: does not fit its card: ") as caught:
            load_encoder(folder.path)
        assert "\n" not in str(caught.value)
    folder.encoder.write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"encoder\.safetensors: is not a readable safetensors file"):
        load_encoder(folder.path)


def test_a_card_that_is_none_is_refused(tmp_path):
    folder = RunFolder(tmp_path / "run")
    saved(folder)
    for text in ("", "[1]", "{}", '{"encoder": "convnet", "input": {"size": 3}}', '{"encoder": {"name": "convnet"}}'):
        folder.card.write_text(text)
        with pytest.raises(UserError, match=r"encoder\.json: is not the card of an encoder of ssl_zoo"):
            load_encoder(folder.path)
    folder.card.write_text(
        json.dumps({"encoder": {"name": "convnet", "widths": [4], "depth": 3}, "input": {"size": 3}})
    )
    with pytest.raises(UserError, match="depth: unknown key of encoder 'convnet'"):
        load_encoder(folder.path)


def test_a_folder_without_an_encoder_is_told(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=re.escape(f"{path}: holds no finished encoder")):
            load_encoder(path)

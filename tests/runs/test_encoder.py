"""The product: an encoder on disk gives the features that it gave in training, and wrong weights are refused."""

import errno
import json
import os
import re
import resource
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ssl_zoo.errors import TrainingFailed, UserError
from ssl_zoo.methods.build import build_encoder, build_views
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.runs.encoder import load_encoder
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.runs.product import save_encoder

ENCODERS = {
    "convnet": "encoder={name: convnet, widths: [4, 8]}",
    "resnet18": "encoder={name: resnet18, stem: small, width: 0.05}",
}

GREY = ("views.channels=2", "views.grey=0", "views.saturation=0", "views.hue=0")


def saved(folder: RunFolder, name: str = "convnet"):
    """Write an encoder that has seen data, and return it with its recipe."""
    recipe = load_recipe(
        "simsiam", [ENCODERS[name], *GREY, "views.size=12", "views.mean=[0.5, 0.4]", "views.std=[0.25]"]
    )
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
    view = {"role": "global", "shape": [2, 12, 12], "is_target": True}
    assert card["input"] == {"modality": "image", "views": [view, view], "mean": [0.5, 0.4], "std": [0.25, 0.25]}
    assert card["encoder"] == recipe.encoder.plain() and card["out_dim"] == 8
    assert (card["method"], card["branch"], card["steps"], card["seed"]) == ("simsiam", "online", 17, 0)
    assert card["views"] == recipe.dump()["views"] and card["environment"] == {"torch": "x"}
    assert not list(folder.path.glob("*.partial"))


def without_checksum(folder: RunFolder) -> None:
    card = json.loads(folder.card.read_text())
    card.pop("sha256", None)
    folder.card.write_text(json.dumps(card))


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
        without_checksum(folder)
        with pytest.raises(UserError, match=r"encoder\.safetensors: does not fit its card: ") as caught:
            load_encoder(folder.path)
        assert "\n" not in str(caught.value)
    for broken in (b"no weights", b""):
        folder.encoder.write_bytes(broken)
        with pytest.raises(UserError, match=r"encoder\.safetensors: is not a readable safetensors file"):
            load_encoder(folder.path)
    folder.encoder.write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"encoder\.safetensors: is not a readable safetensors file"):
        load_encoder(folder.path)


def test_a_card_that_is_none_is_refused(tmp_path):
    folder = RunFolder(tmp_path / "run")
    saved(folder)
    card_text = folder.card.read_text()
    for text in ("", "[1]", "{}", '{"encoder": "convnet", "input": {"size": 3}}', '{"encoder": {"name": "convnet"}}'):
        folder.card.write_text(text)
        with pytest.raises(UserError, match=r"encoder\.json: is not the card of an encoder of ssl_zoo"):
            load_encoder(folder.path)
    card = {"encoder": {"name": "convnet", "widths": [4], "depth": 3}, "input": json.loads(card_text)["input"]}
    folder.card.write_text(json.dumps(card))
    with pytest.raises(UserError, match="depth: unknown key of encoder 'convnet'"):
        load_encoder(folder.path)


def test_a_folder_without_an_encoder_is_told(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=re.escape(f"{path}: holds no finished encoder")):
            load_encoder(path)


def test_one_bit_that_changed_is_known(tmp_path):
    folder = RunFolder(tmp_path / "run")
    saved(folder)
    data = bytearray(folder.encoder.read_bytes())
    data[-100] ^= 4
    folder.encoder.write_bytes(data)
    with pytest.raises(UserError, match=r"is not the file that encoder\.json was written for \(its checksum differs\)"):
        load_encoder(folder.path)
    without_checksum(folder)
    load_encoder(folder.path)  # cards had no checksum at first


def test_a_kill_between_the_two_files_is_known(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path / "run")
    encoder, recipe = saved(folder)
    with torch.no_grad():
        next(encoder.parameters()).add_(1)
    real = Path.replace

    def killed(self, target):
        if Path(target) == folder.card:
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save_encoder(folder, encoder, recipe, 18, {})
    with pytest.raises(UserError, match="its checksum differs.*let the run write them again by --resume"):
        load_encoder(folder.path)
    monkeypatch.undo()
    save_encoder(folder, encoder, recipe, 18, {})
    load_encoder(folder.path)


def test_files_have_the_mode_that_the_umask_gives(tmp_path):
    folder = RunFolder(tmp_path / "run")
    before = os.umask(0o027)
    try:
        saved(folder)
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in (folder.encoder, folder.card)] == [0o640, 0o640]


def test_weights_that_are_not_finite_are_neither_written_nor_read(tmp_path):
    folder = RunFolder(tmp_path / "run")
    encoder, recipe = saved(folder)
    before = folder.encoder.read_bytes()
    weights = {name: value.clone() for name, value in encoder.state_dict().items()}
    weights["body.1.running_var"][0] = float("inf")
    encoder.load_state_dict(weights)
    with pytest.raises(TrainingFailed, match=r"has 1 tensor \(body\.1\.running_var\) with values that are not finite"):
        save_encoder(folder, encoder, recipe, 18, {})
    assert folder.encoder.read_bytes() == before and len(list(folder.path.iterdir())) == 2
    save_file(weights, folder.encoder)
    without_checksum(folder)
    with pytest.raises(UserError, match=r"1 tensor \(body\.1\.running_var\) with values that are not finite"):
        load_encoder(folder.path)


def test_tied_weights_are_written(tmp_path):
    folder = RunFolder(tmp_path / "run")
    encoder, recipe = saved(folder)
    encoder.register_buffer("again", next(encoder.parameters()).detach())
    save_encoder(folder, encoder, recipe, 18, {})
    assert torch.equal(load_file(folder.encoder)["again"], next(encoder.parameters()))


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path / "run")
    encoder, recipe = saved(folder)
    before = {path.name: path.read_bytes() for path in folder.path.iterdir()}

    def full(*arguments):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space left") as caught:
        save_encoder(folder, encoder, recipe, 18, {})
    assert caught.value.errno == errno.ENOSPC
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == before


NESTED = "[" * 30_000 + "]" * 30_000
INPUT = {"modality": "image", "views": [{"role": "global", "shape": [2, 12, 12], "is_target": True}],
         "mean": None, "std": None}  # fmt: skip


def card(encoder: object = "convnet", **changes: object) -> str:
    """Return a small card, with changes of its input."""
    return json.dumps({"encoder": {"name": encoder}, "input": {**INPUT, **changes}})


def shaped(shape: object) -> str:
    return card(views=[{"role": "global", "shape": shape, "is_target": True}])


@pytest.mark.parametrize(
    "text",
    [
        "{", card(3), shaped([0, 12]), shaped(["12"]), shaped([True]), shaped(12), card(views=[]), card(views=3),
        card(mean=["x"]), '{"encoder": {"name": "convnet"}, "input": 3}', NESTED, '{"a": ' + NESTED, " " * 2**17,
        "3" * 9999, card()[:-1] + ', "sha256": 3}', "\ud83d", "NaN", "null",
    ],
)  # fmt: skip
def test_whatever_a_card_holds_is_one_sentence(tmp_path, text):
    folder = RunFolder(tmp_path / "run")
    saved(folder)
    folder.card.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(UserError, match=r"encoder\.json: is not the card of an encoder of ssl_zoo") as caught:
        load_encoder(folder.path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("widths", [10**12, 10**12], "cannot be built: RuntimeError"),
        ("widths", [10**6, 10**6], "does not fit its card: size mismatch for body"),
        ("widths", [-3], "widths.0: -3 is not possible"),
        ("widths", [1e300], "widths.0: 1e\\+300 is not possible"),
        ("name", "convnot", "unknown encoder 'convnot'.*--import MODULE"),
        ("name", "x" * 10**4, "unknown encoder"),
    ],
)
def test_numbers_out_of_range_ask_for_no_memory(tmp_path, key, value, words):
    folder = RunFolder(tmp_path / "run")
    saved(folder)
    card = json.loads(folder.card.read_text())
    card["encoder"][key] = value
    folder.card.write_text(json.dumps(card))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=words) as caught:
        load_encoder(folder.path)
    assert "\n" not in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_the_card_of_grey_images_states_what_the_views_subtract(tmp_path):
    for views, size in (("augment", "views.size=12"), ("multi_crop", "views.local_size=8")):
        options = ["encoder={name: convnet, widths: [4, 8]}", f"views={views}", "views.size=12", size]
        recipe = load_recipe("simsiam", [*options, *GREY, "views.channels=1"])
        folder = RunFolder(tmp_path / views)
        folder.path.mkdir()
        save_encoder(folder, build_encoder(recipe), recipe, 1, {})
        takes = json.loads(folder.card.read_text())["input"]
        assert (takes["views"][0]["shape"], takes["mean"], takes["std"]) == ([1, 12, 12], [0.449], [0.226])
        images = torch.randint(0, 256, (4, 1, 12, 12), dtype=torch.uint8)
        mean, std = (torch.tensor(takes[key]).view(1, -1, 1, 1) for key in ("mean", "std"))
        policy = build_views(recipe)
        assert torch.equal((images / 255 - mean) / std, policy.plain(images).tensor)

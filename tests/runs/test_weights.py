"""First weights from another run: what matches is taken, what does not is told, nothing at all is an error (T41)."""

import os

import pytest
import torch
from safetensors.torch import save_file

from ssl_zoo.errors import UserError
from ssl_zoo.methods.build import build
from ssl_zoo.methods.first_weights import put_weights, report
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.runs import checkpoint
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.runs.weights import initial_weights

SMALL = (
    "encoder={name: convnet, widths: [4, 8]}",
    "projector.dims=[6, 6, 6]",
    "predictor.dims=[3, 6]",
)


def method(*overrides: str):
    return build(load_recipe("simsiam", [*SMALL, *overrides]))


@pytest.fixture
def run(tmp_path):
    """A run folder with a checkpoint of a method of seed 1."""
    trained = method("seed=1")
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    checkpoint.save(folder.checkpoint, {"method": trained.state_dict()})
    save_file(trained.encoder.state_dict(), folder.encoder)
    return folder, trained


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_named_components_are_taken_and_no_others(run):
    folder, trained = run
    fresh = method("seed=2")
    started = build(load_recipe("simsiam", [*SMALL, "seed=2"]), weights=initial_weights(folder.path, ("encoder",)))
    assert same(started.encoder, trained.encoder) and not same(started.encoder, fresh.encoder)
    assert same(started.projector, fresh.projector) and same(started.predictor, fresh.predictor)
    all_three = initial_weights(folder.path, ("encoder", "projector", "predictor"))
    started = build(load_recipe("simsiam", [*SMALL, "seed=2"]), weights=all_three)
    assert same(started, trained)


def test_a_target_network_starts_as_the_network_with_the_weights_that_were_taken(run):
    folder, trained = run
    recipe = load_recipe("simsiam", [*SMALL, "seed=2", "target=ema"])
    started = build(recipe, weights=initial_weights(folder.path, ("encoder",)))
    assert same(started.target.network.encoder, trained.encoder)


def test_a_safetensors_file_is_an_encoder(run):
    folder, trained = run
    weights = initial_weights(folder.encoder, ("encoder",))
    assert weights["encoder"].keys() == trained.encoder.state_dict().keys()
    with pytest.raises(
        UserError, match=r"^--init-part projector: .*encoder\.safetensors holds no weights of the projector"
    ):
        initial_weights(folder.encoder, ("encoder", "projector"))


def test_what_matched_and_what_did_not_is_reported(run):
    folder, trained = run
    weights = initial_weights(folder.path, ("encoder", "projector"))
    other = build(load_recipe("simsiam", [*SMALL, "projector.dims=[6, 6, 5]", "predictor.dims=[3, 5]"]))
    put_weights(other.projector, weights["projector"], "projector")
    lines = report(other, weights)
    assert lines[0] == "--init-from: encoder: 12 of 12 tensors taken"
    rest = "6.weight is 6x6, here 5x6, 7.running_mean is 6, here 5, 7.running_var is 6, here 5"
    assert lines[1] == f"--init-from: projector: 13 of 16 tensors taken; 3 of another shape: {rest}"
    taken = other.projector.state_dict()
    assert torch.equal(taken["0.weight"], trained.projector.state_dict()["0.weight"])


def test_no_match_is_an_error_and_counters_are_no_match(run):  # T41
    folder, _ = run
    weights = initial_weights(folder.path, ("encoder",))
    # Every shape differs but that of BatchNorm's counters, which are scalars in any network.
    wide = load_recipe("simsiam", [*SMALL, "encoder.widths=[5, 9]"])
    with pytest.raises(
        UserError, match="none of its 12 encoder tensors matches one of the 12 of this recipe's encoder"
    ):
        build(wide, weights=weights)
    renamed = {f"net.{name}": value for name, value in weights["encoder"].items()}
    with pytest.raises(UserError, match=r"\(nearest: its net\.body\.0\.weight, here body\.0\.weight\)"):
        put_weights(method().encoder, renamed, "encoder")


def test_what_holds_no_weights_is_told(run, tmp_path):
    folder, _ = run
    with pytest.raises(
        UserError, match="^--init-part encodr: .* holds no weights of the encodr; did you mean 'encoder'"
    ):
        initial_weights(folder.path, ("encodr",))
    os.mkfifo(tmp_path / "pipe.pth")
    (tmp_path / "weights.h5").touch()
    for source, words in {
        tmp_path / "nowhere": "there is no such file or folder; give a run folder, a .safetensors file or a .pth file",
        folder.path / "nothing.safetensors": "there is no such file or folder",
        tmp_path: "is a folder without weights",
        tmp_path / "pipe.pth": "is no regular file",
        tmp_path / "weights.h5": r"is neither a run folder nor a file of weights \(.safetensors, .pth, ",
    }.items():
        with pytest.raises(UserError, match=f"--init-from {source}: {words}"):
            initial_weights(source, ("encoder",))
    for data in (b"", b"text that is no weights", folder.encoder.read_bytes()[:-10]):
        folder.encoder.write_bytes(data)
        with pytest.raises(UserError, match=r"encoder\.safetensors: is not a readable safetensors file"):
            initial_weights(folder.encoder, ("encoder",))
    checkpoint.save(folder.checkpoint, {"method": {"target.network.x": torch.ones(1)}})
    with pytest.raises(UserError, match="holds no weights of the encoder"):
        initial_weights(folder.path, ("encoder",))


def test_a_file_of_torch_save_is_an_encoder_and_never_executed(run, tmp_path):
    folder, trained = run
    state, path = trained.encoder.state_dict(), tmp_path / "weights.pth"
    for held in (state, {"state_dict": state, "epoch": 3}, {"model": state}):
        torch.save(held, path)
        assert initial_weights(path, ("encoder",))["encoder"].keys() == state.keys()
    torch.save(state, path)
    whole = path.read_bytes()
    torch.save(state, path, _use_new_zipfile_serialization=False)  # as torch wrote them before 1.6
    assert initial_weights(path, ("encoder",))["encoder"].keys() == state.keys()
    old = path.read_bytes()
    for data in (b"", b"text", whole[:-30], whole[: len(whole) // 2], old[:90], whole[:200] + b"x" * 200 + whole[400:]):
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"--init-from .*weights\.pth: is not a whole file of"):
            initial_weights(path, ("encoder",))
    for held, words in {
        3: "is no state dict",
        (1, 2): "is no state dict",
        "nested": "is no state dict",
        RunFolder: r"holds more than tensors and plain values \(ssl_zoo\.runs\.folder\.RunFolder\), which is not read",
    }.items():
        torch.save({"epoch": {"a": {"b": torch.ones(1)}}} if held == "nested" else held, path)
        with pytest.raises(UserError, match=words):
            initial_weights(path, ("encoder",))


def test_weights_that_are_not_finite_are_refused(run, tmp_path):
    _, trained = run
    state = {name: value.clone() for name, value in trained.encoder.state_dict().items()}
    state["body.0.weight"][0] = float("nan")
    with pytest.raises(UserError, match=r"1 of its encoder tensors are not finite .* for example body\.0\.weight"):
        put_weights(method().encoder, state, "encoder")


def test_a_folder_with_the_product_alone_is_enough(run):
    folder, trained = run
    folder.checkpoint.unlink()
    assert initial_weights(folder.path, ("encoder",))["encoder"].keys() == trained.encoder.state_dict().keys()

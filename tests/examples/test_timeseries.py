"""The modality of time series, a plug-in in one folder, through the ordinary commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ssl_zoo
from ssl_zoo import registry
from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.open import open_data
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.features import extract
from ssl_zoo.methods.build import build_modality, build_views
from ssl_zoo.rng import generator
from ssl_zoo.runs import checkpoint
from tests import contract
from tests.cli.conftest import run
from tests.examples.conftest import EXAMPLES, ran, sort, write_series
from tests.runs.test_killed import same_end

RECIPE = EXAMPLES / "timeseries" / "simsiam.yaml"
IMPORT = ("--import", "timeseries")
SMALL = (
    "-s", "encoder.widths=[8, 16]", "-s", "projector.dims=[16, 16]", "-s", "predictor.dims=[8, 16]",
    "-s", "views.length=32", "-s", "training.batch_size=8", "-s", "training.log_every=1", "-s", "data.num_workers=0",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def registered(plugins: Path) -> None:
    registry.import_user_module("timeseries")


@pytest.fixture(scope="module")
def trained(series: Path, tmp_path_factory) -> Path:
    """The folder of a finished run; not to be changed."""
    out = tmp_path_factory.mktemp("run") / "run"
    ran(run("train", RECIPE, *IMPORT, "--data", series, *SMALL, "--max-steps", 6, "--out", out))
    return out


@pytest.mark.parametrize("kind, name", [("modality", "timeseries"), ("views", "series"), ("encoder", "conv1d")])
def test_the_contract_of_its_parts(kind: str, name: str) -> None:
    contract.check_documented(kind, name)
    checks = {"modality": contract.check_modality, "views": contract.check_views, "encoder": contract.check_encoder}
    checks[kind](name, sort())


@pytest.mark.parametrize("method", ["simsiam", "vicregl"])
def test_the_contract_of_methods_on_it(method: str) -> None:
    """Also of the one that matches places: views say where they were cut from, the encoder has features of places."""
    overrides = ["encoder=conv1d", "encoder.widths=[8, 16]", "views=series", "views.length=32", "projector.dims=[8, 8]"]
    also = {"simsiam": ["predictor.dims=[4, 8]"], "vicregl": ["local_projector.dims=[8, 8]", "location_matches=4"]}
    contract.check_method(ssl_zoo.load_recipe(method, [*overrides, *also[method]]), sort())


def test_it_trains_and_is_evaluated(trained: Path) -> None:
    summary = json.loads((trained / "summary.json").read_text())
    assert summary["status"] == "done" and summary["data"]["source"]["name"] == "folder"
    for results in (summary["metrics"], summary["baselines"]["raw"], summary["baselines"]["untrained"]):
        assert set(results) == {"knn", "linear", "label_free"} and 0 <= results["knn"]["top1"] <= 1
    assert '"collapse": {' in (trained / "summary.json").read_text()
    evaluated = json.loads(run("eval", trained, *IMPORT, "--protocol", "knn", "--json").stdout)
    assert evaluated["encoder"]["knn"] == summary["metrics"]["knn"]


def test_series_of_several_lengths_are_read_as_they_are_needed(series: Path) -> None:
    recipe = ssl_zoo.load_recipe(str(RECIPE), data=str(series))
    policy = build_views(recipe)
    train = open_data(recipe.data.source, build_modality(recipe, policy.spec)).train
    assert not train.stacked and train.read(0).dtype == torch.float32
    assert {tuple(train.read(i).shape) for i in range(4)} == {(3, 40), (3, 43), (3, 46), (3, 49)}


def test_it_resumes_exactly(series: Path, trained: Path, tmp_path: Path) -> None:
    recipe = ssl_zoo.load_recipe(str(RECIPE), [*SMALL[1::2], "training.max_steps=6"], data=str(series))
    stopped = ssl_zoo.train(recipe, out=tmp_path / "run", stop_at=3, log=lambda line: None)
    assert stopped["status"] == "interrupted"
    ran(run("train", tmp_path / "run", *IMPORT, "--resume"))
    assert same_end(tmp_path / "run", trained)


def test_its_encoder_is_exported(series: Path, trained: Path) -> None:
    """`load_encoder` gives the features that the run's evaluation saw; the card states the views."""
    card = json.loads((trained / "encoder.json").read_text())
    assert card["input"]["modality"] == "timeseries" and card["imports"] == ["timeseries.encoders", "timeseries.views"]
    assert [view["shape"] for view in card["input"]["views"]] == [[3, 32], [3, 32]]
    recipe = ssl_zoo.load_recipe(str(trained))
    policy = build_views(recipe)
    train = open_data(recipe.data.source, build_modality(recipe, policy.spec)).train
    encoder = ssl_zoo.load_encoder(trained)
    method = ssl_zoo.build(recipe)
    method.load_state_dict(checkpoint.load(trained / "checkpoints" / "last.pt")["method"])
    ours, exported = (extract(each, policy, train, device="cpu").x for each in (method.encoder, encoder))
    assert torch.equal(ours, exported) and exported.shape == (32, 16) and exported.std() > 0


def test_two_recipes_are_compared_and_pictured(series: Path, tmp_path: Path) -> None:
    other = tmp_path / "denoising.yaml"
    other.write_text(RECIPE.read_text().replace("jitter: 0.1", "jitter: 0.5"))
    few = ("-s", "training.max_steps=3", "-s", "evaluation.protocols=[knn]", "-s", "evaluation.limit=16")
    out = ran(run("compare", RECIPE, other, *IMPORT, "--data", series, *SMALL, *few, "--out", tmp_path / "compare"))
    assert "denoising" in out and "simsiam" in out
    page = (tmp_path / "compare" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2  # the views of both
    assert ran(run("views", RECIPE, *IMPORT, "--data", series, *SMALL, "--out", tmp_path / "v.png", "--samples", 3))
    picture = np.asarray(Image.open(tmp_path / "v.png"))
    assert picture.shape == (3 * 64, 3 * 160, 3) and picture.std() > 0


def test_data_check_counts_and_names_bad_files(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "series", num=2)
    known = ("data", "check", folder, *IMPORT, "--modality", "timeseries")
    report = ran(run(*known))
    assert "train: 4 samples, 0 bad" in report and "time steps: 40 (2), 43 (2)" in report and "mean" not in report
    bad = {
        "words.csv": ("x,y,z\n1,2,three\n", "could not convert string 'three' to float64"),
        "ragged.csv": ("1,2,3\n4,5\n", "the number of columns changed from 3 to 2 at row 2"),
        "narrow.csv": ("1,2\n3,4\n", "it has 2 channels, not 3; set views.channels"),
        "empty.csv": ("", "it has no rows of numbers"),
        "hole.csv": ("1,2,3\n4,nan,6\n", "channel 2 is not finite at time step 2"),
        "large.csv": ("1,2,1e39\n", "channel 3 is not finite at time step 1"),
    }
    for name, (text, _) in bad.items():
        (folder / "train" / "slow" / name).write_text(text)
    np.save(folder / "train" / "slow" / "object.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(folder / "train" / "slow" / "empty.npy", np.zeros((0, 3)))
    (folder / "train" / "slow" / "cut.npy").write_bytes((folder / "train" / "slow" / "00.npy").read_bytes()[:200])
    report = ran(run(*known, "--json"), code=1)
    found = {Path(name).name: reason for name, reason in json.loads(report)["train"]["bad"].items()}
    assert set(found) == {*bad, "object.npy", "empty.npy", "cut.npy"}
    assert {name: found[name] for name, (_, reason) in bad.items() if reason not in found[name]} == {}
    assert "allow_pickle" in found["object.npy"] and found["empty.npy"] == "it has no time steps"
    shutil.rmtree(folder / "test")
    words = run("train", RECIPE, *IMPORT, "--data", folder, *SMALL, "--max-steps", 2, "--out", tmp_path / "out")
    assert (
        words.exit_code != 0 and "Traceback" not in words.output and f"cannot read {folder}/train/slow/" in words.output
    )


def test_rows_may_be_channels(tmp_path: Path) -> None:
    spec = sort().spec
    data = b"1,2,3,4\n5,6,7,8\n9,10,11,12\n"
    rows = registry.build("modality", "timeseries", {"time_first": False}, spec=spec)
    assert rows.decode(data, "a")[1].tolist() == [5, 6, 7, 8]
    with pytest.raises(BadSample, match="4 channels, not 3"):
        registry.build("modality", "timeseries", {}, spec=spec).decode(data, "a")


def test_a_view_is_the_part_of_the_series_that_its_box_states() -> None:
    """On a ramp, without noise, a crop's first and last values tell where it was cut."""
    options = {"num_views": 2, "channels": 1, "length": 50, "scale": [0.3, 0.6], "jitter": 0, "scaling": 0, "drop": 0}
    policy = registry.build("views", "series", options)
    ramp = torch.linspace(-1, 1, 100)[None].repeat(5, 1, 1)
    views = policy(policy.collate(ramp, policy.draw(generator(0, "views"), 5)))
    for view in views:
        start, extent, _ = view.aux["box"][..., 0].unbind(dim=1)
        middle = view.tensor.mean(dim=(1, 2)) * ramp[0].std(correction=0)
        torch.testing.assert_close(middle, -1 + 2 * (100 * (start + extent / 2) - 0.5) / 99, rtol=0, atol=1e-2)
    assert policy.plain([ramp[0]]).tensor.shape == (1, 1, 50)


def test_one_channel_stays() -> None:
    policy = registry.build("views", "series", {"drop": 1.0, "length": 20})
    views = policy(policy.collate(torch.randn(6, 3, 30), policy.draw(generator(0, "views"), 6)))
    assert all(((view.tensor != 0).any(dim=2).sum(dim=1) == 1).all() for view in views)


def test_a_folder_of_images_is_not_read_as_series(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "images" / "a.png")
    with pytest.raises(UserError, match=r"a\.png|no file|\.csv"):
        recipe = ssl_zoo.load_recipe(str(RECIPE), data=str(tmp_path / "images"))
        open_data(recipe.data.source, build_modality(recipe, build_views(recipe).spec))


def test_the_package_does_not_know_it() -> None:
    root = Path(ssl_zoo.__file__).parent
    files = [path for path in root.rglob("*") if path.suffix in (".py", ".html", ".yaml")]
    assert len(files) > 100
    words = ("timeseries", "time series", "masked_view", "conv1d.py")
    assert [str(path) for path in files if any(word in path.read_text().lower() for word in words)] == []

"""`data shard`, and the commands on what it wrote: `data check`, `data stats`, `views`, `train` with a stop between."""

import json
from pathlib import Path

import pytest
import torch

from ssl_zoo import load_recipe, train
from ssl_zoo.runs import checkpoint
from ssl_zoo.runs.folder import RunFolder
from tests.data.sources.test_shards import picture


@pytest.fixture
def photos(tmp_path):
    for i in range(90):
        path = tmp_path / "photos" / ("train" if i < 64 else "test") / f"{i % 2}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(i))
    return tmp_path / "photos"


def test_shards_are_written_looked_at_and_trained_on(cli, photos, tiny):
    result = cli("data", "shard", photos, "--out", "out", "--shards", 2, "--row-group", 8, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["out"] == "out" and report["left_out"] == {} and report["notes"] == []
    assert {name: (of["samples"], of["shards"], of["row_groups"]) for name, of in report["splits"].items()} == {
        "train": (64, 2, 8), "test": (26, 2, 4),
    }  # fmt: skip
    text = cli("data", "check", "out", "--channels", 1).stdout
    assert "train: 64 samples, 0 bad" in text and "classes: 2: 0 (32), 1 (32)" in text and "holds up to 8" in text
    stats = [cli("data", "stats", source, "--channels", 1).stdout for source in (photos, "out")]
    assert stats[0] == stats[1] and "mean" in stats[0]
    views = cli("views", tiny, "--data", "out", "--out", "views.png")
    assert views.exit_code == 0, views.output
    how = ["data.cache=none", "views.channels=1", "training.max_steps=6", "evaluation.protocols=[label_free]"]
    recipe = load_recipe(str(tiny), how, data="out")
    train(recipe, out="whole")
    assert train(recipe, out="parts", stop_at=3)["status"] == "interrupted"
    assert train("parts", resume=True)["status"] == "done"
    one, two = (checkpoint.load(RunFolder(Path(name)).checkpoint)["method"] for name in ("whole", "parts"))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_what_is_asked_for_wrongly(cli, photos):
    for arguments, words in (
        (["--shards", 2, "--shard-size", "1MB"], "--shards and --shard-size say the same"),
        (["--shard-size", "big"], "'big' is no size in bytes, such as 256MB or 1GiB"),
        (["--shard-size", "0"], "no size in bytes"),
        (["-s", "training.epochs=3"], "only options of data.source and data.decode are taken"),
        (["-s", "data.source.labls=none"], "labls"),
    ):
        result = cli("data", "shard", photos, "--out", "out", *arguments)
        assert result.exit_code == 2 and words in result.output, result.output
    assert cli("data", "shard", "gone", "--out", "out").exit_code == 2
    assert cli("data", "shard", photos, "--out", photos).exit_code == 2
    assert sorted(path.name for path in photos.parent.iterdir()) == ["photos"]

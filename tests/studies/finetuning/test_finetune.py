"""From a run and labels to a classifier that is used on new files."""

import csv
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file
from torchvision.transforms.functional import pil_to_tensor

import ssl_zoo
from ssl_zoo.cli import main
from ssl_zoo.errors import TrainingFailed, UserError
from ssl_zoo.methods.build import build_policy
from ssl_zoo.recipe.part import Part
from ssl_zoo.studies.finetuning.samples import mild_views
from tests.studies.finetuning.conftest import COLOURS, picture, write

QUICK = {"steps": 10, "batch_size": 8}


def finetune(run, out, data, lines=None, **options):
    log = (lambda line: None) if lines is None else lines.append
    return ssl_zoo.finetune(run, out=out, data=str(data), log=log, **{**QUICK, **options})


@pytest.fixture(scope="module")
def made(run, colours, tmp_path_factory):
    """A classifier of the colours and what was said of it, not to be changed."""
    out = tmp_path_factory.mktemp("made") / "classifier"
    return out, finetune(run, out, colours)


def test_what_a_line_can_tell_apart_is_told_apart(made):
    out, found = made
    assert found["accuracy"]["fine_tuned"] == {"held_out": 1.0, "test": 1.0}
    assert found["accuracy"]["raw"]["test"] == found["accuracy"]["linear"]["test"] == 1.0
    assert [row["class"] for row in found["per_class"]] == [*COLOURS]
    assert all((row["precision"], row["recall"], row["support"]) == (1.0, 1.0, 4) for row in found["per_class"])
    assert found["confusion"] == [[4, 0, 0], [0, 4, 0], [0, 0, 4]]
    assert found["samples"] == {"learn": 24, "held_out": 6, "test": 12}
    assert json.loads((out / "results.json").read_text())["accuracy"] == found["accuracy"]
    page = (out / "confusion.html").read_text()
    assert "100.0 % of 12 test samples right" in page and "dark red" in page


def test_the_classifier_is_used_on_new_files(made, tmp_path):
    out, _ = made
    for i, (name, colour) in enumerate(COLOURS.items()):
        picture(colour, seed=7).save(tmp_path / f"{i} {name}.png")
    found = ssl_zoo.predict(out, data=str(tmp_path), out=tmp_path / "found.csv", log=lambda line: None)
    assert [row["class"] for row in found["predictions"]] == [*COLOURS]
    assert [row["name"].endswith(f"{name}.png") for row, name in zip(found["predictions"], COLOURS, strict=True)]
    with (tmp_path / "found.csv").open() as file:
        assert [row["class"] for row in csv.DictReader(file)] == [*COLOURS]
    model = ssl_zoo.load_classifier(out)
    assert model.classes == [*COLOURS] and not model.training
    views = dict(json.loads((out / "encoder.json").read_text())["views"])
    plain = build_policy(Part(name=views.pop("name"), options=views)).plain
    x = plain(torch.stack([pil_to_tensor(picture(colour, seed=7)) for colour in COLOURS.values()])).tensor
    with torch.no_grad():
        named = [*model.named(model(x))]
    assert [name for name, _ in named] == [*COLOURS]
    files = [row["name"] for row in found["predictions"]]
    assert [name for name, _ in model.classify([tmp_path / Path(name).name for name in files])] == [*COLOURS]
    assert model.classify(picture(COLOURS["green"], seed=7))[0] == "green"
    expected = [row["probability"] for row in found["predictions"]]
    torch.testing.assert_close([share for _, share in named], expected, atol=1e-5, rtol=0)


def test_the_folder_is_evaluated_like_a_run(made, colours):
    out, _ = made
    results = ssl_zoo.evaluate(out, ["knn"], data=str(colours), log=lambda line: None)
    assert results["encoder"]["knn"]["top1"] == 1.0
    assert ssl_zoo.load_encoder(out).out_dim == 16


def test_it_is_a_function_of_its_seed_and_never_of_the_test(made, run, colours, tmp_path):
    out, _ = made
    other = shutil.copytree(colours, tmp_path / "other")
    for place in (other / "test").rglob("*.png"):
        Image.new("RGB", (12, 12), (9, 9, 9)).save(place)
    again = finetune(run, tmp_path / "again", other)
    finetune(run, tmp_path / "seed", colours, seed=1)
    for name in ("encoder.safetensors", "classifier.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes()
        assert (tmp_path / "seed" / name).read_bytes() != (out / name).read_bytes()
    assert again["accuracy"]["fine_tuned"]["test"] == pytest.approx(1 / 3)


def test_batch_norm_keeps_its_statistics_or_averages_those_of_the_batches(made, run, colours, tmp_path):
    finetune(run, tmp_path / "batch", colours, norm="batch", mixup=0.2)
    before = load_file(run / "encoder.safetensors")
    frozen, batch = (load_file(folder / "encoder.safetensors") for folder in (made[0], tmp_path / "batch"))
    means = [name for name in before if "running" in name]
    assert all(torch.equal(frozen[name], before[name]) for name in means)
    assert not any(torch.equal(batch[name], before[name]) for name in means)
    assert not torch.equal(frozen["body.0.weight"], before["body.0.weight"])


def test_labels_that_do_not_start_at_zero_keep_their_names(run, tmp_path):
    def table(num):
        rows = [(10 * (1 + i % 3), picture([*COLOURS.values()][i % 3], seed=num + i)) for i in range(num)]
        pictures = []
        for i, (_, each) in enumerate(rows):
            each.save(tmp_path / f"{i}.png")
            pictures.append({"bytes": (tmp_path / f"{i}.png").read_bytes(), "path": f"{i}.png"})
        return pa.table({"image": pictures, "label": [label for label, _ in rows]})

    (tmp_path / "data").mkdir()
    for split, num in (("train", 24), ("test", 9)):
        pq.write_table(table(num), tmp_path / "data" / f"{split}.parquet")
    found = finetune(run, tmp_path / "out", tmp_path / "data")
    assert [row["class"] for row in found["per_class"]] == ["10", "20", "30"]
    assert found["accuracy"]["fine_tuned"]["test"] == 1.0
    rows = ssl_zoo.predict(tmp_path / "out", data=str(tmp_path / "data"), log=lambda line: None)["predictions"]
    assert [row["class"] for row in rows] == ["10", "20", "30"] * 11


def test_it_learns_from_a_python_data_set(run, tmp_path):
    pairs = [(picture(colour, seed=i), y) for i in range(8) for y, colour in enumerate(COLOURS.values(), start=1)]
    found = ssl_zoo.finetune(run, out=tmp_path / "out", data=pairs, log=lambda line: None, **QUICK)
    assert [row["class"] for row in found["per_class"]] == ["1", "2", "3"]
    assert found["accuracy"]["fine_tuned"]["test"] == 1.0
    new = [picture(colour, seed=90) for colour in COLOURS.values()]
    rows = ssl_zoo.predict(tmp_path / "out", data=new, log=lambda line: None)["predictions"]
    assert [row["class"] for row in rows] == ["1", "2", "3"]


def test_classes_of_one_label_and_of_none_are_told(run, tmp_path):
    counts = {"train": {"blue": 6, "green": 6, "dark red": 1}, "test": {"blue": 2, "green": 2, "grey": 2}}
    lines: list[str] = []
    found = finetune(run, tmp_path / "out", write(tmp_path / "data", counts), lines)
    assert any("1 of 3 classes have one label (dark red): it is trained on, and none is held out" in x for x in lines)
    assert any("grey" in line for line in lines) and found["notes"] == lines
    rows = {row["class"]: row for row in found["per_class"]}
    assert rows["grey"] == {"class": "grey", "precision": None, "recall": 0.0, "support": 2}
    assert found["accuracy"]["fine_tuned"]["test"] < 0.67
    assert ssl_zoo.load_classifier(tmp_path / "out").classes == ["blue", "dark red", "green"]


def test_what_cannot_be_learnt_from_is_refused_and_nothing_is_left(made, run, colours, tmp_path):
    flat = write(tmp_path / "flat", {"train": {"blue": 3}})
    one = write(tmp_path / "one", {"train": {"blue": 4, "green": 4}, "test": {"blue": 2, "green": 2}})
    shutil.rmtree(one / "train" / "green")
    single = write(tmp_path / "single", {"train": dict.fromkeys(COLOURS, 1), "test": dict.fromkeys(COLOURS, 1)})
    out = tmp_path / "out"
    for data, options, words in (
        (flat / "train" / "blue", {}, "fine-tuning needs labels, and the data has none; put the samples of each class"),
        (one, {}, r"fine-tuning needs two classes, and all labels are of one \(blue\)"),
        (single, {}, "holds samples out to know when to stop, and none of 3 classes has two labels"),
        (colours, {"lr": -1.0}, "fine-tuning: lr: "),
        (colours, {"rate": 1.0}, "fine-tuning: rate: unknown key"),
        (colours, {"out": made[0]}, "exists; name a new folder"),
    ):
        with pytest.raises(UserError, match=words):
            finetune(run, options.pop("out", out), data, **options)
    with pytest.raises(TrainingFailed, match=r"the loss is not finite .* try a lower --lr"):
        finetune(run, out, colours, lr=1e30)
    with pytest.raises(UserError, match=r"holds no classifier .*; ssl-zoo finetune makes one"):
        ssl_zoo.load_classifier(run)
    assert not out.exists() and not [each for each in tmp_path.iterdir() if each.name.startswith(".")]


def test_a_head_of_another_classifier_is_refused(made, tmp_path):
    copy = shutil.copytree(made[0], tmp_path / "copy")
    card = json.loads((copy / "classifier.json").read_text())
    (copy / "classifier.json").write_text(json.dumps({**card, "classes": ["a", "b"]}))
    with pytest.raises(UserError, match=r"classifier\.safetensors: does not fit its card or its encoder"):
        ssl_zoo.load_classifier(copy)
    (copy / "classifier.json").write_text("{}")
    with pytest.raises(UserError, match="is not the card of a classifier"):
        ssl_zoo.load_classifier(copy)


def test_mild_views_are_crops_and_the_runs_flips():
    part = Part(name="augment", options={"size": 8, "num_views": 2, "flip": [0.0, 0.5], "blur": [1.0, 0.1]})
    mild = mild_views(build_policy(part), part)
    assert len(mild.spec.views) == 1 and mild.chance["flip"] == [0.0]
    assert mild.chance["jitter"] == mild.chance["grey"] == mild.chance["blur"] == [0.0]


def test_the_commands(run, colours, tmp_path):
    cli = CliRunner()
    out = tmp_path / "out"
    quick = ["--steps", "4", "--batch-size", "8", "--labels", "15"]
    done = cli.invoke(main, ["finetune", str(run), "--data", str(colours), "--out", str(out), *quick])
    assert done.exit_code == 0 and "| dark red |" in done.stdout and "ssl-zoo predict" in done.stdout
    assert "trained on 12 samples, stopped by 3, tested on 12" in done.stdout
    rows = cli.invoke(main, ["predict", str(out), "--data", str(colours), "--json"])
    assert len(json.loads(rows.stdout)["predictions"]) == 42
    again = cli.invoke(main, ["finetune", str(run), "--data", str(colours), "--out", str(out), *quick])
    assert again.exit_code == 2 and "exists" in again.stderr


def test_with_200_labels_it_beats_a_linear_probe_on_raw_pixels(tmp_path):
    """On digits that are scattered over a canvas, after 20 steps of self-supervised training."""
    small = ["encoder.widths=[8, 16, 32]", "training.max_steps=20", "evaluation.protocols=[]", "data.num_workers=0"]
    ssl_zoo.train(ssl_zoo.load_recipe("digits/simsiam", small), out=tmp_path / "run", log=lambda line: None)
    more = {"labels": 200, "steps": 100, "lr": 1e-2, "log": lambda line: None}
    found = ssl_zoo.finetune(tmp_path / "run", out=tmp_path / "out", **more)
    accuracy = found["accuracy"]
    assert accuracy["fine_tuned"]["test"] > accuracy["raw"]["test"] + 0.1

"""What a user gets wrong is one sentence on stderr and exit code 2, without a traceback, and nothing is written."""

import re
import shutil
from pathlib import Path

import pytest
from PIL import Image


def tree(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


@pytest.fixture
def refused(cli, tmp_path):
    """Runs a command that must be refused, and returns its sentence."""

    def run(*arguments: object) -> str:
        before = tree(tmp_path)
        result = cli(*arguments)
        assert result.exit_code == 2, result.output
        assert isinstance(result.exception, SystemExit) and "Traceback" not in result.output
        assert result.stdout == ""
        lines = result.stderr.splitlines()
        assert len(lines) == 1 and lines[0].startswith("error: "), result.stderr
        assert tree(tmp_path) == before
        assert not (tmp_path / "run").exists() or any(name.startswith("run/") for name in before)
        return lines[0].removeprefix("error: ")

    return run


@pytest.fixture
def images(tmp_path) -> Path:
    """40 images, a size of their own each where `size` grows; one cannot be read."""
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(40):
        Image.new("L", (14, 14), 5 * i).save(folder / f"{i:02}.png")
    (folder / "07.png").write_bytes((folder / "07.png").read_bytes()[:45])
    return folder


# Recipes, parts, keys, values


@pytest.mark.parametrize("command", ["train", "check", "views"])
def test_unknown_recipe(refused, command):
    assert refused(command, "simsam").startswith("unknown recipe 'simsam'; did you mean 'simsiam'? Known: simsiam, ")
    assert refused(command, "my/simsiam.yaml") == "recipe my/simsiam.yaml: there is no such file."
    assert refused("show", "simsam").startswith("there is no recipe or part called 'simsam'; did you mean 'simsiam'?")


def test_unknown_part(refused, tiny):
    tiny.write_text(tiny.read_text().replace("convnet", "convnext"))
    assert refused("train", tiny, "--out", "run").startswith(
        f"{tiny}: encoder: unknown encoder 'convnext'; did you mean 'convnet'? Known: "
    )
    words = refused("train", "simsiam", "-s", "encoder=timm/resnet_18", "--data", "digits", "--out", "run")
    assert words == "encoder 'timm/resnet_18': timm has no such model; did you mean 'resnet18'? See timm.list_models()."


def test_unknown_key_in_a_file_and_in_an_override(refused, tiny):
    tiny.write_text(tiny.read_text().replace("batch_size", "batchsize"))
    assert refused("train", tiny, "--out", "run").startswith(
        f"{tiny}: training.batchsize: unknown key; did you mean 'batch_size'? Known: batch_size, "
    )
    assert refused("train", "simsiam", "-s", "projector.dim=[8]", "--out", "run").startswith(
        "-s projector.dim=[8] on methods/simsiam.yaml: projector.dim: unknown key of head 'mlp'; did you mean 'dims'? "
    )


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.batch_size=0", "training.batch_size: 0 is not possible, it should be greater than or equal to 1."),
        ("views.flip=1.5", "views.flip: 1.5 is not possible, it should be less than or equal to 1 or be a list."),
        ("guard.patience=x", "guard.patience: 'x' is not possible, it should be a valid integer, unable to parse stri"),
        ("training.accumulate=3", "training.batch_size: 16 does not divide into 3 equal parts (training.accumulate)"),
    ],
)
def test_a_value_out_of_range(refused, tiny, override, words):
    assert f"{tiny}: {words}" in refused("train", tiny, "-s", override, "--out", "run")


@pytest.mark.parametrize("command", ["train", "check"])
def test_widths_that_do_not_join(refused, tiny, command):
    assert refused(command, tiny, "-s", "predictor.dims=[4, 6]") == (
        "predictor: ends in 6 dimensions but must predict the projector's 8; make the predictor's last width 8."
    )


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["views.flip=[0.5, 0.5, 0.5]"], "views.flip: 3 numbers for 2 views; give one, or one per view."),
        (["views.mean=[0.1, 0.2]"], "views.mean: 2 numbers for 3 channels; give one, or one per channel."),
        (
            ["training.groups=[{of: [predictr], lr_scale: 2}]"],
            "training.groups.0.of: no parameters are called 'predictr'",
        ),
        (["data.source.max_size=30"], "digits: sizes must be min_size <= max_size <= canvas, not 12, 30, 20."),
        (["views.channels=2", "views.jitter=0"], "digits gives 1 channel (grey) or 3 (RGB), not 2"),
    ],
)
def test_a_value_that_a_part_refuses(refused, tiny, overrides, words):
    changes = [word for override in overrides for word in ("-s", override)]
    assert words in refused("train", tiny, *changes, "--out", "run")


# Data


def test_no_data(refused):
    assert refused("train", "simsiam", "-s", "encoder=convnet", "-s", "views.size=8", "--out", "run") == (
        "the recipe names no data; give --data PATH (a folder, zip or parquet) or --data digits."
    )


def test_a_data_path_that_is_absent_empty_or_without_images(refused, tiny, tmp_path):
    assert refused("train", tiny, "--data", "imgs", "--out", "run").startswith(
        "--data imgs: no such file or folder, and no source of that name; did you mean 'digits'? Known: digits, "
    )
    (tmp_path / "empty").mkdir()
    assert refused("train", tiny, "--data", "empty", "--out", "run") == (
        "the folder empty is empty: there is no file in it or below."
    )
    (tmp_path / "texts").mkdir()
    for name in ("a.txt", "b.txt", "c.csv", "d"):
        (tmp_path / "texts" / name).touch()
    assert refused("train", tiny, "--data", "texts", "--out", "run").startswith(
        "the folder texts has 4 files but none to read: their endings are .txt (2), .csv (1), no ending (1); those "
    )
    assert "no source reads it as data of the modality 'image'" in refused(
        "train", tiny, "--data", "texts/a.txt", "--out", "run"
    )


def test_fewer_samples_than_a_batch(refused, tiny, images):
    (images / "07.png").unlink()
    words = refused("train", tiny, "--data", images, "-s", "training.batch_size=64", "--out", "run")
    assert words.startswith("the data have 39 samples, fewer than one batch of 64: lower batch_size to at most 39")


def test_a_batch_of_one_under_batch_norm(refused, tiny):
    changes = ("-s", "training.batch_size=4", "-s", "training.accumulate=4")
    assert refused("train", tiny, *changes, "--out", "run").startswith(
        "training.batch_size: a batch of 1 gives BatchNorm nothing to average over; use at least 2 samples"
    )


def test_a_corrupt_image_stops_by_default(refused, tiny, images):
    words = refused("train", tiny, "--data", images, "--out", "run")
    assert re.match(
        rf"cannot read {images}/07\.png: .*; correct or remove it, or set data\.on_error=skip to leave it out\.$", words
    )


def test_more_corrupt_images_than_the_budget_stop(refused, tiny, images):
    words = refused("train", tiny, "--data", images, "-s", "data.on_error=skip", "--out", "run")
    assert words.startswith("1 of 40 samples cannot be read and data.bad_budget=0.001 allows 0, for example ")
    assert words.endswith("; correct or remove them, or raise data.bad_budget.") and "07.png" in words


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_corrupt_images_within_the_budget_are_left_out_and_listed(cli, tiny, images, tmp_path, cache):
    skip = ("-s", "data.on_error=skip", "-s", "data.bad_budget=0.05", "-s", f"data.cache={cache}")
    # six epochs of two batches of 16 from 40: the bad one comes up
    result = cli("train", tiny, "--data", images, *skip, "--max-steps", 12, "--out", "run")
    assert result.exit_code == 0, result.output
    name, _, reason = (tmp_path / "run" / "bad_files.txt").read_text().strip().partition("\t")
    assert name == str(images / "07.png") and reason


def test_a_corrupt_image_that_comes_up_during_training_ends_the_run_in_one_sentence(cli, tiny, images, tmp_path):
    result = cli("train", tiny, "--data", images, "-s", "data.cache=none", "--max-steps", 12, "--out", "run")
    assert result.exit_code == 1 and "Traceback" not in result.output
    assert result.stderr.splitlines()[-1].startswith(f"failed: cannot read {images}/07.png: ")
    assert '"status": "failed"' in (tmp_path / "run" / "summary.json").read_text()


def test_a_protocol_that_needs_labels_where_there_are_none(refused, tiny, images, trained):
    (images / "07.png").unlink()
    assert "protocol 'knn' needs labels and the data has none" in refused(
        "eval", trained, "--data", images, "--protocol", "knn"
    )


# Runs


def copied(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_resume_with_another_recipe(refused, trained, tmp_path):
    copied(trained, tmp_path)
    words = refused("train", trained.parent / "tiny.yaml", "--out", "run", "--resume", "-s", "training.base_lr=0.1")
    assert words.startswith("--resume: run was started with training.base_lr = 0.05, and the recipe now has 0.1; give ")


def test_resume_where_nothing_is(refused, tiny):
    assert (
        refused("train", tiny, "--out", "run", "--resume") == "--resume: run holds no run; start one without --resume."
    )


def test_resume_takes_no_other_weights(refused, trained, tmp_path):
    run = copied(trained, tmp_path)
    words = refused("train", run, "--resume", "--init-from", trained)
    assert words == "--resume continues from a run's own weights; leave --init-from out."


def test_an_output_folder_that_is_taken(refused, tiny, trained, tmp_path):
    copied(trained, tmp_path)
    assert refused("train", tiny, "--out", "run") == (
        "--out run: holds another run; resume it by --resume, or name another folder."
    )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    assert refused("train", tiny, "--out", "mine") == "--out mine: is not empty and holds no run; name a new folder."
    assert "thesis.txt is a file; name a folder." in refused("train", tiny, "--out", "mine/thesis.txt/run")


def test_init_from_that_matches_nothing(refused, tiny, trained):
    words = refused("train", tiny, "--init-from", trained, "-s", "encoder.widths=[5, 9]", "--out", "run")
    assert words.startswith(
        "--init-from: none of its 12 encoder tensors matches one of the 12 of this recipe's encoder "
    )


def test_init_from_what_holds_nothing(refused, tiny, trained):
    assert refused("train", tiny, "--init-from", "nowhere", "--out", "run") == (
        "--init-from nowhere: there is no such file or folder; give a run folder, a .safetensors file or a .pth file."
    )
    assert refused("train", tiny, "--init-from", trained, "--init-part", "head", "--out", "run").startswith(
        f"--init-part head: {trained} holds no weights of the head. Known: "
    )


def test_eval_of_what_is_no_run(refused, tmp_path):
    (tmp_path / "folder").mkdir()
    for name in ("folder", "nowhere", "simsiam"):
        assert refused("eval", name) == f"{name}: holds no run (no recipe.yaml in it)."


def test_eval_by_an_unknown_protocol(refused, trained):
    assert refused("eval", trained, "--protocol", "knnn").startswith("unknown protocol 'knnn'; did you mean 'knn'?")


# The other options


def test_the_other_options(refused, tiny):
    assert refused("train", tiny, "--max-time", "soon", "--out", "run").startswith(
        "--max-time soon: give a time such as"
    )
    assert refused("train", tiny, "--import", "my_prts", "--out", "run").startswith(
        "--import my_prts: no module of that"
    )
    assert refused("check", "digits/simsiam", "--variant", "no_stop").startswith(
        "experiments/digits/simsiam.yaml: has no variant 'no_stop'; did you mean 'no_stop_gradient'?"
    )
    assert refused("check", tiny, "-s", "seed") == (
        "-s seed: an override is written KEY=VALUE, for example -s training.batch_size=256."
    )
    assert (
        refused("views", tiny, "--out", "nowhere/views.png")
        == "--out nowhere/views.png: the folder nowhere does not exist."
    )
    assert refused("list", "encodr").startswith(
        "there is nothing to list of the kind 'encodr'; did you mean 'encoder'?"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("train",),
        ("train", "simsiam", "--sed", 3),
        ("train", "simsiam", "--seed", -1),
        ("trian",),
        ("views", "simsiam", "--samples", 0),
    ],
)
def test_bad_usage_is_2_as_well(cli, arguments, tmp_path):
    result = cli(*arguments)
    assert result.exit_code == 2 and "Traceback" not in result.output and not list(tmp_path.iterdir())

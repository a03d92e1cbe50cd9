"""Habits of command lines: short options, hints, -q and -v, completion, --json everywhere, `doctor`."""

import json
import shutil
import sys

import click
import pytest
from click.shell_completion import ShellComplete

from ssl_zoo.cli import main, options

NO_RESULTS = {"completion", "schema"}
"""Commands that print a script, and JSON anyway."""


def every_command(group=main, above=""):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from every_command(command, f"{above}{name} ")
        else:
            yield above + name, command


def test_every_command_that_prints_results_prints_json():
    found = dict(every_command())
    assert len(found) > 15
    lacking = [name for name, command in found.items() if "--json" not in {o for p in command.params for o in p.opts}]
    assert set(lacking) == NO_RESULTS


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "simsiam", "--learning-rate", 3), "(give -s training.base_lr=VALUE)"),
        (("train", "simsiam", "--patience", 3), "(give -s guard.patience=VALUE)"),
        (("train", "simsiam", "--output-dir", "x"), "(give --out)"),
        (("train", "simsiam", "--fp16"), "(give -s training.precision=fp16)"),
        (("views", "simsiam", "--img-size", 3), "(give -s views.size=VALUE)"),
        (("eval", "run", "--checkpoint", "x"), "RUN@step500"),
        (("list", "--epochs", 3), "No such option '--epochs'.\n"),
        (("train", "simsiam", "--dota", "x"), "'--data'"),
    ],
)
def test_an_option_that_does_not_exist_is_answered_with_what_to_give(cli, arguments, said):
    result = cli(*arguments)
    assert result.exit_code == 2 and said in result.stderr and "No such option" in result.stderr, result.stderr


def test_short_options_are_overrides(cli, tiny):
    short = (
        "--epochs",
        0.03,
        "--batch-size",
        32,
        "--lr",
        1e-5,
        "--workers",
        0,
        "--precision",
        "bf16",
        "--keep-every",
        1,
    )
    quick = ("-s", "evaluation.protocols=[]", "-s", "evaluation.report_samples=0")
    result = cli("-q", "train", tiny, "--out", "run", *short, *quick)
    assert result.exit_code == 0 and result.stderr == "", result.output  # -q leaves the results
    assert "done: run" in result.stdout
    recipe = json.loads(cli("show", "run", "--json").stdout)
    training = recipe["training"]
    assert (training["epochs"], training["max_steps"], training["batch_size"]) == (0.03, None, 32)
    assert (training["base_lr"], training["precision"], recipe["data"]["num_workers"]) == (1e-5, "bf16", 0)
    result = cli("-v", "eval", "run@step1", "--protocol", "knn")
    assert result.exit_code == 0 and "s] run@step1: the encoder of step 1" in result.stderr
    result = cli("-v", "eval", "nothing")
    assert (
        result.exit_code == 2
        and "Traceback" in result.stderr
        and result.stderr.endswith("error: nothing: holds no run (no recipe.yaml in it).\n")
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--epochs", 1, "--max-steps", 2), "--epochs, --max-steps: both give the length of the run"),
        (("--lr", 1, "-s", "training.base_lr=2"), "--lr 1.0: -s sets training.base_lr too"),
        (("--lr", 0), "0.0 is not in the range x>0"),
        (("--workers", "many"), "data.num_workers"),
        (("--keep-every", "5 days"), "training.keep_every"),
    ],
)
def test_wrong_short_options(cli, arguments, words):
    result = cli("train", "simsiam", "--data", "digits", *arguments)
    assert result.exit_code == 2 and words in result.stderr and "Traceback" not in result.output


def test_quiet_makes_standard_error_no_terminal_for_progress_bars(monkeypatch):
    class Terminal:
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stderr", Terminal())
    options.set_loudness(quiet=True, verbose=False)
    assert not sys.stderr.isatty()
    options.set_loudness(quiet=False, verbose=False)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_shells_script(cli, shell):
    result = cli("completion", shell)
    assert result.exit_code == 0 and "_SSL_ZOO_COMPLETE" in result.stdout and result.stdout.startswith("# Install it:")


def test_names_are_completed(monkeypatch):
    complete = ShellComplete(main, {}, "ssl-zoo", "_SSL_ZOO_COMPLETE")

    def found(*arguments, last):
        return [(item.value, item.type) for item in complete.get_completions(list(arguments), last)]

    assert ("simsiam", "plain") in found("train", last="sims") and found("train", last="my/") == [("my/", "file")]
    assert found("show", last="head/ml") == [("head/mlp", "plain")]
    assert ("train", "plain") in found(last="tr")


def test_doctor(cli, tmp_path):
    result = cli("doctor", "--data", ".", "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 0 and report["problems"] == [] and report["folders"] == {"runs": "ok", ".": "ok"}
    assert report["machine"]["devices"][-1]["kind"] == "cpu" and report["machine"]["cores"] >= 1
    assert report["versions"]["torch"] and report["ffmpeg"] == shutil.which("ffmpeg")
    (tmp_path / "file").write_text("")
    result = cli("doctor", "--out", "file/runs", "--data", "nowhere")
    assert result.exit_code == 1 and result.stdout.count("problem: ") == 2 and "there is no such file" in result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]  # it leaves nothing behind


def test_a_stopped_run_names_the_module_that_it_needs(cli, tiny, tmp_path, monkeypatch, own_parts):
    (tmp_path / "my_habit.py").write_text(
        "from ssl_zoo.modalities.image.encoders.convnet import ConvNet\n"
        "from ssl_zoo.registry import register\n\n\n"
        "@register('encoder', 'my_convnet')\n"
        "class MyConvNet(ConvNet):\n"
        '    """A convnet of my own."""\n'
    )
    mine = ("--import", "my_habit")
    text = tiny.read_text().replace("name: convnet", "name: my_convnet")
    tiny.write_text(text)
    made = cli("train", tiny, "--out", "run", "--max-time", "0.000001s", *mine)
    assert made.exit_code == 75 and "--resume --import my_habit" in made.stdout
    monkeypatch.delitem(sys.modules, "my_habit")  # as in another process
    for command in (("train", "run", "--resume"), ("eval", "run"), ("embed", "run")):
        result = cli(*command)
        assert result.exit_code == 2 and "has parts of the module my_habit; give --import my_habit" in result.stderr

"""What `data check` and the start of a run tell about data, whatever the names in it."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from ssl_zoo.cli import main


@pytest.fixture
def odd(tmp_path) -> Path:
    """40 images in two classes with names that no terminal shows, one of them damaged; and a file that is not read."""
    root = tmp_path / "odd"
    for kind in ("line\nbreak", "tab\there"):
        (root / kind).mkdir(parents=True)
        for i in range(20):
            Image.new("L", (14, 14), 5 * i).save(root / kind / f"{i}.png")
    with open(os.fsencode(str(root / "tab\there")) + b"/caf\xe9.png", "wb") as file:
        file.write(b"no image")
    (root / "x.heic").touch()
    return root


def test_names_are_escaped_and_notes_printed(cli, odd):
    result = cli("data", "check", odd, "--channels", 1)
    assert result.exit_code == 1 and "Traceback" not in result.output
    lines = result.stdout.splitlines()
    assert "  classes: 2: line\\nbreak (20), tab\\there (21)" in lines
    assert f"  bad: {odd}/tab\\there/caf\\xe9.png: not an image" in result.stdout
    assert f"note: the folder {odd}: 1 file is not used, by the ending: .heic (1); for example x.heic." in lines
    report = json.loads(cli("data", "check", odd, "--channels", 1, "--json").stdout)
    assert report["train"]["classes"] == {"line\nbreak": 20, "tab\there": 21} and len(report["notes"]) == 2


def test_a_terminal_of_other_letters_is_enough(odd):
    (odd / "line\nbreak").rename(odd / "caf\u00e9")
    result = CliRunner(charset="iso8859-5").invoke(main, ["data", "check", str(odd), "--channels", "1"])
    assert result.exit_code == 1 and "caf\\xe9 (20)" in result.stdout


def test_options_of_the_source_are_turned_as_in_training(cli, odd):
    result = cli("data", "check", odd, "--channels", 1, "-s", "data.source.labels=none")
    assert "classes: none" in result.stdout
    result = cli("data", "check", odd, "-s", "training.epochs=3")
    assert result.exit_code == 2 and "only options of data.source and data.decode are taken" in result.stderr


def test_the_start_of_a_run_tells_them(cli, tiny, odd):
    skip = ("-s", "data.on_error=skip", "-s", "data.bad_budget=0.1", "-s", "evaluation.protocols=[]")
    result = cli("train", tiny, "--data", odd, *skip, "--max-steps", 1, "--out", "run")
    lines = result.stderr.splitlines()
    assert f"note: the folder {odd}: 1 file is not used, by the ending: .heic (1); for example x.heic." in lines
    assert any(line.startswith(f"left out {odd}/tab\\there/caf\\xe9.png: ") for line in lines)

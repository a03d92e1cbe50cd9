"""What may happen to a run from outside: bad files, odd names, other data, another process, edited files, commands."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ssl_zoo.training.monitor import Monitor
from tests.cli.conftest import TINY, run
from tests.killing import forked, in_child
from tests.runs.test_killed import same_end

LAZY = ("-s", "data.cache=none", "--max-steps", 6)
SKIP = ("-s", "data.on_error=skip", "-s", "data.bad_budget=0.2")


def fill(folder: Path, num: int = 20) -> Path:
    """Write grey images, in two classes."""
    for kind in ("cat", "dog"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for i in range(num):
            Image.new("L", (14, 14), 5 * i + 3).save(folder / kind / f"{i:02}.png")
    return folder


def summary(run: Path) -> dict[str, Any]:
    return json.loads((run / "summary.json").read_text())


def refused(result: Any, code: int = 2) -> str:
    """Return the one sentence of a command that was refused, or that failed."""
    assert result.exit_code == code and "Traceback" not in result.output, result.output
    line = result.stderr.splitlines()[-1]
    assert line.startswith("error: " if code == 2 else "failed: ")
    return line.partition(": ")[2]


def test_a_bad_file_in_the_middle_loses_no_step(cli, tiny, tmp_path):
    images = fill(tmp_path / "images")
    assert cli("train", tiny, "--data", images, *LAZY, "--out", "whole").exit_code == 0
    good = (images / "dog" / "11.png").read_bytes()
    (images / "dog" / "11.png").write_bytes(good[:40])
    words = refused(cli("train", tiny, "--data", images, *LAZY, "--out", "run"), code=1)
    assert words.startswith(f"cannot read {images}/dog/11.png: ")
    step = summary(tmp_path / "run")["steps"]
    assert step > 0 and f"Step {step} is saved; put readable samples in their places and resume with: " in words
    assert summary(tmp_path / "run")["status"] == "failed"
    assert refused(cli("train", "run", "--resume"), code=1).startswith(f"cannot read {images}/dog/11.png: ")
    shutil.copytree("run", "left-out")
    (images / "dog" / "11.png").write_bytes(good)
    assert (tmp_path / "run" / "bad_files.txt").read_text().startswith(f"{images}/dog/11.png\t")
    assert cli("train", "run", "--resume").exit_code == 0 and same_end(tmp_path / "run", tmp_path / "whole")
    assert not (tmp_path / "run" / "bad_files.txt").exists()
    (images / "dog" / "11.png").write_bytes(good[:40])
    assert cli("train", "left-out", "--resume", *SKIP).exit_code == 0
    assert (tmp_path / "left-out" / "bad_files.txt").read_text().startswith(f"{images}/dog/11.png\t")


def test_names_of_bad_files_take_nothing_away(cli, tiny, tmp_path):
    images = fill(tmp_path / "images")
    for name in (b"caf\xe9.png", b"line\nbreak.png", b"tab\there.png"):
        Path(os.fsdecode(os.fsencode(images / "cat") + b"/" + name)).write_bytes(b"no image")
    result = cli("train", tiny, "--data", images, *SKIP, "--out", "run")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "run" / "encoder.safetensors").is_file() and summary(tmp_path / "run")["problems"] == []
    lines = (tmp_path / "run" / "bad_files.txt").read_text(encoding="utf-8").splitlines()
    names = [line.partition("\t")[0].rpartition("/")[2] for line in lines]
    assert names == [r"caf\xe9.png", r"line\nbreak.png", r"tab\there.png"]
    assert all(name in result.stderr for name in names)


PLACES = [
    ("train", "RECIPE", "--out", "/proc/run"),
    ("views", "RECIPE", "--out", "/proc/views.png"),
    ("report", "RUN", "--out", "/proc/report.html"),
    ("compare", "RECIPE", "--out", "/proc/runs"),
    ("run", "digits/simsiam", "--out", "/proc/runs"),
    ("run", "digits/simsiam", "--results", "/proc/RESULTS.md"),
    ("demo", "--out", "/proc/demo"),
]


@pytest.mark.parametrize("arguments", PLACES, ids=" ".join)
def test_a_place_that_cannot_be_written_is_told_before_any_work(cli, tiny, trained, tmp_path, arguments):
    result = cli(*({"RECIPE": tiny, "RUN": trained}.get(word, word) for word in arguments))
    option, place = arguments[-2:]
    assert refused(result).startswith(f"{option} {place}") and "cannot be written: " in result.stderr
    assert len(result.stderr.splitlines()) == 1 and result.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


def test_a_page_of_bench_that_cannot_be_written_is_told_before_any_work(cli, tmp_path, monkeypatch):
    (tmp_path / "page.md").write_text("<!-- bench:begin -->\n<!-- bench:end -->\n")
    monkeypatch.setattr("ssl_zoo.runs.atomic.tempfile.TemporaryDirectory", _read_only)
    assert refused(cli("bench", "views", "--quick", "--write", "page.md")) == (
        "--write page.md: cannot be written: Read-only file system."
    )


def _read_only(**options: Any) -> None:
    raise OSError(30, "Read-only file system")


def test_other_data_are_refused_and_moved_data_are_found(cli, tiny, tmp_path):
    images = fill(tmp_path / "images")
    start = ("train", tiny, "--data", images, "--max-steps", 4)
    assert cli(*start, "--out", "whole").exit_code == 0
    for out in ("more", "moved"):
        assert cli(*start, "--out", out, "--max-time", "0.000001s").exit_code == 75
    Image.new("L", (14, 14)).save(images / "cat" / "new.png")
    before = {path: path.read_bytes() for path in (tmp_path / "more").rglob("*") if path.is_file()}
    assert refused(cli("train", "more", "--resume")).startswith(
        "--resume: more was started with 40 samples to train on, and the data now have 41: 1 new, for example"
    )
    assert {path: path.read_bytes() for path in (tmp_path / "more").rglob("*") if path.is_file()} == before
    (images / "cat" / "new.png").unlink()
    bytes_before = (images / "cat" / "05.png").read_bytes()
    (images / "cat" / "05.png").write_bytes(bytes_before + b"more")
    words = "other contents of its samples: 1 of another size, for example cat/05.png; give the same data"
    assert words in refused(cli("train", "more", "--resume"))
    (images / "cat" / "05.png").write_bytes(bytes_before)
    (images / "cat" / "05.png").rename(images / "cat" / "x.png")
    assert "was started with other names of its samples" in refused(cli("train", "more", "--resume"))
    (images / "cat" / "x.png").rename(images / "cat" / "05.png")
    images.rename(tmp_path / "elsewhere")
    resumed = cli("train", "moved", "--resume", "--data", tmp_path / "elsewhere")
    assert resumed.exit_code == 0, resumed.output
    assert "data: at another place than before: the same 40 samples as far as is compared" in resumed.stderr
    assert f"path: {tmp_path}/elsewhere" in (tmp_path / "moved" / "recipe.yaml").read_text()
    (tmp_path / "elsewhere").rename(images)
    assert [r["loss"] for r in records(tmp_path / "moved")] == [r["loss"] for r in records(tmp_path / "whole")]


def records(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def two_processes(folder: Path) -> None:
    (folder / "tiny.yaml").write_text(TINY)
    out, told = folder / "run", os.pipe()
    after_step = Monitor.after_step

    def first() -> None:
        def waiting(self: Monitor, step: Any) -> bool:
            if step.number == 2:
                os.write(told[1], b".")
                while not (folder / "go").exists():
                    time.sleep(0.01)
            return after_step(self, step)

        Monitor.after_step = waiting  # type: ignore[method-assign]
        assert run("train", folder / "tiny.yaml", "--out", out).exit_code == 0

    def both() -> None:
        child = os.fork()
        if not child:
            first()
            os._exit(0)
        os.read(told[0], 1)
        for again in (("train", folder / "tiny.yaml", "--out", out), ("train", out, "--resume")):
            words = refused(run(*again))
            assert words.startswith(f"{out}: process {child} on ") and "works in this run folder; wait until" in words
        (folder / "go").touch()
        assert os.waitpid(child, 0)[1] == 0
        assert [record["step"] for record in records(out)] == [1, 2, 3] and summary(out)["status"] == "done"

    assert forked(both) == 0


def test_a_second_process_is_told_of_the_first(tmp_path):
    in_child(two_processes, tmp_path)


def test_a_run_is_not_started_over_beside_it(cli, tiny, tmp_path):
    assert cli("train", tiny, "--out", "my run", "--max-time", "0.000001s").stdout == (
        "stopped at step 1; resume with: ssl-zoo train 'my run' --resume\n"
    )
    assert refused(cli("train", "my run")) == (
        "my run: is a run; resume it by `ssl-zoo train 'my run' --resume`, or name a folder for a new run of its "
        "recipe with --out."
    )
    assert not (tmp_path / "runs").exists()
    assert cli("train", "my run", "--out", "new", "--max-steps", 1).exit_code == 0


def test_a_finished_run_is_not_evaluated_again(cli, trained, tmp_path):
    shutil.copytree(trained, "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    result = cli("train", "run", "--resume", "--json")
    assert result.exit_code == 0 and json.loads(result.stdout) == summary(trained)
    assert result.stderr == "run: this run is finished; to measure it again: ssl-zoo eval run\n"
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before
    (tmp_path / "run" / "encoder.safetensors").unlink()  # unless something of it is missing
    assert cli("train", "run", "--resume").exit_code == 0 and same_end(tmp_path / "run", trained)


def test_a_command_names_the_modules_that_it_needs(cli, tiny, tmp_path, monkeypatch):
    (tmp_path / "my_parts_of_life.py").write_text("")
    result = cli("train", tiny, "--out", "run", "--max-time", "0.000001s", "--import", "my_parts_of_life")
    assert result.stdout.endswith("resume with: ssl-zoo train run --resume --import my_parts_of_life\n")


@pytest.mark.parametrize(
    ("file", "content", "commands", "words"),
    [
        ("summary.json", b"", ("report", "resume"), "run/summary.json: is cut short or no JSON; remove it and resume"),
        (
            "summary.json",
            b"{}",
            ("report", "resume"),
            "run/summary.json: is not a summary of ssl_zoo (status: fie",
        ),
        ("metrics.jsonl", b"{}\n", ("report",), "run/metrics.jsonl: line 1 is not a record of a run of ssl_zoo."),
        ("recipe.yaml", b"", ("report", "resume", "eval"), "run/recipe.yaml: a recipe is a mapping of keys to values"),
        ("recipe.yaml", b"a: [", ("report", "resume", "eval"), "run/recipe.yaml: is not valid YAML"),
        ("recipe.yaml", None, ("report", "resume", "eval"), "run: holds no run"),
    ],
)
def test_damaged_files_are_one_sentence(cli, trained, tmp_path, file, content, commands, words):
    shutil.copytree(trained, "run")
    (tmp_path / "run" / file).unlink()
    if content is not None:
        (tmp_path / "run" / file).write_bytes(content)
    calls = {"report": ("report", "run"), "resume": ("train", "run", "--resume"), "eval": ("eval", "run")}
    for each in commands:
        if file != "recipe.yaml" or content is not None or each != "resume":
            assert refused(cli(*calls[each])).startswith(words)


def test_an_edited_recipe_and_the_checkpoint_of_another_are_told(cli, tiny, tmp_path):
    for out, seed in (("run", 0), ("other", 1)):
        assert cli("train", tiny, "--out", out, "--seed", seed, "--max-time", "0.000001s").exit_code == 75
    recipe = tmp_path / "run" / "recipe.yaml"
    text = recipe.read_text()
    recipe.write_text(text.replace("base_lr: 0.05", "base_lr: 0.5"))
    words = "--resume: run was started with training.base_lr = 0.05, and the recipe now has 0.5; give the same recipe"
    assert refused(cli("train", "run", "--resume")).startswith(words)
    recipe.write_text(text)
    shutil.copy("other/checkpoints/last.pt", "run/checkpoints/last.pt")
    assert refused(cli("train", "run", "--resume")).startswith(
        "--resume: run was started with seed = 1, and the recipe"
    )
    (tmp_path / "run" / "checkpoints" / "last.pt").write_bytes(b"PK")
    assert refused(cli("train", "run", "--resume")).startswith("run/checkpoints/last.pt: is damaged, or no checkpoint")
    (tmp_path / "run" / "checkpoints" / "last.pt").unlink()
    assert refused(cli("train", "run", "--resume")).startswith(
        "--resume: run holds no checkpoint to resume from; start"
    )


def test_a_clock_that_goes_back_makes_no_negative_time(cli, tiny, tmp_path, monkeypatch):
    now = [2e9]

    def back() -> float:
        now[0] -= 1000
        return now[0]

    monkeypatch.setattr(time, "time", back)
    assert cli("train", tiny, "--out", "run").exit_code == 0
    found = summary(tmp_path / "run")
    assert found["wall_s"] >= found["train_s"] > 0 and found["samples_per_s"] > 0
    assert 0 <= found["data_wait_fraction"] <= 1


def test_a_reader_that_is_killed_is_one_sentence(cli, tiny, tmp_path, monkeypatch):
    import multiprocessing

    after_step = Monitor.after_step

    def killed(self: Monitor, step: Any) -> bool:
        if step.number == 2:
            for child in multiprocessing.active_children():
                child.kill()
        return after_step(self, step)

    images = fill(tmp_path / "images")
    options = ("--data", images, "-s", "data.cache=none", "--max-steps", 40, "--out", "run")
    with monkeypatch.context() as patched:
        patched.setattr(Monitor, "after_step", killed)
        words = refused(cli("train", tiny, *options, "-s", "data.num_workers=1"), code=1)
    assert words.startswith("a process that reads data was lost (") and "try fewer data.num_workers" in words
    assert summary(tmp_path / "run")["status"] == "failed"
    assert cli("train", "run", "--resume", "-s", "data.num_workers=0").exit_code == 0
    assert cli("train", tiny, *options[:-1], "whole", "-s", "data.num_workers=0").exit_code == 0
    assert [r["loss"] for r in records(tmp_path / "run")] == [r["loss"] for r in records(tmp_path / "whole")]

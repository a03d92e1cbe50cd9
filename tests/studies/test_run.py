"""Studies: which settings, what is skipped, what goes on, and what RESULTS.md and the report say."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from ssl_zoo.cli import main
from ssl_zoo.errors import UserError
from ssl_zoo.recipe.load import experiment_names, read_experiment
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.studies.compare import compare
from ssl_zoo.studies.run import experiments_of, run_study, settings_of

EXPERIMENT = {
    "method": "simsiam",
    "data": "digits",
    "set": {
        "encoder": {"name": "convnet", "widths": [4, 8]},
        "projector.dims": [8, 8],
        "predictor.dims": [4, 8],
        "views": {"name": "augment", "size": 12, "jitter": 0.0, "grey": 0.0, "blur": 0.0, "mean": [0.5], "std": [0.5]},
        "guard.every": 2,
    },
    "training": {"batch_size": 32, "max_steps": 4, "log_every": 1},
    "evaluation": {"protocols": ["knn", "label_free"], "limit": 60},
    "seeds": [0, 1],
    "variants": {"shared": {"target": "shared"}},
    "expect": {"base": ["status == done", "knn.top1 > 2"]},
}


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    folder = tmp_path / "toy"
    folder.mkdir()
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(EXPERIMENT))
    return path


def silent(line: str) -> None:
    """Say nothing."""


def test_the_settings_of_an_experiment_are_its_base_its_variants_and_its_grid(tmp_path: Path) -> None:
    targets = {name: {"target": name} for name in ("ema", "shared")}
    axes = {"target": targets, "lr": {"low": {"training.base_lr": 0.01}}}
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump({**EXPERIMENT, "grid": axes}, sort_keys=False))
    settings = settings_of(experiments_of(str(path)))
    assert [s.name for s in settings] == ["shared", "ema.low", "shared.low"]
    recipe = settings[1].load(7)
    assert (recipe.target.name, recipe.training.base_lr, recipe.seed) == ("ema", 0.01, 7)
    assert [s.seeds for s in settings_of(experiments_of(str(path)), seeds=[5])] == [(5,)] * 3
    with pytest.raises(UserError, match="did you mean 'shared'"):
        settings_of(experiments_of(str(path)), ["sharde"])


def test_a_mistake_in_an_expectation_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump({**EXPERIMENT, "expect": {"base": ["status == done + 1"]}}))
    with pytest.raises(UserError, match="uses status as a number"):
        settings_of(experiments_of(str(path)))


def test_every_shipped_experiment_has_settings_that_load() -> None:
    names = experiment_names()
    loaded = 0
    for name in names:
        for setting in settings_of(experiments_of(name)):
            setting.load(0)
            loaded += 1
        experiment = read_experiment(name)
        assert set(experiment.expect) <= {"base", *experiment.all_variants()}, f"{name}: expects of what is no variant"
    assert loaded >= len(names) >= 5
    assert {s.folder for s in settings_of(experiments_of("cifar10", ["byol", "simsiam"]), ["small"])} == {
        "byol-small", "simsiam-small",
    }  # fmt: skip
    with pytest.raises(UserError, match=r"--only byool: cifar10 has no such experiment; did you mean 'byol'"):
        experiments_of("cifar10", ["byool"])


def test_a_study_runs_all_seeds_and_skips_what_is_done(experiment: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    summaries = run_study(str(experiment), variants=["base"], out=out, log=silent)
    assert [(s["status"], s["seed"]) for s in summaries] == [("done", 0), ("done", 1)]
    text = (out / "toy" / "RESULTS.md").read_text()
    assert "- tiny: `status == done` holds (2 of 2 runs)" in text
    assert "- tiny: `knn.top1 > 2` FAILS (0 of 2 runs)" in text
    row = next(line for line in text.splitlines() if line.startswith("| tiny "))
    top1 = [100 * s["metrics"]["knn"]["top1"] for s in summaries]
    assert f"{sum(top1) / 2:.1f} +- {abs(top1[0] - top1[1]) / 2**0.5:.1f}" in row and row.rstrip(" |").endswith("2")
    before = {p: p.stat().st_mtime_ns for p in out.rglob("summary.json")}
    again = run_study(str(experiment), variants=["base"], out=out, log=silent)
    assert again == summaries and {p: p.stat().st_mtime_ns for p in out.rglob("summary.json")} == before
    shown = CliRunner().invoke(main, ["run", str(experiment), "--dry-run", "--json", "--out", str(out)])
    assert shown.exit_code == 0, shown.output
    base, shared = json.loads(shown.stdout)["settings"]
    assert (base["name"], base["runs"], base["done"], base["source"]) == ("tiny", 2, 2, "finished runs")
    assert (shared["name"], shared["done"], shared["steps"], shared["source"]) == ("shared", 0, 4, "measured")
    assert (shared["samples"], shared["seconds"] > 0) == (128, True) and not (
        out / "toy" / "tiny-shared-seed0"
    ).exists()
    with pytest.raises(UserError, match="max_steps"):
        run_study(str(experiment), variants=["base"], overrides=["training.max_steps=5"], out=out, log=silent)


def test_an_interrupted_run_of_a_study_goes_on(experiment: Path, tmp_path: Path) -> None:
    from ssl_zoo.recipe.load import load_recipe
    from ssl_zoo.training.train import train

    out = tmp_path / "runs"
    folder = out / "toy" / "tiny-seed0"
    assert train(load_recipe(str(experiment)), out=folder, stop_at=2, log=silent)["status"] == "interrupted"
    (summary,) = run_study(str(experiment), variants=["base"], seeds=[0], out=out, log=silent)
    assert (summary["status"], summary["steps"]) == ("done", 4)
    assert [r["step"] for r in RunFolder(folder).read_metrics()] == [1, 2, 3, 4]


class Tags(HTMLParser):
    """Collects the tags and what they would load."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for key, value in attrs if key in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_comparison_writes_one_page_that_loads_nothing(experiment: Path, tmp_path: Path) -> None:
    other = experiment.with_name("other.yaml")
    changed = {key: value for key, value in EXPERIMENT["set"].items() if key != "predictor.dims"}
    other.write_text(yaml.safe_dump({**EXPERIMENT, "method": "vicreg", "set": changed}))
    out = tmp_path / "out"
    overrides = ["objective=[negative_cosine, variance]"]
    groups = compare([str(experiment), str(other)], overrides=overrides, out=out, log=silent)
    assert [len(g.summaries) for g in groups] == [1, 1]
    page = Tags()
    page.feed((out / "report.html").read_text())
    assert "svg" in page.tags and page.tags.count("table") >= 2
    assert page.loads and all(load.startswith(("data:image/", "#")) for load in page.loads)  # its own parts
    assert "raw input" in page.text and "untrained encoder" in page.text
    results = (out / "RESULTS.md").read_text()
    assert "raw input" in results and "changed by: `-s 'objective=[negative_cosine, variance]'`." in results


def test_the_commands_print_a_table_and_write_the_report(experiment: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    result = CliRunner().invoke(main, ["run", str(experiment), "--seed", "0", "--variant", "shared", "--out", str(out)])
    assert result.exit_code == 0 and result.stdout.startswith("| representation "), result.output
    assert "<svg" in (out / "toy" / "report.html").read_text()
    run = out / "toy" / "tiny-shared-seed0"
    page = tmp_path / "page.html"
    result = CliRunner().invoke(main, ["report", str(run), "--out", str(page)])
    assert result.exit_code == 0 and result.stdout.strip() == str(page) and "<svg" in page.read_text()
    result = CliRunner().invoke(main, ["report", str(tmp_path / "none"), "--out", str(tmp_path / "x.html")])
    assert result.exit_code == 2 and "no finished run" in result.stderr and not (tmp_path / "x.html").exists()
    result = CliRunner().invoke(main, ["compare", str(experiment), "--json", "--out", str(tmp_path / "c")])
    assert result.exit_code == 0 and list(json.loads(result.stdout)["recipes"]) == ["tiny"]


def test_settings_with_equal_recipes_share_their_runs(experiment: Path, tmp_path: Path) -> None:
    same = {"variants": {"again": {"target": "stop_gradient"}}, "evaluation": {"protocols": ["knn"], "limit": 60}}
    experiment.write_text(yaml.safe_dump({**EXPERIMENT, **same, "expect": {"again": ["knn.top1 >= base:knn.top1"]}}))
    out = tmp_path / "runs"
    summaries = run_study(str(experiment), out=out, log=silent)
    assert [s["seed"] for s in summaries] == [0, 1, 0, 1] and summaries[:2] == summaries[2:]
    assert sorted(p.name for p in (out / "toy").glob("tiny-*")) == ["tiny-seed0", "tiny-seed1"]
    assert "- again: `knn.top1 >= base:knn.top1` holds" in (out / "toy" / "RESULTS.md").read_text()


def test_a_scale_is_run_where_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "scaled.yaml"
    path.write_text(yaml.safe_dump({**EXPERIMENT, "scales": {"small": {"set": {"training.max_steps": 2}}}}))
    experiments = experiments_of(str(path))
    assert [s.name for s in settings_of(experiments)] == ["scaled", "shared"]
    small = settings_of(experiments, ["small"])
    assert [(s.name, s.folder) for s in small] == [("small", "scaled-small"), ("small.shared", "scaled-small.shared")]
    assert small[1].load(0).training.max_steps == 2 and list(small[0].expect) == EXPERIMENT["expect"]["base"]

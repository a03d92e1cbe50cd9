"""The page: its values are those of the run files, names stay names, nothing is asked for from elsewhere."""

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from click.testing import CliRunner
from PIL import Image

from ssl_zoo.cli import main
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.report_data import counted
from ssl_zoo.report.aggregate import Group
from ssl_zoo.report.curves import panels, thinned
from ssl_zoo.report.embedding import coordinates, k_means
from ssl_zoo.report.html import MOST_MAPPED, script_json, write_report
from ssl_zoo.report.line_chart import Line, line_chart, number, powers, ticks
from ssl_zoo.report.recipes import differences
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.runs.report_data import ReportData, Shown, Tiles
from ssl_zoo.runs.report_file import write_report_data

NASTY = '</script><script>alert("1")</script>\'&amp;.png'
NUM = 40
ENVIRONMENT = ("hardware", "precision", "memory_format", "python", "ssl_zoo", "torch", "torchvision")


def jpeg(tiles: Tiles) -> tuple[Tiles, bytes]:
    out = io.BytesIO()
    Image.effect_noise(tiles.size, 64).convert("RGB").save(out, format="JPEG")
    return tiles, out.getvalue()


def left(labelled: bool = True, members: tuple[str, ...] = ("",), seed: int = 0) -> ReportData:
    """What a run might have left: clusters of points, one a class."""
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(NUM) % 4
    shown = []
    for member in members:
        points = torch.nn.functional.one_hot(y, 6).float() + 0.1 * torch.randn(NUM, 6, generator=g)
        queries, near = torch.tensor([0, 1]), torch.tensor([[4, 8, 3], [5, 9, 2]])
        spectra = {"encoder": torch.logspace(0, -3, 6), "untrained": torch.logspace(0, -1, 6)}
        one = Shown(member, 6, points, 1.0, queries, near, torch.tensor([[0.9, 0.8, 0.7]] * 2), spectra)
        if member == "words":
            one.texts = [f"text {i} {NASTY}" for i in range(NUM)]
        else:
            one.small = jpeg(Tiles(side=32, columns=7, num=NUM))
            one.large = jpeg(Tiles(side=96, columns=3, num=len(one.pictured)))
        shown.append(one)
    guesses = {"knn": counted(y, torch.where(torch.arange(NUM) < 4, (y + 1) % 4, y))} if labelled else {}
    names = [NASTY, *(f"sample {i}" for i in range(1, NUM))]
    return ReportData("test", 90, names, y if labelled else None, [f"class <{i}>" for i in range(4)], shown, guesses)


def summary(seed: int = 0) -> dict[str, Any]:
    return {
        "status": "done", "method": "mine", "seed": seed, "steps": 10, "epochs": 2.0, "train_s": 4.0,
        "samples_per_s": 100.0, "metrics": {"knn": {"top1": 0.9, "k": 5}}, "baselines": {},
        "collapse": {"status": "warned", "reason": "it fell", "step": 5, "metrics": {}}, "problems": [f"bad: {NASTY}"],
        "environment": dict.fromkeys(ENVIRONMENT, "x"),
    }  # fmt: skip


def group(root: Path, name: str, data: ReportData | None, seeds: int = 2, **recipe: Any) -> Group:
    """Runs in folders as a training leaves them."""
    runs = []
    for seed in range(seeds):
        run = RunFolder(root / f"{len(list(root.iterdir()))}")
        run.path.mkdir()
        plain = {
            "method": "mine",
            "data": {"source": {"name": "digits"}},
            "views": {"name": "augment"},
            "evaluation": {},
        }
        run.recipe.write_text(yaml.safe_dump({**plain, "encoder": {"name": "convnet"}, "seed": seed, **recipe}))
        for step in (1, 5, 10):
            embedding = {"std": 0.1 * step, "effective_rank": 3.0 + seed}
            run.append_metrics(
                {"step": step, "epoch": 1.0, "loss": step + seed, "terms": {"a": 1.0}, "embedding": embedding}
            )
        run.write_summary(summary(seed))
        if data is not None:
            write_report_data(run.report_data, data)
        runs.append(run.path)
    return Group(name, tuple(runs), tuple(map(summary, range(seeds))))


class Page(HTMLParser):
    """Checks that elements are closed in order, and keeps attributes, texts and scripts."""

    VOID = ("meta", "br", "img", "input", "link", "hr")

    def __init__(self, content: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(content)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.append((self.open[-1], data))

    def of(self, tag: str) -> list[str]:
        return [data for name, data in self.texts if name == tag]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("runs")
    groups = [
        group(root, "first & <best>", left()),
        group(root, "pairs", left(False, ("picture", "words"), seed=1), encoder={"name": "vit", "depth": 2}),
        group(root, "old", None),
    ]
    return write_report(groups, root / "report.html", f"Of {NASTY}").read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_small(page: str) -> None:
    found = Page(page)
    assert len(re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)) < 2**18
    headings = [int(tag[1]) for tag, _ in found.texts if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1 and all(b <= a + 1 for a, b in zip(headings, headings[1:], strict=False))
    assert all(alt for tag, name, alt in found.attributes if tag == "img" and name == "alt")
    ids = [value for _, name, value in found.attributes if name == "id"]
    links = [value[1:] for tag, name, value in found.attributes if tag == "a" and name == "href"]
    assert len(ids) == len(set(ids)) and set(links) <= set(ids) and len(links) >= 8


def test_nothing_is_asked_for_from_elsewhere(page: str) -> None:
    found = Page(page)
    for tag, name, value in found.attributes:
        if name in ("src", "href", "action", "data", "srcset"):
            assert value.startswith(("data:", "#")), (tag, name, value[:50])
        assert not name.startswith("on")
    policies = [value for tag, name, value in found.attributes if tag == "meta" and name == "content"]
    assert any(value.startswith("default-src 'none'; img-src data:") for value in policies)
    assert set(re.findall(r"url\((.{16})", page)) == {"data:image/jpeg;"} and "@import" not in page


def test_names_are_only_ever_text(page: str) -> None:
    found = Page(page)
    assert page.count("<script") == 2 and page.count("</script>") == 2
    assert f"Of {NASTY}" in found.of("title") and any(NASTY in line for line in found.of("li"))
    data = json.loads(found.of("script")[0])
    assert [each["names"][0] for each in data["samples"]][0].startswith("</script><script>")
    assert json.loads(str(script_json({"a": NASTY}))) == {"a": NASTY}


def test_values_are_those_of_the_files(page: str) -> None:
    found, data = Page(page), left()
    drawn = json.loads(found.of("script")[0])
    assert [each["title"] for each in drawn["maps"]] == ["first & <best>", "pairs, picture", "pairs, words"]
    first = drawn["maps"][0]
    assert first["pca"] == coordinates(data.members[0].points.half().float()[:, :2]) and len(first["tsne"][0]) == NUM
    assert drawn["samples"][0]["groups"] == data.labels.tolist() and drawn["samples"][0]["captions"][1] == "class <1>"
    assert drawn["samples"][1]["clusters"] and drawn["samples"][2]["texts"][3].startswith("text 3")
    table = Page(re.search(r'<table class="confusion">.*?</table>', page, re.S).group())
    assert list(map(int, table.of("td"))) == [9, 1, 0, 0, 0, 9, 1, 0, 0, 0, 9, 1, 1, 0, 0, 9]
    assert "first & <best>: kNN: 90.0 % of 40 samples right" in found.of("summary")
    assert "first & <best>: 4 of 6 neighbours have the label of their sample" in found.of("summary")
    assert "90.0 ± 0.0" in found.of("td") and page.count("bad: &lt;/script&gt;") == 1


def test_without_data_for_it_a_page_has_no_script(tmp_path: Path) -> None:
    content = write_report([group(tmp_path, "old", None)], tmp_path / "r.html", "old").read_text()
    assert "<script" not in content and 'id="map"' not in content and "Curves" in content


def test_of_many_settings_the_first_are_mapped(tmp_path: Path) -> None:
    groups = [group(tmp_path, f"s{i}", left(seed=i), seeds=1) for i in range(MOST_MAPPED + 1)]
    page = write_report(groups, tmp_path / "r.html", "many", tsne=False).read_text()
    assert len(json.loads(Page(page).of("script")[0])["maps"]) == MOST_MAPPED and "first 8 of 9 settings" in page


def test_t_sne_can_be_left_out(tmp_path: Path) -> None:
    one = group(tmp_path, "one", left(), seeds=1)
    out = tmp_path / "r.html"
    result = CliRunner().invoke(main, ["report", str(one.runs[0]), "--no-tsne", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert '"pca"' in out.read_text() and '"tsne":' not in out.read_text()


def test_damaged_data_is_one_sentence(tmp_path: Path) -> None:
    one = group(tmp_path, "one", left(), seeds=1)
    RunFolder(one.runs[0]).report_data.write_bytes(b"\x08" + bytes(20))
    with pytest.raises(UserError, match="report.safetensors: is not what a run leaves"):
        write_report([one], tmp_path / "r.html", "t")


# Pieces


def test_curves_are_means_over_seeds(tmp_path: Path) -> None:
    (loss, *rest) = panels([group(tmp_path, "one", None)])
    assert loss.title == "Training loss" and "one from 1.5 to 10.5" in loss.chart
    assert loss.chart.count('class="cross s0"') == 2 and 'class="band s0"' in loss.chart
    assert [each.title for each in rest] == [
        "Spread of z (1 isotropic, 0 one point)",
        "Effective rank of z",
    ]  # no terms
    run = group(tmp_path, "other", None, seeds=1)
    found = {"evaluation": {"own/knn": {"top1": 0.5, "k": 5}}, "evaluation_s": 1.0}
    RunFolder(run.runs[0]).append_metrics({"step": 10, "epoch": 1.0, **found})
    online = panels([run])[-1]
    assert online.first and online.title == "own knn top1" and "other from 0.5 to 0.5" in online.chart
    assert thinned(range(1000))[-1] == 999 and len(thinned(range(1000))) <= 152


def test_scales_have_round_numbers() -> None:
    assert ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0]) and ticks(-3, 2600)[1] == 1000
    assert powers(2e-6, 1.2) == pytest.approx([1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1]) and len(powers(1e-30, 1)) <= 6
    assert [number(x) for x in (0.25, -3.0, 2600.0, 12000.0, 1e-6, 0.0)] == ["0.25", "-3", "2600", "12k", "1e-6", "0"]
    for ys in ([1.0], [2.0, 2.0], [0.0, 0.0], [1e9, 1e-9]):
        line = Line("<a>", 0, list(range(len(ys))), ys)
        for log in (False, True):
            assert "nan" not in (chart := line_chart("x", [line], "step", log)) and "&lt;a&gt;" in chart


def test_maps_keep_their_shape() -> None:
    xs, ys = coordinates(torch.tensor([[0.0, 0.0], [4.0, 2.0]]))
    assert (xs, ys) == ([0, 1000], [250, 750]) and coordinates(torch.ones(3, 1)) == [[500] * 3] * 2


def test_clusters_are_found_the_largest_first() -> None:
    points = torch.cat([torch.zeros(5, 2), torch.ones(20, 2)]) + 0.01 * torch.randn(25, 2)
    found = k_means(points)
    assert (
        len(found) == 25 and {found.count(i) for i in found} <= set(range(1, 21)) and found.count(0) >= found.count(1)
    )
    assert k_means(torch.zeros(12, 2)) == [0] * 12


def test_recipes_differ_in_keys() -> None:
    plain = {"encoder": {"name": "a", "depth": 1}, "terms": [{"name": "x"}], "seed": 0}
    other = {"encoder": {"name": "a", "depth": 2}, "terms": [{"name": "x"}, {"name": "y"}], "seed": 1}
    table = differences([{"name": "one", "plain": plain}, {"name": "two", "plain": other}])
    assert table.rows == [["encoder.depth", "1", "2"], ["terms.1.name", "-", "y"]]
    assert differences([{"name": "one", "plain": plain}]) is None

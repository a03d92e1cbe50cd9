"""Reports of what is not one image: recalls with chance, members, samples that are heard or read, wide pictures."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from ssl_zoo.data.source import Media
from ssl_zoo.errors import UserError
from ssl_zoo.report.aggregate import Group, comparison
from ssl_zoo.report.heatmap import metric_of
from ssl_zoo.report.html import write_report
from ssl_zoo.report.overview import write_overview
from ssl_zoo.report.results import results_text
from ssl_zoo.report.table import cell, columns, results_table, title
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.runs.samples import MOST_BYTES, MOST_CHARACTERS, read_samples, write_samples

SOUND = Media("audio/wav", b"RIFF\x00\xff")
VIEWS = {"sketch": {"name": "augment", "size": 8, "flip": 0.5}, "sound": {"name": "log_mel", "hop": 160}}


def retrieval(r1: float, num: int = 50) -> dict[str, float]:
    found = {"r1": r1, "r5": 0.4, "r10": 0.5, "median_rank": 3.5}
    chance = {"r1": 1 / num, "r5": 5 / num, "r10": 10 / num, "median_rank": (num + 1) / 2}
    return {f"a_to_b_{k}": v for k, v in found.items()} | {f"a_to_b_{k}_chance": v for k, v in chance.items()}


def summary(r1: float = 0.3, seed: int = 0, num: int = 50) -> dict[str, Any]:
    return {
        "status": "done", "seed": seed, "collapse": {"status": "ok", "reason": None, "step": None, "metrics": {}},
        "metrics": {"sound/knn": {"top1": 0.8, "k": 5}, "sketch/knn": {"top1": 0.9, "k": 1},
                    "retrieval": retrieval(r1, num), "attentive": {"top1": 0.75}},
        "baselines": {"raw": {"sketch/knn": {"top1": 0.5, "k": 1}}, "untrained": {"retrieval": retrieval(0.02, num)}},
    }  # fmt: skip


def group(root: Path, name: str, *summaries: dict[str, Any], **recipe: Any) -> Group:
    runs = []
    for number in range(len(summaries)):
        run = root / f"{name}-{number}"
        run.mkdir()
        plain = {"method": "mine", "data": {"source": {"name": "pairs"}}, "views": VIEWS, "evaluation": {}}
        plain |= {"encoder": {"name": "one"}, "projector": {"name": "mlp"}, "predictor": {"name": "none"}}
        (run / "recipe.yaml").write_text(yaml.safe_dump(plain | recipe))
        (run / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5, "embedding": {"std": 1.0}}\n')
        runs.append(run)
    return Group(name, tuple(runs), summaries)


def test_columns_are_member_by_member_and_recalls_in_the_order_of_their_k() -> None:
    found = columns([summary()["metrics"]])
    assert [title(column) for column in found] == [
        "attentive", "a to b R@1", "a to b R@5", "a to b R@10", "a to b median rank", "sound kNN", "sound k",
        "sketch kNN", "sketch k",
    ]  # fmt: skip
    assert title(("mine", "a_to_b_r1")) == "mine a_to_b_r1"


@pytest.mark.parametrize(
    "metric, shown", [("a_to_b_r10", "25.0"), ("a_to_b_same_class_1", "25.0"), ("a_to_b_median_rank", "0.25"),
                      ("r2", "0.25"), ("top1", "25.0")],
)  # fmt: skip
def test_recalls_are_in_percent(metric: str, shown: str) -> None:
    assert cell(metric, 0.25) == shown


def test_chance_is_a_row_of_its_own(tmp_path: Path) -> None:
    one = summary()
    lines = results_table({**one["baselines"], "encoder": one["metrics"]}).splitlines()
    assert [each.strip() for each in lines[2].split("|")[1:-1]] == [
        "chance", "-", "2.0", "10.0", "20.0", "25.5", "-", "-", "-", "-",
    ]  # fmt: skip
    assert [line.split("|")[1].strip() for line in lines[3:]] == ["raw input", "untrained encoder", "trained encoder"]
    table = comparison([group(tmp_path, "a", summary(), summary(0.5, 1)), group(tmp_path, "b", summary(num=100))])
    assert table.rows[0][:5] == ["chance", "-", "1.0 to 2.0", "5.0 to 10.0", "10.0 to 20.0"]
    assert table.rows[-2][:3] == ["a", "75.0 +- 0.0", "40.0 +- 14.1"]


def test_results_say_what_recalls_and_chance_are_only_where_they_are(tmp_path: Path) -> None:
    text = results_text("study", [group(tmp_path, "a", summary())], {"a": ["sketch/knn.top1 > raw.sketch/knn.top1"]})
    assert "`A to B R@k` is the share" in text and "The row `chance`" in text
    assert "holds (1 of 1 runs)" in text
    plain = summary() | {"metrics": {"knn": {"top1": 0.5}}, "baselines": {}}
    text = results_text("study", [group(tmp_path, "b", plain)], {})
    assert "chance" not in text and "R@k" not in text


def test_pictures_of_other_metrics(tmp_path: Path) -> None:
    groups = [group(tmp_path, "a", summary())]
    assert metric_of(groups) == ("attentive", "top1") and metric_of([]) == ("knn", "top1")
    named = {"protocols": {"retrieval.a_to_b_r1": "R@1", "sketch/knn": "sketch"}, "title": "t"}
    write_overview(groups, tmp_path / "overview.png", metric="std", metric_title="m", **named)
    with Image.open(tmp_path / "overview.png") as picture:
        assert picture.size[0] > 300


def test_baselines_of_members_depend_on_their_views_and_on_what_compares_them(tmp_path: Path) -> None:
    other = {**VIEWS, "sketch": {"name": "augment", "size": 8, "flip": 0.0}}
    coarse = {**VIEWS, "sound": {"name": "log_mel", "hop": 320}}
    alike = [group(tmp_path, "a", summary()), group(tmp_path, "flipped", summary(), views=other)]
    assert [row[0] for row in comparison(alike).rows[1:3]] == ["raw input", "untrained encoder"]
    heads = group(tmp_path, "wide", summary(), projector={"name": "mlp", "dims": [3]})
    apart = [*alike[:1], group(tmp_path, "coarse", summary(), views=coarse), heads]
    assert [row[0] for row in comparison(apart).rows[1:6]] == [
        "raw input of a, wide", "raw input of coarse",
        "untrained encoder of a", "untrained encoder of coarse", "untrained encoder of wide",
    ]  # fmt: skip


# Samples


def test_media_are_kept_as_far_as_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "samples.json"
    write_samples(path, [(0, 8)] * 2, [[], []])
    assert not path.exists() and read_samples(path) == []
    long = Media("text/plain", ("é" * 3000).encode())
    large = Media("audio/wav", b"x" * MOST_BYTES)
    write_samples(path, [(0, 8), (8, 24)], [[SOUND, long], [large, Media("text/plain", b"a\xffb")]])
    first, second = read_samples(path)
    assert (first.top, first.bottom, second.top, second.bottom) == (0, 8, 8, 24)
    assert base64.b64decode(first.media[0].base64 or "") == SOUND.data
    assert first.media[1].content == "é" * MOST_CHARACTERS + " ..."
    assert second.media[0].left_out == "2.0 MiB, too large to be shown here"
    assert second.media[1].content == "a\ufffdb"
    write_samples(path, [(0, 8)] * 8, [[large] for _ in range(8)])
    assert path.stat().st_size < 1.5 * MOST_BYTES


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"samples": 3}', '{"samples": [{"top": 0, "bottom": 0, "media": []}]}',
     '{"samples": [{"top": 0, "bottom": 1, "media": [{"mime": "a/b\\" onerror=x", "content": ""}]}]}',
     '{"samples": [{"top": 0, "bottom": 1, "media": [{"mime": "audio/wav", "base64": "\\"><script>"}]}]}',
     "[" * 100_000, "x" * 5_000_000],
)  # fmt: skip
def test_a_damaged_file_is_one_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "samples.json").write_text(content)
    with pytest.raises(UserError, match=r"samples.json: is not the list of samples of a run"):
        read_samples(tmp_path / "samples.json")


def test_the_page_lets_sound_be_heard_and_texts_be_read_beside_their_row(tmp_path: Path) -> None:
    groups = [
        group(tmp_path, "pairs", summary()),
        group(tmp_path, "clips", summary()),
        group(tmp_path, "plain", summary()),
    ]
    pairs, clips, plain = (RunFolder(each.runs[0]) for each in groups)
    picture = Image.new("RGB", (20, 10), "red")
    picture.paste("blue", (0, 4, 20, 10))
    picture.save(pairs.views)
    text = Media("text/plain", b"<script>alert(1)</script> & more")
    media = [[SOUND, text], [Media("video/mp4", b"x"), Media("audio/wav", b"x" * MOST_BYTES)]]
    write_samples(pairs.samples, [(0, 4), (4, 10)], media)
    Image.new("RGB", (900, 10), "green").save(clips.views)
    Image.new("RGB", (12, 10), "green").save(plain.views)
    page = write_report(groups, tmp_path / "report.html", "t").read_text()
    assert (
        f'<audio controls preload="metadata" src="data:audio/wav;base64,{base64.b64encode(SOUND.data).decode()}">'
        in page
    )
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in page and "<script>" not in page
    assert "video/mp4: a page does not show it" in page and "too large to be shown" in page
    assert page.count('class="sample"') == 2 and page.count("<audio") == 1
    assert 'width="900"' in page and page.count('alt="views of plain"') == 1
    parts = [each.split('"')[0] for each in page.split('width="320"\nsrc="data:image/png;base64,')[1:]]
    shown = []
    for part in parts:
        (tmp_path / "part.png").write_bytes(base64.b64decode(part))
        with Image.open(tmp_path / "part.png") as row:
            shown.append((row.size, row.getpixel((0, 0))))
    assert shown == [((20, 4), (255, 0, 0)), ((20, 6), (0, 0, 255))]


def test_a_page_without_media_shows_the_picture_whole(tmp_path: Path) -> None:
    one = group(tmp_path, "plain", summary() | {"metrics": {"knn": {"top1": 0.5}}, "baselines": {}})
    Image.new("RGB", (12, 10), "green").save(one.runs[0] / "views.png")
    page = write_report([one], tmp_path / "report.html", "t").read_text()
    assert 'class="sample"' not in page and "R@k" not in page
    assert json.dumps("left the sample, then its views")[1:-1] in page

"""Labels of a folder's files by a table and by a pattern; patterns that could take for ever are refused."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ssl_zoo.data.layout.file_labels import safe_pattern
from ssl_zoo.errors import UserError
from tests.tiny import image_source

NAMES = ("owl_01.png", "owl_02.png", "emu_1.png", "x.png")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("birds")
    (root / "a").mkdir()
    for i, name in enumerate(NAMES):
        Image.new("L", (4, 4), i).save(root / ("a" if i % 2 else ".") / name)
    with zipfile.ZipFile(root.parent / "birds.zip", "w") as archive:
        for path in root.rglob("*.png"):
            archive.write(path, path.relative_to(root))
    return root


def labelled(root: Path, name: str = "folder", **options: Any) -> dict[str, str | None]:
    split = image_source(name, 1, path=str(root), **options).split("train")
    assert split.labels is not None and split.class_names is not None
    names = [None if label < 0 else split.class_names[label] for label in split.labels.tolist()]
    return {path.rpartition("/")[2]: each for path, each in zip(split.names, names, strict=True)}


def test_by_a_pattern(root: Path) -> None:
    wanted = {"owl_01.png": "owl", "owl_02.png": "owl", "emu_1.png": "emu", "x.png": None}
    assert labelled(root, label_pattern="^(?P<label>[a-z]+)_") == wanted
    assert labelled(root.parent / "birds.zip", "zip", label_pattern="^(?P<label>[a-z]+)_") == wanted
    assert labelled(root, label_pattern=r"_(?P<label>\d+)")["owl_02.png"] == "02"


@pytest.mark.parametrize("key", ["owl_01.png", "owl_01", "./owl_01.png"])
def test_by_a_table(root: Path, tmp_path: Path, key: str) -> None:
    (tmp_path / "labels.csv").write_text(f"name,label\n{key},3\na/owl_02.png,7\nemu_1.png,3\nnot_there.png,9\n")
    found = labelled(root, label_file=str(tmp_path / "labels.csv"))
    assert found == {"owl_01.png": "3", "owl_02.png": "7", "emu_1.png": "3", "x.png": None}


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"label_pattern": "(?P<label>[0-9]{9})"}, "gives no file of .* a label; one of them is"),
        ({"label_pattern": "(?P<label>"}, "is no regular expression"),
        ({"label_pattern": "[a-z]+"}, r"has no group \(\?P<label>...\)"),
        ({"label_pattern": "(?P<label>(a+)+)$"}, "could take for ever, since it repeats what repeats itself"),
        ({"label_pattern": "x", "label_file": "y"}, "given by data.source.label_pattern too"),
        ({"label_file": "nowhere.csv"}, "the table nowhere.csv does not exist"),
    ],
)
def test_what_gives_no_labels(root: Path, options: dict[str, str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        labelled(root, **options)


def test_a_table_that_contradicts_itself(root: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("name,label\nx.png,3\nx.png,7\n")
    with pytest.raises(UserError, match="names x.png twice, with the labels '3' and '7'"):
        labelled(root, label_file=str(tmp_path / "labels.csv"))


@pytest.mark.parametrize(
    "pattern",
    ["(?P<label>(a+)+)$", "(?P<label>(a|aa)+)$", "(?P<label>a)(b*)*c", "(?P<label>([a-z]+)*x)",
     r"(?P<label>.)(?:\1*a)*",
     "(?P<label>.*.*.*.*.*.*x)", "(?P<label>(a{1,99}){1,99})$", "(?P<label>x)(?=(a+)+$)"],
)  # fmt: skip
def test_patterns_that_could_take_for_ever_are_refused(pattern: str) -> None:
    with pytest.raises(UserError, match="could take for ever"):
        safe_pattern(pattern, "option")


@pytest.mark.parametrize("pattern", ["(?P<label>[^_]+)_", r"^\d+-(?P<label>\w+)-.*\.png$", "(?P<label>(ab){2})|x*"])
def test_usual_patterns_are_taken(pattern: str) -> None:
    assert "label" in safe_pattern(pattern, "option").groupindex

"""`report.safetensors`: what is written is read again; what is damaged is one sentence."""

import io
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from ssl_zoo.errors import UserError
from ssl_zoo.runs.report_data import Guesses, ReportData, Shown, Tiles, shortened
from ssl_zoo.runs.report_file import read_report_data, write_report_data


def jpeg(tiles: Tiles) -> tuple[Tiles, bytes]:
    out = io.BytesIO()
    Image.new("RGB", tiles.size, "green").save(out, format="JPEG")
    return tiles, out.getvalue()


def some_data() -> ReportData:
    near = torch.tensor([[1, 2], [3, 1]])
    shown = Shown("a/b", 7, torch.randn(4, 3).half().float(), 0.5, torch.tensor([0, 2]), near, torch.rand(2, 2), {})
    shown.spectra = {"encoder": torch.tensor([2.0, 1.0]), "untrained": torch.tensor([1.0, 0.0])}
    shown.small, shown.large = jpeg(Tiles(side=32, columns=2, num=4)), jpeg(Tiles(side=96, columns=2, num=4))
    words = Shown("words", 3, torch.zeros(4, 2), 1.0, torch.tensor([0]), torch.tensor([[1]]), torch.ones(1, 1), {})
    words.texts = ["one", "two", "", "<b>"]
    guesses = {"a/b/knn": Guesses(torch.tensor([[1, 2], [2, 2]]), torch.tensor([[1, 1, 2], [0, 0, 1], [0, 1, 1]]))}
    labels = torch.tensor([0, 1, -1, 1])
    return ReportData("test", 9, ["x.png", "y", "<i>", "日本"], labels, ["cat", "dog"], [shown, words], guesses)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    data, path = some_data(), tmp_path / "report.safetensors"
    assert read_report_data(path) is None
    write_report_data(path, data)
    found = read_report_data(path)
    assert found is not None and found.guesses["a/b/knn"].accuracy == 0.75
    assert (found.split, found.total, found.names, found.classes) == ("test", 9, data.names, ["cat", "dog"])
    for one, other in zip(found.members, data.members, strict=True):
        assert (one.name, one.width, one.kept, one.texts) == (other.name, other.width, other.kept, other.texts)
        assert one.small == other.small and one.large == other.large
        for key in ("points", "queries", "neighbours", "cosines"):
            assert torch.equal(getattr(one, key), getattr(other, key))
        assert one.spectra.keys() == other.spectra.keys()
        assert all(torch.equal(one.spectra[name], other.spectra[name]) for name in one.spectra)
    assert torch.equal(found.labels, data.labels)


def changed(path: Path, **tensors: torch.Tensor | None) -> None:
    """Write the file anew with other tensors, or without some."""
    with safe_open(path, framework="pt") as file:
        metadata, found = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    found |= {name.replace("__", "/"): value for name, value in tensors.items()}
    save_file({name: value for name, value in found.items() if value is not None}, path, metadata)


@pytest.mark.parametrize(
    "name, value",
    [
        ("labels", torch.tensor([0, 1, 1], dtype=torch.int32)),
        ("0__points", torch.full((4, 3), float("nan"))),
        ("0__points", torch.zeros(4, 65)),
        ("0__neighbours", torch.tensor([[1, 2], [3, 4]], dtype=torch.int32)),
        ("0__queries", torch.tensor([0.0, 1.0])),
        ("0__small", torch.zeros(50, dtype=torch.uint8)),
        ("0__spectrum__encoder", None),
        ("guesses__a__b__knn__pairs", torch.tensor([[0, 2, 1]], dtype=torch.int32)),
    ],
)
def test_a_damaged_part_is_one_sentence(tmp_path: Path, name: str, value: torch.Tensor | None) -> None:
    path = tmp_path / "report.safetensors"
    write_report_data(path, some_data())
    changed(path, **{name: value})
    with pytest.raises(
        UserError, match=r"report.safetensors: is not what a run leaves for its report \([^\n]+remove it"
    ):
        read_report_data(path)


@pytest.mark.parametrize("header", ["null", "{", "[" * 100_000, '{"version": 2}'])
def test_a_damaged_header_is_one_sentence(tmp_path: Path, header: str) -> None:
    path = tmp_path / "report.safetensors"
    save_file({"labels": torch.zeros(1)}, path, {"report": header})
    with pytest.raises(UserError, match="is not what a run leaves for its report"):
        read_report_data(path)


def test_a_file_that_is_cut_short_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "report.safetensors"
    write_report_data(path, some_data())
    content = path.read_bytes()
    for part in (content[:0], content[:50], content[: len(content) // 2], json.dumps({}).encode()):
        path.write_bytes(part)
        with pytest.raises(UserError, match="is not what a run leaves for its report"):
            read_report_data(path)


def test_long_names_lose_their_middle() -> None:
    assert shortened("a" * 100 + "b" * 100, 11) == "aaaa...bbbb" and shortened("short") == "short"

"""TensorBoard's files, read back by TensorBoard: histograms, neighbours, and the projector."""

import io
from pathlib import Path

import numpy as np
import torch
from google.protobuf import text_format
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import HISTOGRAMS, IMAGES, EventAccumulator
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from ssl_zoo.training.board import histograms, is_time, neighbours_picture, of_members, write_projector
from ssl_zoo.training.event_file import EventFile
from tests.report.test_page import NASTY, NUM, left


def test_histograms_and_neighbours_are_read_back(tmp_path: Path) -> None:
    z = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    z[:, 3] = 0
    events = EventFile(tmp_path, purge=0)
    events.add_histograms({**histograms("z", z), "same": torch.ones(5), "none": torch.tensor([float("nan")])}, 7)
    picture = neighbours_picture(left().members[0])
    events.add_picture("neighbours", picture, 7)
    events.close()
    found = EventAccumulator(str(tmp_path), {HISTOGRAMS: 0, IMAGES: 0}).Reload()
    assert sorted(found.Tags()["histograms"]) == ["same", "z/norm", "z/spread"]
    (norm,), (spread,), (same,) = (found.Histograms(tag) for tag in ("z/norm", "z/spread", "same"))
    assert norm.step == 7 and norm.histogram_value.num == 50 and same.histogram_value.num == 5
    np.testing.assert_allclose(norm.histogram_value.sum, z.norm(dim=1).sum(), rtol=1e-6)
    unit = z / z.norm(dim=1, keepdim=True)
    np.testing.assert_allclose(spread.histogram_value.max, unit.std(dim=0, correction=0).max() * 8**0.5, rtol=1e-6)
    assert spread.histogram_value.min == 0 and sum(norm.histogram_value.bucket) == 50
    (image,) = found.Images("neighbours")
    with Image.open(io.BytesIO(image.encoded_image_string)) as read:
        np.testing.assert_array_equal(np.asarray(read), picture.permute(1, 2, 0))


def test_neighbours_are_the_tiles_of_the_samples() -> None:
    shown = left().members[0]
    tiles, jpeg = shown.large
    sheet = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))
    picture, cell = neighbours_picture(shown), tiles.side + 8
    assert picture.shape == (3, 2 * cell, 4 * cell)
    i = shown.pictured.index(int(shown.neighbours[1, 2]))
    row, column = divmod(i, tiles.columns)
    wanted = sheet[row * tiles.side : (row + 1) * tiles.side, column * tiles.side : (column + 1) * tiles.side]
    found = picture[:, cell + 4 : 2 * cell - 4, 3 * cell + 4 : 4 * cell - 4].permute(1, 2, 0)
    np.testing.assert_array_equal(found, wanted)


def test_histograms_come_about_twenty_times_a_run_for_each_member() -> None:
    assert sum(is_time(step, 5000, 25) for step in range(25, 5001, 25)) == 20
    assert all(is_time(step, 50, 5) for step in range(5, 51, 5)) and is_time(1, 5000, 25)
    x, y = torch.ones(3, 2), torch.zeros(3, 4)
    assert list(of_members("z", [x, y, y], [])) == ["z/norm", "z/spread"] and of_members("h", [], []) == {}
    both = of_members("z", [x, x, y, y], ["a", "a", "b", "b"])
    assert set(both) == {"z/a/norm", "z/a/spread", "z/b/norm", "z/b/spread"} and len(both["z/b/spread"]) == 4


def test_the_projector_has_points_names_labels_and_thumbnails(tmp_path: Path) -> None:
    data = left(members=("a picture/é", "words"))
    data.names[1] = "a\tb"
    write_projector(tmp_path, data)
    config = text_format.Parse((tmp_path / "projector_config.pbtxt").read_text(), ProjectorConfig())
    assert [each.tensor_name for each in config.embeddings] == ["a picture__", "words"]
    first, second = config.embeddings
    points = np.fromfile(tmp_path / first.tensor_path, dtype="float32").reshape(tuple(first.tensor_shape))
    np.testing.assert_array_equal(points, data.members[0].points)
    lines = (tmp_path / first.metadata_path).read_text().splitlines()
    assert len(lines) == NUM + 1 and lines[0] == "name\tlabel" and lines[1] == f"{NASTY}\tclass <0>"
    assert lines[2] == "a b\tclass <1>" and second.sprite.image_path == ""
    with Image.open(tmp_path / first.sprite.image_path) as sprite:
        side = first.sprite.single_image_dim[0]
        assert sprite.size[0] // side * (sprite.size[1] // side) >= NUM and side == 32
    assert (tmp_path / second.metadata_path).read_text().splitlines()[0] == "name\tlabel\texcerpt"


def test_unlabelled_points_have_names_alone(tmp_path: Path) -> None:
    write_projector(tmp_path, left(labelled=False))
    assert (tmp_path / "projector" / "0.tsv").read_text().splitlines()[1] == "sample 1"

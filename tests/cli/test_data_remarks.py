"""`data check` says how samples were understood where that is not plain: with counts and an example."""

import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def stacks(tmp_path):
    """Three stacks of 50 pages, one of 12 bits in 16, one plain image."""
    for i in range(3):
        pages = [Image.new("L", (8, 6), 90 + page) for page in range(50)]
        pages[0].save(tmp_path / f"{i}.tif", save_all=True, append_images=pages[1:])
    Image.fromarray(np.arange(48, dtype=np.uint16).reshape(6, 8) * 80).save(tmp_path / "deep.png")
    Image.new("L", (8, 6)).save(tmp_path / "plain.png")
    return tmp_path


def test_pages_and_a_range_that_is_hardly_used_are_counted(cli, stacks):
    text = cli("data", "check", stacks, "--channels", 1)
    assert text.exit_code == 0 and "train: 5 samples, 0 bad" in text.stdout
    assert f"3 of 5: 50 pages, of which the first is used; for example {stacks}/0.tif" in text.stdout
    assert "1 of 5: 16-bit values that fit in 12 bits" in text.stdout
    remarks = json.loads(cli("data", "check", stacks, "--channels", 1, "--json").stdout)["train"]["remarks"]
    assert remarks["50 pages, of which the first is used"] == {"num": 3, "example": str(stacks / "0.tif")}
    assert len(remarks) == 2


def test_plain_images_have_no_remarks(cli, stacks):
    for file in (*stacks.glob("*.tif"), stacks / "deep.png"):
        file.unlink()
    assert "; for example" not in cli("data", "check", stacks).stdout

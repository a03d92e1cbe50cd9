"""The embedded data."""

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from ssl_zoo.errors import UserError
from tests.tiny import image_source


def digits(channels: int = 1, **options):
    return image_source("digits", channels, **options)


@pytest.fixture(scope="module")
def splits():
    return digits().split("train"), digits().split("test")


def test_sizes_labels_and_names(splits):
    train, test = splits
    assert digits().splits == ("train", "test")
    assert train.data.shape == (5768, 1, 20, 20) and test.data.shape == (1420, 1, 20, 20)
    assert train.data.dtype == torch.uint8 and train.labels.dtype == torch.int64
    assert train.class_names == list("0123456789")
    target = torch.from_numpy(load_digits().target)
    for split in splits:
        source = torch.tensor([int(split.name(i).split(",")[0].removeprefix("digit ")) for i in range(len(split))])
        assert torch.equal(split.labels, target[source])
        share = split.labels.bincount() / len(split)
        assert float(share.min()) > 0.09


def test_no_digit_is_in_both_splits(splits):
    train, test = ({split.name(i).split(",")[0] for i in range(len(split))} for split in splits)
    assert not train & test and len(train) + len(test) == 1797


def test_images_are_a_function_of_their_index(splits):
    torch.manual_seed(5)
    assert torch.equal(digits().split("train").data, splits[0].data)
    assert not torch.equal(splits[0].data[0], splits[0].data[1])  # placements of one digit differ


def test_a_digit_that_fills_its_canvas_is_the_original():
    split = digits(canvas=8, placements=1, min_size=8, max_size=8, min_contrast=1.0).split("train")
    images = torch.from_numpy(load_digits().images)
    for i in (0, 100, 1000):
        original = images[int(split.name(i).split(",")[0].removeprefix("digit "))]
        assert torch.equal(split.data[i, 0], (original / 16 * 255).round().to(torch.uint8))


def test_a_digit_lies_within_its_canvas():
    """Bilinear weights keep the ink: a digit of size s has (s / 8)^2 times the ink of the original, none cut off."""
    split = digits(placements=2, min_size=12, max_size=12, min_contrast=1.0).split("test")
    images = torch.from_numpy(load_digits().images).float()
    source = [int(split.name(i).split(",")[0].removeprefix("digit ")) for i in range(len(split))]
    ink = images[source].sum((1, 2)) / 16 * (12 / 8) ** 2
    assert torch.allclose(split.data.sum((1, 2, 3)) / 255, ink, rtol=0.05)


def test_three_channels_are_the_grey_three_times(splits):
    assert torch.equal(digits(3).split("test").data, splits[1].data.expand(-1, 3, -1, -1))


def test_impossible_sizes_are_refused():
    with pytest.raises(UserError, match=r"min_size <= max_size <= canvas, not 12, 16, 12"):
        digits(canvas=12)
    with pytest.raises(UserError, match="not 2"):
        digits(2)


def test_raw_pixels_are_a_poor_representation(splits):
    """What the demo has to beat: nearness in pixels says little of the class."""
    train, test = splits
    mean, std = train.data.float().mean(), train.data.float().std()
    x, y = (F.normalize(((split.data - mean) / std).flatten(1)) for split in splits)
    similarity, near = (y @ x.T).topk(200)
    votes = torch.zeros(len(y), 10).scatter_add_(1, train.labels[near], (similarity / 0.1).exp())
    assert 0.6 < float((votes.argmax(1) == test.labels).float().mean()) < 0.87
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    few = torch.cat([order[train.labels[order] == label][:10] for label in range(10)])
    nearest = train.labels[few][(y @ x[few].T).argmax(1)]
    assert 0.2 < float((nearest == test.labels).float().mean()) < 0.5

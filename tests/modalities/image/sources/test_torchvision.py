"""torchvision's data sets by name."""

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from ssl_zoo.errors import UserError
from ssl_zoo.modalities.image.sources import torchvision as module
from tests.tiny import image_source


def source(name: str, channels: int = 1, **options):
    return image_source(f"torchvision/{name}", channels, **options)


def write_mnist(folder, part: str, images: np.ndarray, labels: np.ndarray) -> None:
    """Write the files of MNIST in its own format: magic number, sizes (big-endian), bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
        head = np.array([0x0800 + array.ndim, *array.shape], ">i4").tobytes()
        (folder / name).write_bytes(head + array.astype(np.uint8).tobytes())


@pytest.fixture
def mnist(tmp_path):
    numbers = np.random.default_rng(0)
    images = {part: numbers.integers(0, 256, (num, 28, 28)) for part, num in (("train", 7), ("t10k", 3))}
    for part, array in images.items():
        write_mnist(tmp_path / "MNIST" / "raw", part, array, np.arange(len(array)))
    return tmp_path, images


def test_a_data_set_by_its_name(mnist):
    root, images = mnist
    data = source("MNIST", root=str(root))
    assert data.splits == ("train", "test")
    for name, part in (("train", "train"), ("test", "t10k")):
        split = data.split(name)
        assert len(split) == len(images[part]) and split.labels.tolist() == list(range(len(split)))
        assert torch.equal(split.read(2)[0], torch.from_numpy(images[part][2].astype(np.uint8)))
    assert data.split("train").name(2) == "train image 2 of torchvision/MNIST"
    assert data.split("train").class_names[0].startswith("0")
    assert source("MNIST", 3, root=str(root)).split("train").read(0).shape == (3, 28, 28)


def test_a_data_set_that_is_not_there_says_how_to_get_it(tmp_path):
    with pytest.raises(UserError, match=r"torchvision/CIFAR10 is not in the folder .*: set download: true, or root"):
        source("CIFAR10", 3, root=str(tmp_path))
    with pytest.raises(UserError, match=r"torchvision/ImageNet is not in the folder .*: set root to where it is"):
        source("ImageNet", 3, root=str(tmp_path))
    with pytest.raises(UserError, match=r"torchvision/ImageNet cannot be downloaded"):
        source("ImageNet", 3, root=str(tmp_path), download=True)


def test_an_unknown_data_set_names_the_nearest():
    with pytest.raises(UserError, match=r"no data set 'CIFAR-10' of torchvision .* did you mean 'CIFAR10'"):
        source("CIFAR-10")
    with pytest.raises(UserError, match=r"no data set 'FakeData'"):  # takes neither train= nor split=
        source("FakeData")


def test_labels_of_any_range_become_dense_and_negative_ones_none(tmp_path, monkeypatch):
    """STL10 marks what is unlabelled by -1, other sets count from 1; the names are too few for them."""

    class Odd(torchvision.datasets.VisionDataset):
        def __init__(self, root, train=True, transform=None):
            super().__init__(root)
            self.targets = [9, 2, -1, 2] if train else [2, 7]
            self.boxes = [[1], [1, 2]]

        def __len__(self):
            return len(self.targets)

        def __getitem__(self, i):
            return Image.new("L", (2, 2)), self.targets[i]

    monkeypatch.setattr(torchvision.datasets, "MNIST", Odd)
    module._known.cache_clear()
    try:
        data = source("MNIST", root=str(tmp_path))
    finally:
        module._known.cache_clear()
    assert data.split("train").labels.tolist() == [2, 0, -1, 0] and data.split("test").labels.tolist() == [0, 1]
    assert data.split("train").class_names == data.split("test").class_names == ["2", "7", "9"]
    assert data.notes == ("torchvision/MNIST: a label below 0 means none: 1 train samples.",)

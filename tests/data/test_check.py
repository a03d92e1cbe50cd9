"""The report on a split."""

import numpy as np
import torch

from ssl_zoo.data import BadSample, MemorySplit, Split, check_source
from ssl_zoo.data.source import Modality
from tests.tiny import spec_of

MODALITY = Modality(spec_of())


def test_counts_sizes_and_statistics():
    data = torch.randint(0, 256, (20, 3, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    report = check_source(MemorySplit(data, torch.arange(20) % 4 % 3, ["a", "b", "c"]), MODALITY)
    values = data.numpy().astype(np.float64) / 255
    assert np.allclose(report["mean"], values.mean((0, 2, 3)), atol=1e-6)
    assert np.allclose(report["std"], values.std((0, 2, 3)), atol=1e-6)
    assert report["num_samples"] == 20 and report["num_bad"] == 0 and report["bad"] == {}
    assert report["sizes"] == {"6x5": 20} and report["classes"] == {"a": 10, "b": 5, "c": 5}


def test_every_bad_sample_is_named_and_every_size_counted():
    class Files(Split):
        def __len__(self):
            return 6

        def read(self, i):
            if i in (1, 4):
                raise BadSample(f"{i}.png", "damaged")
            return torch.full((1, 2, 4 if i == 5 else 2), 51, dtype=torch.uint8)

        def name(self, i):
            return f"{i}.png"

    assert check_source(Files(), MODALITY) == {
        "num_samples": 6,
        "num_bad": 2,
        "bad": {"1.png": "damaged", "4.png": "damaged"},
        "classes": None,
        "num_unlabelled": 6,
        "sizes": {"2x2": 3, "2x4": 1},
        "axes": "",
        "mean": [0.2],
        "std": [0.0],
        "remarks": {},
    }

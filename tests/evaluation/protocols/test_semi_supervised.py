"""Fine-tuning with few labels: how many are drawn, and that its numbers are those of fine-tuning on the draws."""

import statistics

import pytest
import torch

from ssl_zoo.evaluation.labels import Labels
from ssl_zoo.evaluation.protocols.fine_tune import FineTune
from ssl_zoo.evaluation.protocols.semi_supervised import SemiSupervised, draw
from tests.evaluation.protocols.test_linear_augmented import subject


def test_a_draw_has_the_fraction_of_each_class_and_at_least_one() -> None:
    y = torch.cat([torch.zeros(200), torch.ones(50), torch.full((3,), 2)]).long()
    index = draw(y, 0.1, 0, 0)
    assert torch.bincount(y[index]).tolist() == [20, 5, 1] and index.tolist() == sorted(set(index.tolist()))
    assert torch.equal(index, draw(y, 0.1, 0, 0))
    assert not torch.equal(index, draw(y, 0.1, 0, 1)) and not torch.equal(index, draw(y, 0.1, 1, 0))
    assert torch.equal(draw(y, 1.0, 0, 0), torch.arange(len(y)))


def test_its_numbers_are_those_of_fine_tuning_on_each_draw() -> None:
    train, test = subject(60, 0), subject(30, 1)
    train.encoder.out_dim = 5
    options = {"steps": 4, "lrs": [0.05], "batch_size": 16}
    found = SemiSupervised(fractions=[0.2, 0.5], draws=2, **options)(train, test)
    assert list(found) == ["top1_20pct", "std_20pct", "top1_50pct", "std_50pct"]
    for fraction, key in ((0.2, "20pct"), (0.5, "50pct")):
        each = [
            FineTune(**options)(train.take(draw(train.labels, fraction, 0, number)), test)["top1"] for number in (0, 1)
        ]
        assert found[f"top1_{key}"] == pytest.approx(statistics.fmean(each))
        assert found[f"std_{key}"] == pytest.approx(statistics.stdev(each), abs=1e-6)


def test_a_fraction_of_a_class_that_is_no_sample_is_noted() -> None:
    y = torch.arange(90) % 3
    (note,) = SemiSupervised().notes(y, Labels(y, None, ["a", "b", "c"]))
    assert note == "semi_supervised: 1% of 3 of 3 classes is no sample (a, b, c): one of each is taken"

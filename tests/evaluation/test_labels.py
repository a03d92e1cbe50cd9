"""What labels allow and what is said of them: hidden and missing ones, classes that train lacks, rare classes."""

import pytest
import torch

from ssl_zoo.data.source import Split
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.features import Features
from ssl_zoo.evaluation.holdout import holdout
from ssl_zoo.evaluation.labels import Labels, divide, labels_of, notes
from ssl_zoo.evaluation.protocols.knn import KNN
from ssl_zoo.evaluation.protocols.linear import Linear
from ssl_zoo.evaluation.representations import compare_representations, evaluate_features

NAMES = ["bee", "cat", "dog", "emu"]


def said(train: list[int], test: list[int] | None, names: list[str] | None = NAMES) -> list[str]:
    return notes(Labels(torch.tensor(train), None if test is None else torch.tensor(test), names))


def shares(train: list[int], test: list[int] | None) -> tuple[str, list[int], str, list[int]]:
    division = divide(torch.tensor(train), None if test is None else torch.tensor(test))
    return division.learn[0], division.learn[1].tolist(), division.test[0], division.test[1].tolist()


def test_two_labelled_splits_play_their_roles_and_nothing_is_said():
    assert shares([0, 1, 0], [1, 0]) == ("train", [0, 1, 2], "test", [0, 1])
    assert said([0, 1, 0], [1, 0]) == []


def test_rows_without_a_label_are_left_out_and_counted():
    assert shares([0, -1, 1], [1, -1, -1, 0]) == ("train", [0, 2], "test", [0, 3])
    assert said([0, -1, 1], [1, -1, -1, 0]) == [
        "1 of 3 train samples have no label: accuracies leave them out",
        "2 of 4 test samples have no label: accuracies leave them out",
    ]


@pytest.mark.parametrize("test, why", [(None, "there is no test split"), ([-1] * 4, "test has no labels"),
                                       ([], "the test split is empty")])  # fmt: skip
def test_without_a_labelled_test_a_fifth_of_train_is_held_out(test, why):
    train = [0, 1] * 10
    kept, held = holdout(torch.tensor(train), 0.2, 0, "test_split")
    assert shares(train, test) == ("train", kept.tolist(), "train", held.tolist())
    assert said(train, test) == [f"{why}: accuracies are of 4 labelled train samples, held out; 16 are learnt from"]


def test_where_only_test_has_labels_its_samples_are_shared_out():
    split, learnt, role, tested = shares([-1] * 5, [0, 1] * 10)
    assert (split, role) == ("test", "test") and sorted(learnt + tested) == list(range(20)) and len(tested) == 4
    assert said([-1] * 5, [0, 1] * 10) == [
        "train has no labels: accuracies are of 4 labelled test samples, held out; 16 are learnt from"
    ]


def test_classes_of_one_sample_are_learnt_and_not_tested():
    assert said([0] * 5 + [1] * 5 + [2], None)[1] == "1 class of one labelled sample (dog): learnt, not tested"
    division = divide(torch.arange(4), None)
    assert division.reason == "no class of train has two labelled samples, to hold one out as the test"


def test_classes_that_train_lacks_are_named_and_bound_the_accuracy():
    assert said([0, 1], [0, 1, 3, 2, 3]) == [
        "test has 2 classes that train lacks: dog, emu; their samples (3 of 5) count as wrong, so no accuracy can be "
        "above 40.0 %"
    ]
    features = [
        Features(torch.eye(4)[labels], labels) for labels in (torch.tensor([0, 1]), torch.tensor([0, 1, 3, 2, 3]))
    ]
    for protocol in (KNN(), Linear()):
        assert protocol(*features)["top1"] == pytest.approx(0.4)


def test_names_are_few_and_on_one_line():
    assert said([0], list(range(9)), ["a"] + [f"n{i}" for i in range(1, 9)])[0].startswith(
        "test has 8 classes that train lacks: n1, n2, n3, n4, n5 and 3 more;"
    )
    assert "caf\\udce9, two\\nlines;" in said([0], [0, 1, 2], ["x", "caf\udce9", "two\nlines"])[0]
    assert "lacks: 7;" in said([0], [0, 7], None)[0]


def test_one_class_says_nothing():
    assert said([1, 1], [1, 1]) == ["classifiers learn from one class only (cat): accuracies mean nothing"]


def test_counts_are_of_the_samples_that_the_limit_takes(fakes):
    split = fakes.ListSplit(fakes.images(20), torch.tensor([0, -1] * 10))
    split.class_names = None
    labels = labels_of(split, None, 10)
    assert len(labels.train) == 10 and notes(labels)[-1] == (
        "these counts are of the 10 samples per split that evaluation.limit takes"
    )
    assert labels_of(split, None, 20).limit is None


def test_protocols_get_the_labelled_rows_and_those_without_labels_all_of_them(digits):
    train, test = digits
    hidden = [
        Features(part.x, torch.where(torch.arange(len(part)) % 3 == 0, -1, part.labels)) for part in (train, test)
    ]
    known = [part.take(torch.arange(len(part)) % 3 != 0) for part in (train, test)]
    protocols = [("knn", {}), ("linear", {"epochs": 3}), ("few_shot", {"draws": 2})]
    assert evaluate_features(*hidden, protocols) == evaluate_features(*known, protocols)
    free = [("label_free", {})]
    assert evaluate_features(*hidden, free) == evaluate_features(*digits, free)


def test_labels_that_are_all_hidden_are_none():
    hidden = Features(torch.randn(6, 2), torch.full((6,), -1))
    with pytest.raises(UserError, match="'knn' needs labels and the data has none"):
        evaluate_features(hidden, hidden, [("knn", {})])


def test_features_that_are_not_finite_give_no_number(fakes):
    x = torch.randn(20, 4)
    broken = Features(x.clone().index_fill_(0, torch.tensor([3]), float("nan")), torch.arange(20) % 2)
    for name in ("knn", "linear", "few_shot", "label_free"):
        with pytest.raises(UserError, match="features of 1 of 20 test samples are not finite"):
            evaluate_features(Features(x, broken.y), broken, [(name, {})])
    encoder, told = fakes.encoder(), []
    with torch.no_grad():
        encoder[-1].weight[0] = float("inf")
    split = fakes.BatchSplit(fakes.images(20), torch.arange(20) % 2)
    parts = (encoder, fakes.encoder(1), fakes.data(split, split), [("knn", {})])
    results = compare_representations(*parts, log=told.append)
    assert results["encoder"] == {} and set(results["untrained"]) == set(results["raw"]) == {"knn"}
    assert told == [
        "nothing is measured of the encoder: the features of 20 of 20 train samples are not finite (nan or inf)"
    ]
    with pytest.raises(UserError, match="not finite"):
        compare_representations(*parts)


class Counted(Split):
    """A split that counts how often it is read."""

    def __init__(self, data, labels):
        self.data, self.labels, self.reads = data, labels, 0

    def __len__(self):
        return len(self.data)

    def read(self, i):
        self.reads += 1
        return self.data[i]


def test_what_no_protocol_looks_at_is_not_read(fakes):
    train, test = Counted(fakes.images(20), torch.arange(20) % 2), Counted(fakes.images(10), torch.full((10,), -1))
    parts = (fakes.encoder(), fakes.encoder(1), fakes.data(train, test))
    assert compare_representations(*parts, []) == {"encoder": {}, "untrained": {}, "raw": {}}
    assert (train.reads, test.reads) == (0, 0)
    compare_representations(*parts, [("knn", {})])
    assert (train.reads, test.reads) == (60, 0)
    compare_representations(*parts, [("knn", {}), ("label_free", {})])
    assert (train.reads, test.reads) == (120, 30)

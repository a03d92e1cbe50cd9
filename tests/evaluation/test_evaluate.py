"""The evaluator: the same protocols on trained, untrained and raw; what happens without labels or a test split."""

import pytest
import torch

from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.features import Features, extract, raw
from ssl_zoo.evaluation.holdout import holdout
from ssl_zoo.evaluation.protocol_lists import usable
from ssl_zoo.evaluation.protocols.knn import KNN
from ssl_zoo.evaluation.representations import compare_representations, evaluate_features
from ssl_zoo.registry import register

PROTOCOLS = [("knn", {"k": 5}), ("linear", {"epochs": 2}), ("few_shot", {"draws": 3, "labels": 2}), ("label_free", {})]


@pytest.fixture
def splits(fakes):
    y = torch.arange(60) % 3
    return fakes.BatchSplit(fakes.images(60), y), fakes.BatchSplit(fakes.images(30, seed=1), y[:30])


def test_the_same_protocols_on_all_three(fakes, splits):
    encoder, untrained = fakes.encoder(0), fakes.encoder(1)
    results = compare_representations(encoder, untrained, fakes.data(*splits), PROTOCOLS)
    assert list(results) == ["encoder", "untrained", "raw"]
    assert all(list(result) == ["knn", "linear", "few_shot", "label_free"] for result in results.values())
    for name, module in (("encoder", encoder), ("untrained", untrained)):
        features = [extract(module, fakes.policy, split, device="cpu") for split in splits]
        assert results[name]["knn"] == KNN(k=5)(*features)
    assert results["raw"]["knn"] == KNN(k=5)(*(raw(fakes.modality, fakes.policy, split) for split in splits))


def test_baselines_can_be_left_out(fakes, splits):
    results = compare_representations(fakes.encoder(), None, fakes.data(*splits), PROTOCOLS)
    assert list(results) == ["encoder"]


def test_values_are_plain_numbers(fakes, splits):
    results = compare_representations(fakes.encoder(), None, fakes.data(*splits), PROTOCOLS)["encoder"]
    assert all(type(value) in (int, float) for metrics in results.values() for value in metrics.values())


def test_without_a_test_split_a_fixed_stratified_fifth_is_the_test(fakes, splits):
    train, _ = splits
    encoder = fakes.encoder()
    results = compare_representations(encoder, None, fakes.data(train), [("knn", {"k": 5})])["encoder"]
    features = extract(encoder, fakes.policy, train, device="cpu")
    kept, held = holdout(train.labels, 0.2, 0, "test_split")
    assert torch.bincount(train.labels[held]).tolist() == [4, 4, 4]
    assert results == {"knn": KNN(k=5)(features.take(kept), features.take(held))}


def test_unlabelled_data_runs_what_needs_no_labels(fakes):
    split = fakes.ListSplit(fakes.images(20))
    allowed = usable(PROTOCOLS, labelled=False)
    assert allowed == [("label_free", {})] and usable(PROTOCOLS, labelled=True) == PROTOCOLS
    results = compare_representations(fakes.encoder(0), fakes.encoder(1), fakes.data(split), allowed)
    assert all(set(result) == {"label_free"} for result in results.values())


def test_asking_for_labels_that_are_not_there_is_the_users_error(fakes):
    class NotRead(fakes.ListSplit):
        def read(self, i):
            raise AssertionError("refused before anything is read")

    split = NotRead(fakes.images(20))
    with pytest.raises(UserError, match="'knn' needs labels"):
        compare_representations(fakes.encoder(), None, fakes.data(split), [("knn", {})])
    with pytest.raises(UserError, match="'linear' needs labels"):
        evaluate_features(Features(torch.zeros(4, 2)), Features(torch.zeros(4, 2)), [("linear", {})])


def test_classes_of_one_sample_leave_nothing_to_test_on(fakes):
    split = fakes.BatchSplit(fakes.images(4), torch.arange(4))
    with pytest.raises(UserError, match="no class of train has two labelled samples"):
        compare_representations(fakes.encoder(), None, fakes.data(split), [("knn", {})])


def test_a_protocol_listed_twice_has_two_results(digits):
    results = evaluate_features(*digits, [("knn", {"k": 1}), ("knn", {"k": 20})])
    assert results == {"knn": KNN(k=1)(*digits), "knn_2": KNN(k=20)(*digits)}


def test_an_unknown_protocol_names_the_nearest():
    data = Features(torch.zeros(4, 2), torch.zeros(4, dtype=torch.long))
    with pytest.raises(UserError, match="did you mean 'linear'"):
        evaluate_features(data, data, [("linaer", {})])


def test_a_protocol_of_another_class_is_refused_with_the_contract(own_parts):
    @register("protocol", "no_protocol")
    def no_protocol():
        """Return nothing."""

    data = Features(torch.zeros(4, 2), torch.zeros(4, dtype=torch.long))
    with pytest.raises(UserError, match=r"protocol 'no_protocol': must be a subclass of .*EvaluationProtocol\."):
        evaluate_features(data, data, [("no_protocol", {})])

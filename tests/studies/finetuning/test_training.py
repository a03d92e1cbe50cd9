"""The training of a classifier: what is kept, what mixup does, what happens to BatchNorm."""

import torch

from ssl_zoo.batch import View
from ssl_zoo.evaluation.supervised import Classifier
from ssl_zoo.studies.finetuning.training import chosen, mixup
from tests.tiny import tiny_encoder


def looks(*shares):
    return [{"accuracy": share} for share in shares]


def test_the_last_look_within_a_standard_error_of_the_best_is_kept():
    # 0.9 of 100: the standard error is sqrt(0.9 * 0.1 / 100) = 0.03.
    assert chosen(looks(0.5, 0.9, 0.871, 0.869), 100) == 2
    assert chosen(looks(0.5, 0.9, 0.871, 0.869), 10_000) == 1
    assert chosen(looks(0.5, 0.5), 100) == 1 and chosen(looks(1.0, 0.99), 1000) == 0
    assert chosen(looks(0.6, 0.2), 100) == 0


def test_mixup_mixes_pictures_and_classes_by_the_same_share():
    x, y = torch.randn(6, 3, 4, 4), torch.eye(6)
    view, shares = mixup(0.4, seed=0)(3, View(x), y)
    again, _ = mixup(0.4, seed=0)(3, View(x), y)
    assert torch.equal(view.tensor, again.tensor) and not torch.equal(view.tensor, x)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(6))
    torch.testing.assert_close(view.tensor, torch.einsum("ij,jchw->ichw", shares, x))  # y are the samples themselves


def test_a_classifier_is_the_linear_layer_on_the_features():
    model = Classifier(tiny_encoder(), 3).eval()
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(model.encode(View(x)), model.head(model.encoder(x)))

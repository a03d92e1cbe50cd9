"""The protocols without labels: metrics of features, of views and of the features of places."""

import pytest
import torch

from ssl_zoo import registry
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation import label_free
from ssl_zoo.evaluation.contract import NotOffered
from ssl_zoo.evaluation.features import Features, Tokens
from ssl_zoo.evaluation.protocols.label_free import METRICS


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_metrics_of_the_test_features():
    z = normal(100, 8)
    protocol = registry.build("protocol", "label_free", {"samples": 100})
    assert not protocol.needs_labels
    found = protocol(Features(normal(5, 8)), Features(z))
    assert list(found) == list(METRICS) and found["std"] == pytest.approx(label_free.normalised_std(z))
    assert found == {name: pytest.approx(metric(z)) for name, metric in METRICS.items()}
    few = registry.build("protocol", "label_free", {"metrics": ["rankme", "std"]})
    assert list(few(None, Features(z))) == ["rankme", "std"]
    with pytest.raises(UserError, match="metrics"):
        registry.build("protocol", "label_free", {"metrics": ["rank"]})


def test_what_is_not_defined_of_features_is_left_out():
    found = registry.build("protocol", "label_free", {})(None, Features(torch.ones(30, 4)))
    assert set(METRICS) - set(found) == {"alpha_req", "mean_absolute_correlation"}
    assert found["effective_rank"] == found["std"] == found["idest"] == 0 and found["dead_dimensions"] == 1


def test_metrics_of_views_take_the_true_groups():
    class Given:
        def features(self, samples, views):
            return normal(40, 10, 8)[:samples, :views]

    found = registry.build("protocol", "label_free_views", {"views": 4})(None, Given())
    x = normal(40, 10, 8)
    assert found == {
        "lidar": pytest.approx(label_free.lidar(x[:, :4])),
        "alignment": pytest.approx(label_free.alignment(x[:, 0], x[:, 1])),
    }


def test_metrics_of_places():
    tokens = normal(12, 16, 8)
    found = registry.build("protocol", "label_free_tokens", {})(None, Tokens(tokens))
    assert found == label_free.dense_structure(tokens)
    with pytest.raises(NotOffered, match="fewer places"):
        registry.build("protocol", "label_free_tokens", {})(None, Tokens(tokens[:, :2]))

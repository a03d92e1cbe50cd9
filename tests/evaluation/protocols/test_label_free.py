"""The protocol `label_free`: the metrics of the test features, without labels."""

import pytest
import torch

from ssl_zoo import registry
from ssl_zoo.collapse.metrics import effective_rank, normalised_std
from ssl_zoo.evaluation.features import Features


def test_protocol_needs_no_labels():
    source = torch.Generator().manual_seed(0)
    train, z = torch.randn(5, 8, generator=source), torch.randn(100, 8, generator=source)
    protocol = registry.build("protocol", "label_free", {"samples": 100})
    assert not protocol.needs_labels
    result = protocol(Features(train), Features(z))
    assert result == {"std": pytest.approx(normalised_std(z)), "effective_rank": pytest.approx(effective_rank(z))}

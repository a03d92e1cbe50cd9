"""One view has no other to be compared with: each pairing says so in one sentence."""

import pytest
import torch

from ssl_zoo import registry
from ssl_zoo.errors import UserError
from tests.tiny import paired


@pytest.mark.parametrize("reduce", ["mean", "sum"])
@pytest.mark.parametrize("name", ["all_pairs", "mean_of_others", "nearest_neighbour"])
def test_pairings_that_need_two_views(name, reduce):
    pairing, z = registry.build("pairing", name, {"reduce": reduce}, dim=4), torch.randn(3, 4)
    with pytest.raises(UserError, match=r"no view has another one.*views\.num_views to 2"):
        paired(pairing, [z], [z])


def test_one_way_needs_a_second_view():
    pairing, z = registry.build("pairing", "one_way"), torch.randn(3, 4)
    for targets in ([z], [z, None]):
        with pytest.raises(UserError, match=r"no second view that is a target; set views\.num_views to 2"):
            paired(pairing, [z] * len(targets), targets)


def test_local_views_alone_make_pairs_with_one_global_view():
    pairing, z = registry.build("pairing", "all_pairs"), torch.randn(3, 4)
    assert len(paired(pairing, [z, z, z], [z, None, None]).pairs) == 2

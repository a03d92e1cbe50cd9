"""The arithmetic of a training on many GPUs (docs/scale.md) agrees with what the code does as one process of many."""

import pytest

from experiments.scale.counts import Counts
from experiments.scale.plan import STRATEGIES, Gpu, cost, memory, product
from experiments.scale.simulate import count_term
from ssl_zoo.objectives.decorrelation import Covariance
from ssl_zoo.objectives.normalised_covariance import NormalisedCovariance

NET = Counts(
    encoder=10**9, heads=10**8, blocks=10, largest=10**8, forward=1e11, saved=1e8, boundaries=1e7, views=2, dim=256
)


@pytest.mark.parametrize("term", [Covariance(), NormalisedCovariance()])
@pytest.mark.parametrize("num", [8, 512])
def test_a_product_takes_six_flop_for_each_sample_and_pair_of_dimensions(term, num: int) -> None:
    batch, dim = 4 * num, 64
    whole = count_term(term, num, 4, dim, 2, split=False)
    split = count_term(term, num, 4, dim, 2, split=True)
    assert whole.flops == 2 * 6 * batch * dim**2
    assert split.flops == whole.flops // num
    gathered = [4 * dim * 4] * 2
    assert whole.given.pop("allgather") == split.given.pop("allgather") == gathered
    # For each view the matrix is added up forward and backward; and the gradient of what was gathered, in both ways.
    matrices = [4 * dim**2] * 4
    (name,) = whole.given
    assert sorted(split.given[name]) == sorted(whole.given[name] + matrices)


def test_a_split_product_costs_less_with_more_gpus_down_to_the_sum_of_its_matrices() -> None:
    gpu = Gpu()
    whole = [product(NET, gpus, 65536, gpu, split=False) for gpus in (8, 64, 512)]
    split = [product(NET, gpus, 65536, gpu, split=True) for gpus in (8, 64, 512)]
    assert len(set(whole)) == 1 and split == sorted(split, reverse=True) and split[-1] < whole[-1]


def test_sharding_divides_what_is_kept_for_each_weight_and_checkpointing_the_activations() -> None:
    plain, recomputed, sharded, both = (memory(NET, each, 1000, 1, target=False) for each in STRATEGIES)
    states, halves = 16 * NET.weights, 2 * NET.weights
    gathered = 2 * 2 * 1000 * 256 * 4 + 4 * 2 * 256**2
    assert plain == pytest.approx(states + halves + 2 * NET.saved + gathered)
    assert plain - recomputed == pytest.approx(2 * (1e8 - 1e7 - 0.9e7))
    assert plain - sharded == pytest.approx(states * 0.999 + halves - 2 * 8 * 1e8)
    assert both < min(recomputed, sharded)
    assert memory(NET, STRATEGIES[0], 8, 1, target=True) > memory(NET, STRATEGIES[0], 8, 1, target=False) - gathered


def test_activation_checkpointing_takes_a_third_more_arithmetic() -> None:
    plain, recomputed = (cost(NET, each, 64, 4096, Gpu(), 0.5, target=False) for each in STRATEGIES[:2])
    assert recomputed.arithmetic == pytest.approx(plain.arithmetic * 4 / 3)
    assert plain.arithmetic == pytest.approx(3 * 1e11 * 64 * 2 / (0.5 * 989e12))

"""Every method takes its steps on a GPU that is not there: no mix of devices, no wait for the device, few kernels.

Nothing is computed; `experiments/gpu/fake_gpu.py` notes what would be asked of the device.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch

from experiments.gpu.fake_gpu import MISSING, FakeGpu
from experiments.gpu.fake_step import PARTS, FakeTraining
from experiments.gpu.operations import GPU, Operation
from ssl_zoo import registry
from ssl_zoo.batch import Batch, View
from ssl_zoo.data import RawBatch
from ssl_zoo.data.transfer import Transfer
from ssl_zoo.methods.build import build
from ssl_zoo.recipe.load import load_recipe, method_names
from ssl_zoo.recipe.model import Recipe, parse
from ssl_zoo.rng import generator
from ssl_zoo.training.python_state import difference, python_state
from tests.contract import Sort
from tests.modalities.audio.sort import SORT as AUDIO
from tests.modalities.image.sort import SORT as IMAGE
from tests.modalities.text.sort import SORT as TEXT
from tests.modalities.video.sort import SORT as VIDEO
from tests.tiny import small

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)

NUM, STEPS = 16, 3
"""Samples of a step; steps. Neither changes a count, but that the first step makes what later ones use again."""

MOST = 900
"""Kernels of a step of a method on a small convnet, without its views."""

COVERED: set[str] = set()


@pytest.fixture(scope="module")
def gpu() -> FakeGpu:
    """One device for all tests: what torch knows of an operation is found once."""
    return FakeGpu()


def light(name: str) -> Recipe:
    """Return a small recipe with at most two views of a kind and few matches of places."""
    raw = small(name).dump()
    for key in ("num_views", "num_local"):
        if key in raw["views"]:
            raw["views"][key] = min(raw["views"][key], 2)
    raw["views"].update({key: 8 for key in ("size", "local_size") if key in raw["views"]})
    raw.update({key: 2 for key in ("location_matches", "feature_matches") if key in raw})
    return parse(raw, name)


def batch_of(training: FakeTraining) -> Batch:
    """Return views as the policy states them, on the device."""
    views = []
    for member, spec in training.policy.spec.named_views:
        box = torch.zeros(NUM, 3, len(spec.shape) - 1, device=GPU)
        x = torch.zeros(NUM, *spec.shape, dtype=spec.dtype, device=GPU)
        views.append(View(x, member, spec.role, spec.is_target, {"box": box}))
    drawn = training.draws(0, torch.arange(NUM)) if training.draws else {}
    drawn = {name: x.to(GPU, non_blocking=True) for name, x in drawn.items()}
    return Batch(views, torch.zeros(NUM, dtype=torch.int64, device=GPU), drawn)


def repeated(step: list[Operation]) -> list[Operation]:
    """Return the operations, with the numbers in them where a CUDA graph would repeat those as well.

    Learning rates and the like differ between steps: the optimizer and what follows it stay outside of a graph.
    """
    return [each if each.part in ("forward", "backward") else each._replace(numbers="") for each in step]


def steps_of(gpu: FakeGpu, recipe: Recipe, precision: str, num: int) -> list[list[Operation]]:
    """Return the operations of steps on views that are there.

    What a CUDA graph does not repeat is looked for too: attributes that change in the forward pass, or between steps.
    """
    method, steps, states = build(recipe), [], list[dict[str, object]]()
    with gpu:
        training = FakeTraining(gpu, recipe, precision, method)
        batch = batch_of(training)
        precise: Any = training.trainer.strategy
        forward = precise.precision.forward

        def watched(*arguments: Any) -> Any:
            states.append(python_state([method]))
            output = forward(*arguments)
            states.append(python_state([method]))
            return output

        precise.precision.forward = watched
        for _ in range(num):
            gpu.clear()
            training.trainer.take_step([batch], 1)
            steps.append(list(gpu.operations))
    for earlier, later in pairwise(states[2:]):  # the first step makes what later ones use again
        assert len(earlier) > 50 and not difference(earlier, later)
    assert all(value.device == GPU for value in method.state_dict().values())
    assert all(value.dtype == torch.float32 for view in batch.views for value in [view.tensor, view.aux["box"]])
    return steps


@pytest.mark.parametrize("name", method_names())
def test_a_step(gpu: FakeGpu, name: str) -> None:
    first, second, third = steps_of(gpu, light(name), "bf16", STEPS)
    assert len(first) > 50
    assert not gpu.waits
    assert gpu.kernels.total() <= MOST, gpu.kernels
    assert repeated(second) == repeated(third)
    COVERED.add(name)


@pytest.mark.parametrize("name", ["byol", "swav"])
def test_a_step_in_float32(gpu: FakeGpu, name: str) -> None:
    first, second = steps_of(gpu, light(name), "fp32", 2)
    assert len(first) >= len(second) > 50 and not gpu.waits
    assert not any("bfloat16" in dtype for each in second for dtype, _ in each.tensors)


def test_all_methods_were_covered() -> None:
    assert set(method_names()) == COVERED and len(COVERED) >= 31


EVERYTHING = {"size": 12, "interpolation": "bicubic", "solarise": [0.0, 0.2], "drop_channels": 0.1}
VIEWS: list[tuple[str, dict[str, Any], Sort, int]] = [
    ("augment", {"size": 12}, IMAGE, 50),
    ("augment", EVERYTHING, IMAGE, 80),
    ("augment", {"size": 12, "colour": "exact"}, IMAGE, 270),
    ("multi_crop", {"size": 12, "local_size": 8}, IMAGE, 125),
    ("transforms", IMAGE.views["transforms"], IMAGE, 1),
    ("clips", VIDEO.views["clips"], VIDEO, 240),
    ("log_mel", AUDIO.views["log_mel"], AUDIO, 350),
    ("spans", TEXT.views["spans"], TEXT, 30),
]
"""View policies, with options; samples; the most kernels that they take."""


@pytest.mark.parametrize("name, options, sort, most", VIEWS)
def test_views(gpu: FakeGpu, name: str, options: dict[str, Any], sort: Sort, most: int) -> None:
    policy, steps = registry.build("views", name, options), list[list[Operation]]()
    samples = sort.samples(4, policy.spec.channels)
    with gpu:
        for step in range(STEPS):
            payload = policy.collate(samples, policy.draw(generator(0, "views", step), 4))
            raw = RawBatch(payload, torch.arange(4), []).packed(pin=False)
            gpu.clear()
            views = policy(raw.moved(Transfer(GPU)).payload)
            steps.append(list(gpu.operations))
        assert all(x.device == GPU for view in views for x in [view.tensor, *view.aux.values()])
        assert [view.tensor.dtype for view in views] == [view.dtype for view in policy.spec.views]
    assert not gpu.waits and steps[1] == steps[2]
    assert gpu.kernels.total() <= most, gpu.kernels


def test_simsiam_on_cifar10(gpu: FakeGpu) -> None:
    """The real ResNet-18: counts do not depend on the number of samples."""
    recipe = load_recipe("cifar10/simsiam")
    method = build(recipe)
    with gpu:
        training = FakeTraining(gpu, recipe, "bf16", method)
        for _ in range(2):
            training.step(torch.zeros(4, 3, 32, 32, dtype=torch.uint8))
    assert not gpu.waits and 0 < gpu.kernels_of("optimizer") <= 10 and gpu.kernels_of("views") <= 45
    assert 600 < gpu.kernels.total() <= 900, {part: gpu.kernels_of(part) for part in PARTS}


@pytest.mark.parametrize(
    "fault, noticed",
    [
        (lambda x: x + torch.ones(3), "same device|different devices"),
        (lambda x: torch.randn(3, generator=torch.Generator(), device=GPU), "CPU generator"),
        (lambda x: x.sum().item(), "_local_scalar_dense"),
        (lambda x: x[x > 0], "index"),
        (lambda x: torch.nonzero(x), "nonzero"),
        (lambda x: x.tolist(), "_to_copy"),
        (lambda x: x + torch.tensor([1.0, 2.0, 3.0], device=GPU), "_to_copy"),
        (lambda x: torch.linalg.eigh(x[:, None] * x), "_linalg_eigh"),
    ],
)
def test_faults_are_noticed(gpu: FakeGpu, fault: Callable[[torch.Tensor], Any], noticed: str) -> None:
    """What this file looks for is seen where it is."""
    with gpu:
        x = torch.ones(3, device=GPU)
        gpu.clear()
        if " " in noticed:
            with pytest.raises((RuntimeError, AssertionError), match=noticed):
                fault(x)
        else:
            fault(x)
            assert len(gpu.waits) == 1 and gpu.waits[0].startswith(noticed) and "test_on_a_gpu.py" in gpu.waits[0]

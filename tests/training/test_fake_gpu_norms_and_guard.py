"""BatchNorm over processes, the guard's checks and the log on a GPU that is not there: their kernels and waits."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from experiments.gpu.fake_gpu import MISSING, FakeGpu
from ssl_zoo.batch import StepOutput
from ssl_zoo.distributed import collectives
from ssl_zoo.distributed.batch_norm import to_global
from ssl_zoo.training.measurement import Measurement
from ssl_zoo.training.noted import Noted
from ssl_zoo.training.trainer import Step

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)

COLLECTIVES = {"_allgather_base_", "_reduce_scatter_base_", "allreduce_", "allgather_"}


@pytest.fixture
def gpu() -> Iterator[FakeGpu]:
    with FakeGpu() as made:
        yield made


@pytest.fixture
def two_processes() -> Iterator[None]:
    """A group of two, of which the other one only seems to be there."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    yield
    dist.destroy_process_group()


@pytest.fixture
def shapes_of_kernels() -> Iterator[None]:
    """Shapes of what SyncBatchNorm's kernels return, which torch does not know without a device."""
    library = torch.library.Library("aten", "IMPL")

    def channels(x: Tensor, num: int) -> tuple[Tensor, ...]:
        wide = torch.promote_types(x.dtype, torch.float32)
        return tuple(torch.empty(x.shape[1], dtype=wide, device="meta") for _ in range(num))

    library.impl("batch_norm_stats", lambda x, eps: channels(x, 2), "Meta")
    library.impl("batch_norm_gather_stats_with_counts", lambda x, *_: channels(x, 2), "Meta")
    library.impl("batch_norm_elemt", lambda x, *_: torch.empty_like(x), "Meta")
    library.impl("batch_norm_backward_reduce", lambda grad, x, *_: channels(x, 4), "Meta")
    library.impl("batch_norm_backward_elemt", lambda grad, x, *_: torch.empty_like(x), "Meta")
    yield
    library._destroy()


def steps_of(model: nn.Sequential, gpu: FakeGpu) -> tuple[dict[str, int], dict[str, int]]:
    """Return the kernels of the second step, and the exchanges."""
    x = torch.zeros(4, 3, 8, 8, device=gpu.device)
    for _ in range(2):
        gpu.clear()
        with torch.autocast("cuda", torch.bfloat16):
            y = model(x)
        y.float().mean().backward()
    kernels = dict(gpu.kernels)
    exchanges = {name: num for name, num in kernels.items() if name in COLLECTIVES}
    return {name: num for name, num in kernels.items() if name not in COLLECTIVES}, exchanges


def network(gpu: FakeGpu) -> nn.Sequential:
    layers = [(nn.Conv2d(3 if i == 0 else 8, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()) for i in range(3)]
    model = nn.Sequential(*[layer for each in layers for layer in each])
    gpu.place(model)
    return model


def test_norms_of_two_processes_launch_hardly_more_than_those_of_one(
    gpu: FakeGpu, two_processes: None, shapes_of_kernels: None
) -> None:
    local, none = steps_of(network(gpu), gpu)
    model = network(gpu)
    to_global(model)
    ours, exchanges = steps_of(model, gpu)
    assert none == {} and exchanges == {"_allgather_base_": 3, "allreduce_": 3} and gpu.waits == []
    assert sum(ours.values()) <= 1.3 * sum(local.values()), (ours, local)
    added = {"batch_norm_stats", "batch_norm_gather_stats_with_counts", "batch_norm_elemt", "stack",
             "batch_norm_backward_reduce", "batch_norm_backward_elemt"}  # fmt: skip
    assert set(ours) - set(local) == added
    norms = [each.tensors for each in gpu.operations if each.name.startswith("batch_norm_elemt")]
    assert [(each[0], each[-1]) for each in norms] == [(("bfloat16", (4, 8, side, side)),) * 2 for side in (6, 4, 2)]
    image = torch.zeros(4, 8, 3, 5, device=gpu.device).to(memory_format=torch.channels_last)
    assert model[1](image).is_contiguous(memory_format=torch.channels_last)


def test_gradients_of_what_was_gathered_come_back_by_half_the_traffic(gpu: FakeGpu, two_processes: None) -> None:
    x = torch.zeros(4, 3, device=gpu.device, requires_grad=True)
    gpu._placed[id(x)] = (x, torch.autograd.graph.get_gradient_edge(x))
    whole = collectives.gather(x)
    whole.square().sum().backward()
    exchanges = [(each.name.partition(".")[0], each.tensors[-1]) for each in gpu.operations if "base" in each.name]
    assert exchanges == [("_allgather_base_", ("float32", (8, 3))), ("_reduce_scatter_base_", ("float32", (4, 3)))]


def check(gpu: FakeGpu, num_views: int, members: list[str]) -> int:
    """Return the kernels of a check of the guard and of a line of the log; it has to wait for nothing."""
    z = [torch.zeros(64, 16, device=gpu.device) for _ in range(num_views)]
    loss = torch.zeros((), device=gpu.device)
    tokens = None if members else [x[:, None].expand(-1, 4, -1) for x in z[:2]]
    output = StepOutput(loss, {"a": loss, "b": loss}, z, members, tokens, [x.repeat(1, 2) for x in z])
    encoder = gpu.place(nn.Linear(4, 4))
    method = SimpleNamespace(encoder=encoder, cluster_temperature=None if members else 0.1)
    measurement = Measurement(method, 25, 1000, 32)
    trainer = SimpleNamespace(first_bad=torch.zeros((), dtype=torch.int64, device=gpu.device))
    step = Step(25, 0.1, loss, output.terms, output)
    gpu.clear()
    for number in (24, 25):  # of two steps, as a batch is small
        measurement.after_step(number, output)
    noted = Noted(step, trainer, measurement.take(output), is_logged=True)  # type: ignore[arg-type]
    kernels, waits = gpu.kernels.total(), gpu.waits
    read = noted.read()
    assert (read.loss, read.terms, read.first_bad) == (1, {"a": 1, "b": 1}, 1)
    own = {"std.text", "across.text"} if members else {"clusters", "token_std"}
    assert {"std", "h.std", "weight_change", "random_similarity", *own} <= set(read.embedding)
    assert waits == gpu.waits == []
    return kernels


def test_a_check_waits_for_nothing_whatever_the_number_of_views(gpu: FakeGpu) -> None:
    two = check(gpu, 2, [])
    assert check(gpu, 40, []) == two <= 180
    pair = check(gpu, 2, ["image", "text"])
    assert check(gpu, 12, ["image"] * 5 + ["text"] * 7) == pair <= 140

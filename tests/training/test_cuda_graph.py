"""The recorded step against the plain one, with a stand-in for the graph that does recorded operations again."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from experiments.gpu.check_graph import StandInStep, open_run
from experiments.gpu.replay import StandIn, Waits
from ssl_zoo import registry
from ssl_zoo.batch import Batch, StepOutput, View
from ssl_zoo.data import RawBatch
from ssl_zoo.distributed.precision import Precision
from ssl_zoo.errors import UserError
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.recipe.model import parse
from ssl_zoo.runs.same_recipe import trained_alike
from ssl_zoo.training.cuda_graph import WARM_UP, GraphedStep, reason_against
from ssl_zoo.training.train import train
from ssl_zoo.training.trainer import Trainer
from tests.tiny import small

CPU = torch.device("cpu")
STEPS = WARM_UP + 4


def tiny_recipe(name: str, **training: Any):
    raw = small(name, ["views.local_size=8"] if name == "dino" else []).dump()
    raw["data"] = {"source": {"name": "digits", "placements": 1}, "num_workers": 0}
    raw["views"]["size"] = 12
    raw["training"].update(batch_size=16, max_steps=STEPS, **training)
    raw["evaluation"] = {"protocols": [], "baselines": False}
    return parse(raw, name)


def trained(recipe, graph: bool):
    run, found = open_run(recipe), []
    if graph:
        run.trainer.graphed = StandInStep(run, required=True)

    def after(step) -> bool:
        both = [*step.output.embeddings, *step.output.features]
        found.append((step.loss, step.lr, dict(step.terms), both))  # kept: no later step may overwrite them
        return False

    run.trainer.run(run.loader.iterate(0, STEPS), after)
    return found, run.method.state_dict(), run.trainer.graphed


@pytest.mark.parametrize(("name", "training"), [
    ("simsiam", {"accumulate": 2, "clip_grad": 0.1}),
    ("byol", {"groups": [{"of": ["predictor"], "frozen_epochs": (WARM_UP + 2) / (1797 // 16)}]}),  # recorded steps too
    ("dino", {"accumulate": 2}),
])  # fmt: skip
def test_a_recorded_step_is_the_plain_one(name, training):
    recipe = tiny_recipe(name, **training)
    (plain, one, _), (graphed, other, step) = trained(recipe, False), trained(recipe, True)
    assert step.recorded and step.stand_in.replays == (STEPS - WARM_UP) * recipe.training.accumulate
    for (loss, lr, terms, tensors), (loss_, lr_, terms_, tensors_) in zip(plain, graphed, strict=True):
        assert torch.equal(loss, loss_) and lr == lr_ and terms == terms_
        assert all(map(torch.equal, tensors, tensors_)) and len(tensors) == len(tensors_) > 2
    assert list(one) == list(other) and all(torch.equal(one[key], other[key]) for key in one)
    assert len({float(loss) for loss, *_ in plain}) == STEPS


class Toy(nn.Module):
    """A method with dropout, a BatchNorm and a weight that no loss looks at."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
        self.unused = nn.Linear(2, 2)

    def forward(self, batch: Batch) -> StepOutput:
        z = self.encoder(batch.views[0].tensor)
        loss = (z - 1).square().mean()
        return StepOutput(loss, {"square": loss}, [z.detach()])

    def after_step(self, progress: float) -> None:
        """Nothing follows."""


def to_batch(raw: RawBatch) -> Batch:
    return Batch([View(2 * raw.payload["x"])], raw.index)


def toy_trainer(method: nn.Module, graph: bool = True, required: bool = False) -> Trainer:
    context = {"device": CPU, "precision": Precision("fp32", CPU), "num_processes": 1}
    strategy = registry.build("strategy", "auto", **context)
    groups = [{"params": list(method.parameters()), "lr_scale": 1.0, "constant": False, "weight_decay": 0.1}]
    optimizer = strategy.prepare(method, lambda prepared: torch.optim.SGD(groups, lr=0.1, momentum=0.9))
    trainer = Trainer(strategy, method, optimizer, lambda step: 1 / (1 + step), 0.1, STEPS, 0, to_batch)
    if graph:
        trainer.graphed = GraphedStep(to_batch, strategy.forward_backward, [method], CPU, StandIn(), required)
    return trainer


def toy_batches(first: int = 0, parts: int = 1, sizes: Any = None) -> Iterator[list[RawBatch]]:
    for step in range(first, STEPS):
        g = torch.Generator().manual_seed(step)
        num = (sizes or {}).get(step, 6)
        yield [RawBatch({"x": torch.randn(num, 3, generator=g)}, torch.arange(num), []) for _ in range(parts)]


def taken(trainer: Trainer, batches) -> list[float]:
    found: list[float] = []
    trainer.run(batches, lambda step: bool(found.append(step.loss.item())))
    return found


def same_state(one: Trainer, other: Trainer) -> bool:
    a, b = one.state()["method"], other.state()["method"]
    return all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("parts", [1, 3])
def test_dropout_unused_weights_other_batch_sizes_and_a_resumed_run(parts):
    plain, graphed = toy_trainer(Toy(), graph=False), toy_trainer(Toy(), required=True)
    sizes = {WARM_UP + 2: 4}
    expected = taken(plain, toy_batches(parts=parts, sizes=sizes))
    assert taken(graphed, toy_batches(parts=parts, sizes=sizes)) == expected
    assert graphed.graphed.recorded and same_state(plain, graphed)
    assert torch.equal(plain.method.unused.weight, Toy().unused.weight)  # no gradient, so no weight decay either
    half = toy_trainer(Toy(), required=True)
    stop = WARM_UP + 1
    assert taken(half, list(toy_batches(parts=parts, sizes=sizes))[:stop]) == expected[:stop]
    resumed = toy_trainer(Toy(), required=True)
    resumed.load(half.state())
    assert taken(resumed, toy_batches(stop, parts, sizes)) == expected[stop:]
    assert same_state(plain, resumed) and resumed.graphed.recorded == (STEPS - stop > WARM_UP)


class Lists(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.seen = []

    def forward(self, batch: Batch) -> StepOutput:
        self.seen = [*self.seen, batch.views[0].tensor.mean()]
        return super().forward(batch)


class Counts(Toy):
    number = 1.0

    def forward(self, batch: Batch) -> StepOutput:
        output = super().forward(batch)
        return replace(output, loss=output.loss * self.number)

    def after_step(self, progress: float) -> None:
        self.number += progress


class NewBuffer(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def after_step(self, progress: float) -> None:
        self.mean = self.mean + progress


class ReadsNumber(Toy):
    def forward(self, batch: Batch) -> StepOutput:
        output = super().forward(batch)
        return replace(output, loss=output.loss * (2 if output.loss.item() > 1 else 1))


@pytest.mark.parametrize(("kind", "problem"), [
    (Lists, "seen changes in the forward pass"),
    (Counts, "number changes from step to step"),
    (NewBuffer, "mean changes from step to step"),
    (ReadsNumber, r"it waits for the device \(at aten._local_scalar_dense"),
    (Toy, "each step has inputs of another shape"),
])  # fmt: skip
def test_a_step_that_a_graph_would_not_repeat_is_taken_kernel_by_kernel(kind, problem):
    plain, graphed, said = toy_trainer(kind(), graph=False), toy_trainer(kind()), []
    graphed.report = said.append
    sizes = {step: 4 + step for step in range(STEPS)} if kind is Toy else None
    assert taken(plain, toy_batches(sizes=sizes)) == taken(graphed, toy_batches(sizes=sizes))
    assert same_state(plain, graphed) and not graphed.graphed.recorded
    assert len(said) == 1 and said[0].startswith("training.cuda_graph: no CUDA graph: ")
    with pytest.raises(UserError, match=rf"training\.cuda_graph: the step cannot be recorded: {problem}"):
        taken(toy_trainer(kind(), required=True), toy_batches(sizes=sizes))


def test_the_stand_in_refuses_what_a_capture_refuses():
    x = torch.arange(4.0)
    for function in (lambda: x.sum().item(), lambda: x[x > 1], lambda: x.nonzero()):
        with pytest.raises(Waits, match="operation not permitted when stream is capturing"):
            StandIn().record(function)


def test_where_no_graph_is_tried_the_reason_is_said(tmp_path):
    recipe, gpu = tiny_recipe("simsiam"), torch.device("cuda", 0)
    assert reason_against(recipe.training, gpu, 1) == ""
    ddp = load_recipe("simsiam", ["training.strategy=ddp"]).training
    for training, device, size, reason in (
        (recipe.training, CPU, 1, "no CUDA device"),
        (recipe.training, gpu, 2, "2 processes"),
        (ddp, gpu, 1, "strategy ddp"),
        (ddp.model_copy(update={"strategy": recipe.training.strategy, "gradient_checkpointing": True}), gpu, 1,
         "gradient_checkpointing"),
    ):  # fmt: skip
        assert reason in reason_against(training, device, size)
    for value, meant in (("on", "on"), ("off", "off"), ("true", "on"), ("auto", "auto")):
        assert load_recipe("simsiam", [f"training.cuda_graph={value}"]).training.cuda_graph == meant
    plain = trained_alike(tiny_recipe("simsiam", cuda_graph="off").dump())
    assert plain == trained_alike(tiny_recipe("simsiam").dump())  # a run may be resumed with and without
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match=r"training\.cuda_graph: the step of this run is not recorded: it computes"):
            train(tiny_recipe("simsiam", cuda_graph="on"), out=tmp_path / "run")
        assert not Path(tmp_path / "run").exists()

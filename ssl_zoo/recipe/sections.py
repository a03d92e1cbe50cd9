"""The sections of a recipe that every kind of method has: data, training, evaluation and guard."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from ssl_zoo.optim.group_rules import Group
from ssl_zoo.recipe.part import (
    Frozen,
    Optimizer,
    Protocols,
    Schedule,
    Source,
    Strategy,
    check_data_name,
    default_part,
)

DEFAULT_PROTOCOLS = ("knn", "linear", "few_shot", "label_free", "view_retrieval")


def _off(value: Any) -> Any:
    return "off" if value is False else value  # YAML 1.1 reads a bare `off` as false


def _on_or_off(value: Any) -> Any:
    return "on" if value is True else _off(value)


class Data(Frozen):
    """Where the samples come from and how they are read.

    `decode` has the options of the views' modality; where samples are mappings, those of each member.
    """

    source: Source | None = None
    decode: dict[str, Any] = Field(default_factory=dict)
    cache: Literal["auto", "memory", "none"] = "auto"
    on_error: Literal["raise", "skip"] = "raise"
    bad_budget: Annotated[float, Field(ge=0, le=1)] = 0.001
    num_workers: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"


class Training(Frozen):
    """How the parts are trained.

    `batch_size` is the total over accumulation and devices; the learning rate is `base_lr` scaled by batch_size / 256.
    The length is `max_steps` optimizer steps if given, else `epochs`. Where `final_weight_decay` is given, the
    optimizer's weight decay goes to it along half a cosine. `gradient_checkpointing` saves memory for time, exactly;
    `compile` has torch compile encoder, heads and target network, which may save time on a GPU and differs by rounding.
    `cuda_graph` launches all kernels of a step as one on a GPU: `auto` where that is possible, `on` makes it an error
    that it is not.

    The state after each `keep_every` optimizer steps, or epochs (`5 epochs`), is kept as `checkpoints/step-N.pt`.
    """

    batch_size: Annotated[int, Field(ge=1)] = 256
    epochs: Annotated[float, Field(gt=0)] = 100
    max_steps: Annotated[int, Field(ge=1)] | None = None
    accumulate: Annotated[int, Field(ge=1)] = 1
    base_lr: Annotated[float, Field(gt=0)] = 0.05
    lr_scaling: Literal["linear", "sqrt", "none"] = "linear"
    optimizer: Optimizer = Field(default_factory=partial(default_part, "optimizer", "sgd"))
    schedule: Schedule = Field(default_factory=partial(default_part, "schedule", "cosine"))
    groups: tuple[Group, ...] = ()
    final_weight_decay: Annotated[float, Field(ge=0)] | None = None
    clip_grad: Annotated[float, Field(gt=0)] | None = None
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "auto"
    memory_format: Literal["auto", "channels_last", "contiguous"] = "auto"
    gradient_checkpointing: bool = False
    compile: bool = False
    cuda_graph: Annotated[Literal["auto", "on", "off"], BeforeValidator(_on_or_off)] = "auto"
    strategy: Strategy = Field(default_factory=partial(default_part, "strategy", "auto"))
    log_every: Annotated[int, Field(ge=1)] = 10
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 10.0
    keep_every: Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern=r"^\d+(\.\d+)? epochs?$")] | None = None

    @model_validator(mode="after")
    def _compiles(self) -> Training:
        if self.compile and self.gradient_checkpointing:
            raise ValueError(
                "compile: torch does not compile blocks that are computed again in the backward pass; set compile or "
                "gradient_checkpointing to false"
            )
        return self

    @model_validator(mode="after")
    def _divides(self) -> Training:
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"batch_size: {self.batch_size} does not divide into {self.accumulate} equal parts "
                "(training.accumulate)"
            )
        return self

    @property
    def lr(self) -> float:
        """The full learning rate: base_lr scaled to the total batch."""
        ratio = self.batch_size / 256
        return self.base_lr * {"linear": ratio, "sqrt": ratio**0.5, "none": 1.0}[self.lr_scaling]


class Evaluation(Frozen):
    """What is measured on the frozen encoder, at the end of a run and in training, and on how many samples at most.

    `protocols` and `baselines` are of the end. With `every`, the protocols `online` are run after each so many
    optimizer steps and after the last one, on each data set of `data`, `{NAME: SOURCE}`; with none, on that of the run,
    which is then called `own`. The training is the same with and without it.

    With `best`, a metric of these such as `own/knn.top1`, the state of the step at which it was best is kept as
    `checkpoints/best.pt`: the highest, or with `best_mode: min` the lowest.

    Of `report_samples` samples, names and small pictures are kept in the run folder for the report; 0 keeps none.
    """

    protocols: Protocols = Field(
        default_factory=lambda: tuple(default_part("protocol", name) for name in DEFAULT_PROTOCOLS)
    )
    baselines: bool = True
    limit: Annotated[int, Field(ge=2)] | None = None
    report_samples: Annotated[int, Field(ge=0, le=5000)] = 2000
    every: Annotated[int, Field(ge=1)] | None = None
    online: Protocols = Field(default_factory=lambda: (default_part("protocol", "knn"),))
    data: dict[str, Source] = Field(default_factory=dict)
    best: str | None = None
    best_mode: Literal["max", "min"] = "max"

    @model_validator(mode="after")
    def _best_is_measured(self) -> Evaluation:
        if self.best is None:
            return self
        key, dot, metric = self.best.rpartition(".")
        data, _, protocol = key.partition("/")
        sets, names = list(self.data) or ["own"], [part.name for part in self.online]
        own = protocol.rpartition("/")[2]
        measured = data in sets and (own in names or re.sub(r"_\d+$", "", own) in names)
        if self.every is None or not (dot and metric and measured):
            raise ValueError(
                f"best: {self.best!r} is not measured in training; name DATA_SET/PROTOCOL.METRIC, such as "
                f"{sets[0]}/{(names or ['knn'])[0]}.top1, with every=STEPS, a data set of {', '.join(sets)} and a "
                f"protocol of online ({', '.join(names)})."
            )
        return self

    @model_validator(mode="after")
    def _named(self) -> Evaluation:
        for name in self.data:
            check_data_name(name)
        if self.every is not None and not self.online:
            raise ValueError("online: names no protocol to run in training; name one, or leave every out.")
        return self


class Guard(Frozen):
    """The collapse guard: what it does when it finds a collapse, and every how many steps it looks.

    What is judged is the mean of the last `patience` checks, the start not counted. A run shorter than 50 * every steps
    is looked at more often, so that it has 50 checks.

    With the policy `rollback` the run goes back to its last healthy checkpoint, at most `rollbacks` times, and goes on
    with the settings of `change`: dotted keys with a new value, or with a factor, such as `training.base_lr: 0.5x`.
    """

    policy: Annotated[Literal["warn", "stop", "rollback", "off"], BeforeValidator(_off)] = "warn"
    every: Annotated[int, Field(ge=1)] = 25
    patience: Annotated[int, Field(ge=1)] = 4
    change: dict[str, bool | int | float | str | None] = Field(default_factory=dict)
    rollbacks: Annotated[int, Field(ge=1, le=10)] = 2

    @model_validator(mode="after")
    def _has_a_change(self) -> Guard:
        if self.policy == "rollback" and not self.change:
            raise ValueError(
                "change: the policy rollback needs a setting to change, or the run would end as before; for example "
                "{training.base_lr: 0.5x}"
            )
        return self

"""Recipe: all that defines a run, as validated and frozen data.

A recipe is loaded from YAML by `recipe.load`; here is its shape. Parts are `{name: ..., option: ...}`; their options
are checked against the part's own signature and filled in with its defaults, so that the dumped recipe states all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from ssl_zoo import registry
from ssl_zoo.errors import UserError
from ssl_zoo.optim.group_rules import Group
from ssl_zoo.recipe.explain import explain, explain_option, short

DEFAULT_PROTOCOLS = ("knn", "linear", "few_shot", "label_free")


class Frozen(BaseModel):
    """What every section of a recipe is: no unknown keys, no change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Part(Frozen):
    """A part of a recipe: its registered name and all its options."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Return the YAML form, `{name: ..., option: ...}`."""
        return {"name": self.name, **self.options}


class WeightedPart(Part):
    """A term of an objective: a part with a weight."""

    weight: float = 1.0

    def plain(self) -> dict[str, Any]:
        """Return the YAML form, `{name: ..., weight: ..., option: ...}`."""
        return {"name": self.name, "weight": self.weight, **self.options}


def _resolve(kind: str, cls: type[Part], value: Any) -> Any:
    """Turn `name` or `{name: ..., option: ...}` into a Part whose options are checked and complete."""
    if isinstance(value, Part):
        return value
    given = {"name": value} if isinstance(value, str) else dict(value) if isinstance(value, dict) else None
    if given is None or not isinstance(given.get("name"), str):
        raise ValueError(f"is written as NAME or {{name: NAME, ...}}, not {short(value)}")
    name = given.pop("name")
    fields = set(cls.model_fields) - {"name", "options"}
    own = {key: given.pop(key) for key in list(given) if key in fields}
    try:
        options = registry.validate(kind, name, given).model_dump()
    except ValidationError as error:
        raise ValueError(explain_option(error, kind, name, fields)) from None
    return cls(name=name, options=options, **own)


def _default(kind: str, name: str) -> Any:
    return _resolve(kind, Part, name)


@dataclass(frozen=True)
class Of:
    """Marks a field as a part of a kind: it is read from its name or its mapping, and written as its mapping."""

    kind: str

    def __get_pydantic_core_schema__(self, source: type[Part], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate through the registry before the model, and serialise to the YAML form."""
        return core_schema.no_info_before_validator_function(
            partial(_resolve, self.kind, source),
            handler(source),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda part: part.plain()),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Leave a mark, which `json_schema` replaces by the registered parts: pydantic knows no such reference."""
        return {"part": self.kind}


Encoder = Annotated[Part, Of("encoder")]
Head = Annotated[Part, Of("head")]
Target = Annotated[Part, Of("target")]
Pairing = Annotated[Part, Of("pairing")]
Term = Annotated[WeightedPart, Of("term")]
Views = Annotated[Part, Of("views")]
Source = Annotated[Part, Of("source")]
Protocol = Annotated[Part, Of("protocol")]
Optimizer = Annotated[Part, Of("optimizer")]
Schedule = Annotated[Part, Of("schedule")]
Strategy = Annotated[Part, Of("strategy")]


class Listed:
    """Marks a list in which a single item may stand for the list of it alone."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Put the single item into a list before validation."""
        return core_schema.no_info_before_validator_function(self._listed, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Allow the item beside the list."""
        listed = handler(schema)
        return {"anyOf": [listed, listed["items"]]}

    @staticmethod
    def _listed(value: Any) -> Any:
        return [value] if isinstance(value, (str, dict)) else value


def _off(value: Any) -> Any:
    return "off" if value is False else value  # YAML 1.1 reads a bare `off` as false


class Data(Frozen):
    """Where the samples come from and how they are read."""

    source: Source | None = None
    cache: Literal["auto", "memory", "none"] = "auto"
    on_error: Literal["raise", "skip"] = "raise"
    bad_budget: Annotated[float, Field(ge=0, le=1)] = 0.001
    num_workers: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"


class Training(Frozen):
    """How the parts are trained.

    `batch_size` is the total over accumulation and devices; the learning rate is `base_lr` scaled by batch_size / 256.
    The length is `max_steps` optimizer steps if given, else `epochs`. Where `final_weight_decay` is given, the
    optimizer's weight decay goes to it along half a cosine. `gradient_checkpointing` saves memory for time, exactly;
    `compile` has torch compile the encoder, which may save time on a GPU and differs by rounding.
    """

    batch_size: Annotated[int, Field(ge=1)] = 256
    epochs: Annotated[float, Field(gt=0)] = 100
    max_steps: Annotated[int, Field(ge=1)] | None = None
    accumulate: Annotated[int, Field(ge=1)] = 1
    base_lr: Annotated[float, Field(gt=0)] = 0.05
    lr_scaling: Literal["linear", "sqrt", "none"] = "linear"
    optimizer: Optimizer = Field(default_factory=partial(_default, "optimizer", "sgd"))
    schedule: Schedule = Field(default_factory=partial(_default, "schedule", "cosine"))
    groups: tuple[Group, ...] = ()
    final_weight_decay: Annotated[float, Field(ge=0)] | None = None
    clip_grad: Annotated[float, Field(gt=0)] | None = None
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    memory_format: Literal["auto", "channels_last", "contiguous"] = "auto"
    gradient_checkpointing: bool = False
    compile: bool = False
    strategy: Strategy = Field(default_factory=partial(_default, "strategy", "auto"))
    log_every: Annotated[int, Field(ge=1)] = 10
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 10.0

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
    """What is measured on the frozen encoder at the end of a run, and on how many samples at most."""

    protocols: Annotated[tuple[Protocol, ...], Listed()] = Field(
        default_factory=lambda: tuple(_default("protocol", name) for name in DEFAULT_PROTOCOLS)
    )
    baselines: bool = True
    limit: Annotated[int, Field(ge=2)] | None = None


class Guard(Frozen):
    """The collapse guard: what it does when it finds a collapse, and every how many steps it looks.

    What is judged is the mean of the last `patience` checks, the start not counted. A run shorter than 2 * patience *
    every steps is looked at more often, so that `patience` checks are half of it.
    """

    policy: Annotated[Literal["warn", "stop", "off"], BeforeValidator(_off)] = "warn"
    every: Annotated[int, Field(ge=1)] = 25
    patience: Annotated[int, Field(ge=1)] = 4


class Local(Frozen):
    """A comparison of matching places of the views, beside that of whole views: see `ssl_zoo.methods.local`.

    `location_matches` and `feature_matches` are the pairs kept of each matching, in each direction: None for all, 0 for
    none.
    """

    projector: Head
    objective: Annotated[tuple[Term, ...], Field(min_length=1), Listed()]
    location_matches: Annotated[int, Field(ge=0)] | None = 20
    feature_matches: Annotated[int, Field(ge=0)] | None = None


class Recipe(Frozen):
    """A method and everything else that defines a run of it.

    `norm` says what each BatchNorm normalises by when several processes train together: `global` is the batch of all of
    them, as in the papers of SimSiam, BYOL, Barlow Twins and VICReg and as on one process; `local` is a process's own
    shard, which needs no exchange and depends on the number of processes.
    """

    method: str
    encoder: Encoder
    projector: Head = Field(default_factory=partial(_default, "head", "identity"))
    predictor: Head = Field(default_factory=partial(_default, "head", "identity"))
    target: Target = Field(default_factory=partial(_default, "target", "shared"))
    pairing: Pairing = Field(default_factory=partial(_default, "pairing", "all_pairs"))
    objective: Annotated[tuple[Term, ...], Field(min_length=1), Listed()]
    local: Local | None = None
    stack_views: bool = False
    norm: Literal["global", "local"] = "global"
    views: Views
    data: Data = Data()
    training: Training = Field(default_factory=Training)
    evaluation: Evaluation = Field(default_factory=Evaluation)
    guard: Guard = Guard()
    seed: Annotated[int, Field(ge=0)] = 0

    def dump(self) -> dict[str, Any]:
        """Return the recipe as plain data: what YAML and JSON can hold."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """Return the resolved recipe as YAML, in the order of its fields."""
        return yaml.safe_dump(self.dump(), sort_keys=False, width=120)


def parse(raw: Any, where: str, overrides: Sequence[str] = ()) -> Recipe:
    """Validate plain data as a recipe.

    Args:
        raw: what the YAML held, overrides applied.
        where: the file or name, for messages.
        overrides: those that were applied, KEY=VALUE, for messages.

    Raises:
        UserError: one sentence with the file, the key path and what to do.
    """
    if not isinstance(raw, dict):
        raise UserError(f"{where}: a recipe is a mapping of keys to values, not {type(raw).__name__}.")
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        sentence = explain(error, where, Recipe)
        path, _, problem = sentence.removeprefix(f"{where}: ").partition(": ")
        for override in reversed(overrides):
            key = override.partition("=")[0] + "."
            if f"{path}.".startswith(key) or (problem.startswith("unknown key") and key.startswith(f"{path}.")):
                raise UserError(f"-s {override} on {sentence}") from None
        raise UserError(sentence) from None

"""Recipe: all that defines a run, as validated and frozen data.

A recipe is loaded from YAML by `recipe.load`; here is its shape. Parts are `{name: ..., option: ...}`; their options
are checked against the part's own signature and filled in with its defaults, so that the dumped recipe states all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, create_model, model_validator

from ssl_zoo import registry
from ssl_zoo.errors import UserError, explain
from ssl_zoo.recipe.members import check_members, check_source, decoding, decoding_of_members
from ssl_zoo.recipe.part import Encoder, Frozen, PerMember, Views
from ssl_zoo.recipe.resolve import modalities_of, modality_of
from ssl_zoo.recipe.sections import Data, Evaluation, Guard, Training

DEFAULT_KIND = "joint_embedding"
"""The kind of method of a recipe that names none."""


class Recipe(Frozen):
    """A method and everything else that defines a run of it.

    Its other fields are the options of its kind of method, such as projector, predictor, target, pairing and objective:
    `recipe_model` adds them.

    `norm` says what each BatchNorm normalises by when several processes train together: `global` is the batch of all of
    them, as in the papers of SimSiam, BYOL, Barlow Twins and VICReg and as on one process; `local` is a process's own
    shard, which needs no exchange and depends on the number of processes.
    """

    method: str
    kind: str = DEFAULT_KIND
    encoder: Encoder
    norm: Literal["global", "local"] = "global"
    views: Views
    data: Data = Data()
    training: Training = Field(default_factory=Training)
    evaluation: Evaluation = Field(default_factory=Evaluation)
    guard: Guard = Guard()
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _has_members(self) -> Recipe:
        """Make sure that views, encoder and source agree on whether samples are mappings, and of which members."""
        check_members(self.views, self.encoder, self.options)
        if self.data.source is not None:
            check_source(self.data.source.name, self.members)
        for name, source in self.evaluation.data.items():
            check_source(source.name, self.members, f"evaluation.data.{name}")
        return self

    @model_validator(mode="after")
    def _decodes(self) -> Recipe:
        """Check the options of the modality, or of each member's, and fill in their defaults."""
        given = self.data.decode
        if isinstance(self.views, PerMember):
            modalities = modalities_of(self.views)
            options: dict[str, Any] = decoding_of_members(modalities, given)
        else:
            options = decoding(modality_of(self.views.name), given)
        if options == given:
            return self
        return self.model_copy(update={"data": self.data.model_copy(update={"decode": options})})

    @property
    def members(self) -> tuple[str, ...]:
        """The members of samples that are mappings; none where a sample is of one modality."""
        return self.views.members if isinstance(self.views, PerMember) else ()

    @property
    def options(self) -> dict[str, Any]:
        """The options of the kind of method, parts as `Part`."""
        return {name: getattr(self, name) for name in type(self).model_fields if name not in Recipe.model_fields}

    def dump(self) -> dict[str, Any]:
        """Return the recipe as plain data: what YAML and JSON can hold."""
        plain = self.model_dump(mode="json")
        first = ["method", *(["kind"] if self.kind != DEFAULT_KIND else []), "encoder", *self.options]
        rest = [name for name in Recipe.model_fields if name not in (*first, "kind")]
        return {name: plain[name] for name in (*first, *rest)}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as plain data: the class of a kind of method is made anew where it is read, as in a worker process."""
        return parse, (self.dump(), "recipe")

    def to_yaml(self) -> str:
        """Return the resolved recipe as YAML, in the order of its fields."""
        return yaml.safe_dump(self.dump(), sort_keys=False, width=120)


@cache
def recipe_model(kind: str = DEFAULT_KIND) -> type[Recipe]:
    """Return the model of recipes of a kind of method, with the kind's options as fields.

    Raises:
        UserError: there is no such kind, or it has an option that a recipe has already.
    """
    entry, _ = registry.find("method", kind)
    fields: dict[str, Any] = registry.fields(entry)
    taken = sorted(fields.keys() & Recipe.model_fields.keys())
    if taken:
        raise UserError(f"method {kind!r}: its option {taken[0]} is a field of every recipe; rename it.")
    return create_model("Recipe", __base__=Recipe, __module__=__name__, **fields)


def kind_of(raw: Mapping[str, Any]) -> str:
    """Return the kind of method of a recipe as plain data."""
    kind = raw.get("kind", DEFAULT_KIND)
    return kind if isinstance(kind, str) else DEFAULT_KIND


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
        model = recipe_model(kind_of(raw))
    except UserError as error:
        raise UserError(f"{where}: kind: {error}") from None
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        sentence = explain(error, where, model)
        path, _, problem = sentence.removeprefix(f"{where}: ").partition(": ")
        for override in reversed(overrides):
            key = override.partition("=")[0] + "."
            if f"{path}.".startswith(key) or (problem.startswith("unknown key") and key.startswith(f"{path}.")):
                raise UserError(f"-s {override} on {sentence}") from None
        raise UserError(sentence) from None

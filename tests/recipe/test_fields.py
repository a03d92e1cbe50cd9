"""Every field of a recipe has an effect: it is read somewhere in the package (T45).

Types are followed through annotations, assignments and loops of each function.
"""

import ast
import typing
from functools import cache
from pathlib import Path

import pytest
from pydantic import BaseModel
from torch import nn

import ssl_zoo
from ssl_zoo.optim.group_rules import Group
from ssl_zoo.optim.param_groups import parameter_groups
from ssl_zoo.recipe import model as recipe_module
from ssl_zoo.recipe import part as recipe_part
from ssl_zoo.recipe.load import Experiment


def _models() -> dict[str, type[BaseModel]]:
    found = {}
    for name, value in {**vars(recipe_module), **vars(recipe_part)}.items():
        if isinstance(value, type) and issubclass(value, recipe_module.Frozen) and value.model_fields:
            found[name] = value
    return {**found, "Experiment": Experiment}


def _model_in(annotation: typing.Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, typing.get_args(annotation))), None)


class Reads(ast.NodeVisitor):
    """Collects (model, field) for every field of a model that a module's source reads."""

    CALLS = {"load_recipe": "Recipe", "parse": "Recipe", "read_experiment": "Experiment"}

    def __init__(self, models: dict[str, type[BaseModel]]):
        self.models, self.found = models, set()
        self.scopes: list[dict[str, type[BaseModel]]] = [{}]
        self.words: dict[str, list[str]] = {}  # loop variable -> the constants that it takes

    def type_of(self, node: ast.expr) -> type[BaseModel] | None:
        if isinstance(node, ast.Name):
            return next((scope[node.id] for scope in reversed(self.scopes) if node.id in scope), None)
        if isinstance(node, ast.Attribute):
            owner = self.type_of(node.value)
            if owner is not None and node.attr in owner.model_fields:
                return _model_in(owner.model_fields[node.attr].annotation)
            return self.models["Recipe"] if node.attr == "recipe" else None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            name = self.CALLS.get(node.func.id, node.func.id)
            return self.models.get(name)
        return self.type_of(node.value) if isinstance(node, ast.Subscript) else None

    def bind(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for each, part in zip(target.elts, value.elts, strict=False):
                self.bind(each, part)
        elif isinstance(target, ast.Tuple) and isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
            if value.func.attr == "items":  # of a mapping of models
                self.bind(target.elts[-1], value.func.value)
        elif isinstance(target, ast.Name):
            if isinstance(value, ast.Tuple):
                self.words[target.id] = [e.value for e in value.elts if isinstance(e, ast.Constant)]
            elif (kind := self.type_of(value)) is not None:
                self.scopes[-1][target.id] = kind

    def visit_ClassDef(self, node):
        kind = self.models.get(node.name)
        self.scopes.append({"self": kind} if kind else {})
        self.generic_visit(node)
        self.scopes.pop()

    def visit_FunctionDef(self, node):
        scope = {}
        for argument in [*node.args.args, *node.args.kwonlyargs]:
            for part in ast.walk(argument.annotation) if argument.annotation else ():
                if isinstance(part, ast.Name) and part.id in self.models:
                    scope[argument.arg] = self.models[part.id]
        self.scopes.append(scope)
        for inner in ast.walk(node):
            if isinstance(inner, ast.Assign):
                for target in inner.targets:
                    self.bind(target, inner.value)
            elif isinstance(inner, ast.For | ast.comprehension):
                self.bind(inner.target, inner.iter)
        self.generic_visit(node)
        self.scopes.pop()

    def visit_Attribute(self, node):
        owner = self.type_of(node.value)
        if owner is not None and isinstance(node.ctx, ast.Load):
            self.found.add((owner, node.attr))
        self.generic_visit(node)

    def visit_Call(self, node):
        if isinstance(node.func, ast.Name) and node.func.id == "getattr" and isinstance(node.args[1], ast.Name):
            owner = self.type_of(node.args[0])
            self.found |= {(owner, word) for word in self.words.get(node.args[1].id, ()) if owner is not None}
        self.generic_visit(node)


@cache
def reads(source: str) -> set[tuple[type[BaseModel], str]]:
    visitor = Reads(_models())
    visitor.visit(ast.parse(source))
    return visitor.found


def unread(sources: list[str]) -> list[str]:
    models = _models()
    found = {(base, field) for source in sources for model, field in reads(source) for base in model.__mro__}
    return [f"{name}.{f}" for name, model in models.items() for f in model.model_fields if (model, f) not in found]


def test_every_field_is_read_somewhere():  # T45
    files = sorted(Path(ssl_zoo.__file__).parent.rglob("*.py"))
    sources = [file.read_text(encoding="utf-8") for file in files]
    assert set(_models()) >= {"Recipe", "Data", "Training", "Evaluation", "Guard", "Part", "WeightedPart", "Experiment"}
    assert unread(sources) == []
    # the test of the test: without the line that reads it, a field is found to be unread
    for field in ("clip_grad", "limit", "patience", "bad_budget"):
        left_out = unread([source.replace(field, "nothing") for source in sources])
        assert [name.partition(".")[2] for name in left_out] == [field]


OF_A_GROUP = {"lr_scale": 0.5, "schedule": "constant", "weight_decay": 0.3, "adapt": False, "frozen_epochs": 2.0}


@pytest.mark.parametrize("field", sorted(set(Group.model_fields) - {"of"}))
def test_every_field_of_a_group_changes_what_the_optimizer_gets(field):
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.predictor = nn.Linear(2, 2), nn.Linear(2, 2)

    rule = Group(of=("predictor",), **{field: OF_A_GROUP[field]})
    changed = [g for g in parameter_groups(Pair(), (rule,)) if all("predictor" in n for n in g["names"])]
    plain = parameter_groups(Pair(), ())[0]
    settings = [{k: v for k, v in group.items() if k not in ("params", "names")} for group in (*changed, plain)]
    assert len(changed) == 1 and settings[0] != settings[1]

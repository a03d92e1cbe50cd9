"""The public names: pinned here, so that one is not added or lost unnoticed."""

import ast
import importlib.metadata
import importlib.util
import inspect
import re
from pathlib import Path

import ssl_zoo
from ssl_zoo.cli import main

PUBLIC = [
    "Batch",
    "Method",
    "Recipe",
    "UserError",
    "View",
    "build",
    "compare",
    "curate",
    "duplicates",
    "embed",
    "evaluate",
    "export",
    "finetune",
    "init_recipe",
    "load_classifier",
    "load_encoder",
    "load_recipe",
    "names",
    "neighbours",
    "predict",
    "register",
    "train",
]

COMMANDS = [
    "bench", "check", "compare", "completion", "curate", "data", "demo", "doctor", "duplicates", "embed", "eval",
    "export", "finetune", "init", "list", "merge", "neighbours", "predict", "report", "run", "schema", "show",
    "slurm", "train", "views",
]  # fmt: skip


def test_the_public_names_are_these():
    assert ssl_zoo.__all__ == PUBLIC == sorted(PUBLIC)
    assert dir(ssl_zoo) == PUBLIC


def test_the_version_is_that_of_the_installed_package():
    assert ssl_zoo.__version__ == importlib.metadata.version("ssl_zoo")


def test_every_public_name_exists_and_is_documented():
    for name in PUBLIC:
        value = getattr(ssl_zoo, name)
        assert value.__name__ == name and (inspect.getdoc(value) or "").strip(), name


def test_no_module_hides_a_public_name():
    # Once `ssl_zoo/build.py` were imported, `ssl_zoo.build` would be that module, and no longer the function.
    for name in PUBLIC:
        assert importlib.util.find_spec(f"ssl_zoo.{name}") is None, name


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(ssl_zoo.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname: f"{node.module}" for node in block.body for alias in node.names}
    assert seen == ssl_zoo._HOMES and sorted(seen) == PUBLIC
    assert Path(ssl_zoo.__file__).with_name("py.typed").is_file()


def test_every_command_has_a_function_that_the_page_of_the_api_names():
    page = (Path(__file__).parents[1] / "docs/reference/api.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `([\w ]+)` \| `([\w.]+)` \|", page, flags=re.MULTILINE))
    assert sorted({name.partition(" ")[0] for name in listed}) == COMMANDS
    for path in listed.values():
        module, _, name = path.rpartition(".")
        assert inspect.getdoc(getattr(importlib.import_module(module), name)), path


def test_the_commands_are_these_and_each_says_what_it_does():
    assert sorted(main.commands) == COMMANDS
    assert all(command.help for command in main.commands.values())

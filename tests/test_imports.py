"""Start-up: the packages that importing ssl_zoo and each of the quick commands load."""

import subprocess
import sys

import pytest

HEAVY = {
    "jinja2", "lightly", "lightning_fabric", "lightning_utilities", "matplotlib", "pandas", "pyarrow",
    "pytorch_lightning", "safetensors", "scipy", "sklearn", "tensorboard", "timm", "torchmetrics", "torchvision",
}  # fmt: skip
"""Packages that no command below may load."""

BY_THE_COMPILER = {"sympy"}
"""Packages that torch loads with its compiler, which a check of shapes does not need."""

QUICK = ["list", "show simsiam", "show head/mlp", "check simsiam", "check digits/simsiam", "schema"]

NO_TORCH = [
    "--help", "--version", "list --help", "show --help", "check --help", "schema --help", "views --help",
    "train --help", "eval --help", "export --help", "data check --help", "bench --help",
]  # fmt: skip


def loaded_by(code: str) -> set[str]:
    """Return the top-level packages that a fresh interpreter has loaded after running some code."""
    code += "\nimport sys\nprint('loaded:', *{name.partition('.')[0] for name in sys.modules})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.splitlines()[-1].removeprefix("loaded:").split())


def loaded_by_commands(*commands: str) -> set[str]:
    """Return the top-level packages that commands load, one after the other, in a fresh interpreter."""
    lines = ["import ssl_zoo.cli"]
    for command in commands:
        lines += [
            "try:",
            f"    ssl_zoo.cli.main({command.split()!r})",
            "except SystemExit as left:",
            f"    assert not left.code, ({command!r}, left.code)",
        ]
    return loaded_by("\n".join(lines))


def test_import_and_help_load_click_alone():
    loaded = loaded_by_commands(*NO_TORCH) | loaded_by("import ssl_zoo; assert dir(ssl_zoo) == ssl_zoo.__all__")
    assert "click" in loaded and not loaded & {"torch", "numpy", "pydantic", "yaml", "PIL", *HEAVY}


EACH = """
import os, sys
import torch
import ssl_zoo.cli

def loaded():
    return {name.partition(".")[0] for name in sys.modules}

print("", "torch alone", *loaded(), sep="\t", flush=True)
for command in sys.argv[1:]:
    if not os.fork():  # a copy of this interpreter, which has loaded torch, for each
        try:
            ssl_zoo.cli.main(command.split())
        except SystemExit as left:
            assert not left.code, (command, left.code)
        print("", command, *loaded(), sep="\t", flush=True)
        os._exit(0)
    assert os.wait()[1] == 0, command
import ssl_zoo
for name in ("train", "evaluate", "load_encoder", "build", "compare"):
    getattr(ssl_zoo, name)
print("", "public names", *loaded(), sep="\t", flush=True)
"""


@pytest.fixture(scope="module")
def loaded_by_each():
    done = subprocess.run([sys.executable, "-c", EACH, *QUICK], capture_output=True, text=True, check=True)
    lines = [line.split("\t")[1:] for line in done.stdout.splitlines() if line.startswith("\t")]
    return {command: set(loaded) for command, *loaded in lines}


@pytest.mark.parametrize("command", QUICK)
def test_a_quick_command_loads_only_what_it_needs(loaded_by_each, command):
    assert not loaded_by_each[command] & (HEAVY | BY_THE_COMPILER - loaded_by_each["torch alone"])


def test_the_public_names_load_nothing_that_is_not_used(loaded_by_each):
    loaded = loaded_by_each["public names"]
    assert "ssl_zoo" in loaded and not loaded & {"lightly", "pytorch_lightning", "timm", "sklearn", "jinja2"}


def test_python_m_ssl_zoo_is_the_command_line():
    result = subprocess.run([sys.executable, "-m", "ssl_zoo", "lst"], capture_output=True, text=True)
    assert result.returncode == 2 and "No such command 'lst'" in result.stderr


@pytest.mark.parametrize("name", ["nothing", "torch"])
def test_a_name_that_does_not_exist_is_an_attribute_error(name):
    import ssl_zoo

    with pytest.raises(AttributeError, match=f"module 'ssl_zoo' has no attribute '{name}'"):
        getattr(ssl_zoo, name)

"""What importing ssl_zoo, asking for help and loading a recipe do not load."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "lightly", "pytorch_lightning", "timm", "lightning_fabric", "sklearn", "pyarrow", "matplotlib")


def loaded_by(code: str) -> set[str]:
    """Return the heavy packages that a fresh interpreter has loaded after running some code."""
    code += f"\nimport sys\nprint('loaded:', *(name for name in {HEAVY!r} if name in sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.splitlines()[-1].removeprefix("loaded:").split())


def test_import_and_help_load_nothing_heavy():
    code = """
import ssl_zoo, ssl_zoo.cli
assert dir(ssl_zoo) == ssl_zoo.__all__
for arguments in (["--help"], ["train", "--help"], ["data", "check", "--help"], ["--version"]):
    try:
        ssl_zoo.cli.main(arguments)
    except SystemExit as left:
        assert left.code == 0
"""
    assert loaded_by(code) == set()


def test_using_it_loads_torch_but_not_what_nothing_asked_for():
    code = """
import ssl_zoo
from ssl_zoo.methods.check import check_recipe
for name in ("train", "evaluate", "load_encoder", "build"):
    getattr(ssl_zoo, name)
check_recipe(ssl_zoo.load_recipe("simsiam", ["data=digits"]))
"""
    assert not loaded_by(code) & {"lightly", "pytorch_lightning", "timm", "sklearn"}


def test_python_m_ssl_zoo_is_the_command_line():
    result = subprocess.run([sys.executable, "-m", "ssl_zoo", "lst"], capture_output=True, text=True)
    assert result.returncode == 2 and "No such command 'lst'" in result.stderr


@pytest.mark.parametrize("name", ["nothing", "torch"])
def test_a_name_that_does_not_exist_is_an_attribute_error(name):
    import ssl_zoo

    with pytest.raises(AttributeError, match=f"module 'ssl_zoo' has no attribute '{name}'"):
        getattr(ssl_zoo, name)

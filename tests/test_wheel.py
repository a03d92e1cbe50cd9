"""What is built carries the recipes of the checkout, and no tests."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


def recipes() -> dict[str, bytes]:
    files = [*ROOT.glob("methods/*.yaml"), *ROOT.glob("experiments/**/*.yaml")]
    assert len(files) > 4
    return {file.relative_to(ROOT).as_posix(): file.read_bytes() for file in files}


def test_the_wheel_carries_the_recipes_and_no_tests(built):
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        prefix = "ssl_zoo/_recipes/"
        carried = {n.removeprefix(prefix): wheel.read(n) for n in names if n.startswith(prefix) and n.endswith(".yaml")}
    assert carried == recipes()
    assert "ssl_zoo/py.typed" in names
    tops = {name.partition("/")[0] for name in names}
    assert len(tops) == 2 and "ssl_zoo" in tops  # the package and its metadata, nothing else in site-packages
    assert not [name for name in names if "tests/" in name or "/test_" in name or "conftest" in name]
    modules = {file.relative_to(ROOT).as_posix() for file in (ROOT / "ssl_zoo").rglob("*.py")}
    assert modules == {name for name in names if name.endswith(".py")}


def test_the_sdist_carries_the_recipes_and_no_tests(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        names = [name.partition("/")[2] for name in sdist.getnames()]
    assert {name for name in names if name.startswith(("methods/", "experiments/")) and name.endswith(".yaml")} == set(
        recipes()
    )
    assert "ssl_zoo/py.typed" in names and "pyproject.toml" in names
    assert not [name for name in names if name.startswith("tests/") or "/test_" in name or "conftest" in name]


def test_the_wheels_recipes_are_found_where_it_is_unpacked(built, tmp_path):
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        wheel.extractall(tmp_path)
    code = (
        "import ssl_zoo; from ssl_zoo.recipe.load import method_names, recipe_root, experiment_names; "
        "print(recipe_root()); print(*method_names(), *experiment_names())"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}
    )
    root, found = result.stdout.splitlines()
    assert Path(root) == tmp_path / "ssl_zoo" / "_recipes"
    files = [Path(name) for name in recipes()]
    named = [f.stem if f.parts[0] == "methods" else f"{f.parent.name}/{f.stem}" for f in files]
    assert sorted(found.split()) == sorted(named)

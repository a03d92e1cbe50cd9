"""The structure of the package: imports go one way, no modality is named outside its folder, functions fit a screen."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import ssl_zoo

ROOT = Path(ssl_zoo.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

ORDER = (
    {"errors", "rng", "batch", "registry", "parts", "hardware", "collapse", "distributed"},  # ground
    {"data"},
    {"optim", "heads", "targets", "pairing", "objectives", "modalities"},
    {"recipe"},
    {"methods"},
    {"runs"},
    {"evaluation"},
    {"training"},
    {"report"},
    {"search"},
    {"studies"},
    {"bench"},
    {"cli"},
    {"__main__"},
)
"""Packages and modules of `ssl_zoo`: each imports from its own level or from those before it."""
LEVEL = {name: number for number, names in enumerate(ORDER) for name in names}
LONGEST = 50
"""Lines of a function."""


def top(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(file: Path) -> Iterator[tuple[str, int]]:
    """Yield (package or module at the top, line) of each import from ssl_zoo, in functions and for type checks too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "ssl_zoo":
            names = [alias.name for alias in node.names] if node.module == "ssl_zoo" else [node.module.split(".")[1]]
            yield from ((name, node.lineno) for name in names)
        elif isinstance(node, ast.Import):
            yield from ((a.name.split(".")[1], node.lineno) for a in node.names if a.name.startswith("ssl_zoo."))


@cache
def edges() -> set[tuple[str, str, str]]:
    """Return (package or module at the top, what it imports, line): of all files, which takes seconds to find."""
    return {
        (top(file), name, f"{file.relative_to(ROOT)}:{line}")
        for file in FILES
        for name, line in imports(file)
        if name != top(file) and top(file) != "__init__"
    }


def test_imports_go_one_way() -> None:
    assert len(edges()) > 300  # a walk that finds nothing tests nothing
    assert [edge for edge in sorted(edges()) if LEVEL[edge[1]] > LEVEL[edge[0]]] == []


def test_no_two_packages_import_each_other() -> None:
    graph: dict[str, set[str]] = {}
    for source, target, _ in edges():
        graph.setdefault(source, set()).add(target)

    def reach(name: str, seen: frozenset[str]) -> None:
        assert name not in seen, f"a circle through {name}: {sorted(seen)}"
        for other in graph.get(name, ()):
            reach(other, seen | {name})

    for name in graph:
        reach(name, frozenset())


def test_at_most_25_names_at_the_top() -> None:
    names = {top(file) for file in FILES} - {"__init__", "__main__"}
    assert names == set().union(*ORDER) - {"__main__"} and len(names) <= 25


MODALITIES = sorted(path.name for path in (ROOT / "modalities").iterdir() if (path / "modality.py").is_file())


def test_no_modality_is_named_outside_its_folder() -> None:
    """Neither imported nor written as a value."""
    assert "image" in MODALITIES
    named = []
    for file in FILES:
        if "modalities" in file.relative_to(ROOT).parts:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and any(
                (node.module or "").startswith(f"ssl_zoo.modalities.{name}") for name in MODALITIES
            ):
                named.append(f"{file.relative_to(ROOT)}:{node.lineno}")
            if isinstance(node, ast.Constant) and node.value in MODALITIES:
                named.append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert named == []


@pytest.mark.parametrize("package", sorted(set().union(*ORDER)))
def test_functions_fit_a_screen(package: str) -> None:
    """The body and the signature, without the docstring."""
    long = []
    for file in FILES:
        if top(file) != package:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                doc = node.body[0] if ast.get_docstring(node) else None
                lines = node.end_lineno - node.lineno + 1 - (doc.end_lineno - doc.lineno + 1 if doc else 0)
                if lines > LONGEST:
                    long.append(f"{file.relative_to(ROOT)}:{node.lineno} {node.name} {lines}")
    assert long == []


RETIRED = (
    "Crew", "knob", "Desk", "Lender", "Tolerant", "OncePerTarget", "LocalMethod", "in_channels", "images_per_s",
    "samples_per_norm", "from_first", "size_of_crew", "let_first_speak", "choose_reading", "Listing",
)  # fmt: skip
"""Names that the field has a word for, and what replaced them: an option, processes, a buffer pool, ..."""


def test_retired_words_stay_retired() -> None:
    checkout = ROOT.parent
    texts = [*FILES, *(checkout / "methods").glob("*.yaml"), *(checkout / "experiments").rglob("*.yaml")]
    texts += [*checkout.glob("*.md"), *(checkout / "docs").rglob("*.md"), *(checkout / "examples").rglob("*.*")]
    history = {checkout / "CHANGELOG.md", checkout / "docs" / "log.md", *(checkout / "docs" / "decisions").iterdir()}
    readable = [path for path in texts if path not in history and path.suffix in (".py", ".md", ".yaml")]
    assert len(readable) > 200
    found = [
        f"{path.relative_to(checkout)}: {word}"
        for path in readable
        for word in RETIRED
        if word in path.read_text(encoding="utf-8")
    ]
    assert found == []

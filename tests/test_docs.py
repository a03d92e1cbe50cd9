"""Every example in README.md, CONTRIBUTING.md and docs/ runs; `tests/pages.py` says how."""

import contextlib
import json
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import click
import nbformat
import pytest
import yaml

from ssl_zoo.cli import main
from tests import pages as executor
from tests.pages import PAGES, PLAIN, ROOT, SHELLS, blocks

LEAST_RUN, MOST_SKIPPED = 30, 12


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    """The program that executes pages, with all loaded that most of them load."""
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    process = subprocess.Popen(
        [sys.executable, executor.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "120"},
    )  # fmt: skip
    assert process.stdout is not None and json.loads(process.stdout.readline()) == "ready"
    with contextlib.closing(process.stdin), process:
        yield process


TOGETHER = [page for page in PAGES if page.startswith(("docs/methods/", "docs/tutorials/", "docs/cheat-sheet"))]
"""Pages that are executed in one process and one folder: what one imports is there for the next."""


@pytest.mark.parametrize("pages", [*([page] for page in PAGES if page not in TOGETHER), TOGETHER], ids=lambda x: x[0])
def test_the_examples_of_a_page_run(pages: list[str], server: subprocess.Popen[str]) -> None:
    if not any(block.runs for page in pages for block in blocks(page)):
        return
    assert server.stdin is not None and server.stdout is not None
    server.stdin.write(json.dumps(pages) + "\n")
    server.stdin.flush()
    answer = json.loads(server.stdout.readline())
    assert answer["code"] == 0, answer["output"]


@pytest.mark.parametrize("page", PAGES)
def test_blocks_are_of_a_known_kind_and_none_escapes(page: str) -> None:
    found = blocks(page)
    for number, block in enumerate(found):
        where = f"{page}:{block.line}"
        assert block.language in SHELLS | PLAIN | {"python"}, f"{where}: language {block.language!r}"
        assert set(block.options) <= {"title", "source"}, f"{where}: {block.options}"
        if block.language == "yaml":
            yaml.safe_load(block.text)
        if block.options.get("title", "").endswith(".py"):
            path = Path(block.options["title"])
            name = path.parent.name or path.stem  # a package is imported by the name of its folder
            used = any(name in later.text for later in found[number + 1 :] if later.runs)
            assert used, f"{where}: {block.options['title']} is written, but no later block uses it"


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_a_sentence_exist_with_their_options(page: str) -> None:
    """`ssl-zoo train ... --resume` in the text of a page: the command, and each option that it names."""
    prose = re.sub(r"^ *```.*?^ *```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for text in re.findall(r"`ssl-zoo ([^`]+)`", prose):
        words = [word for word in text.replace("\n", " ").split() if word not in {"-q", "-v"}]
        command: click.Command = main
        while isinstance(command, click.Group) and words and words[0][0].islower():
            assert words[0] in command.commands, f"{page}: ssl-zoo {text}"
            command = command.commands[words.pop(0)]
        known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {
            "--help",
            "-h",
        }
        named = [re.split("[=,;]", word)[0] for word in words if re.match("--?[a-z]", word)]
        assert set(named) <= known, f"{page}: ssl-zoo {text}"


def test_quotations_are_what_the_files_say() -> None:
    quoted = [(page, block) for page in PAGES for block in blocks(page) if "source" in block.options]
    assert quoted
    for page, block in quoted:
        text = (ROOT / block.options["source"]).read_text(encoding="utf-8")
        assert block.text in text, f"{page}:{block.line}: differs from {block.options['source']}"


def test_few_examples_are_skipped() -> None:
    every = [block for page in PAGES for block in blocks(page)]
    skipped = [block for block in every if "not run" in block.notes]
    assert sum(block.runs for block in every) >= LEAST_RUN
    assert len(skipped) <= MOST_SKIPPED


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_local_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = {target for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)}
    assert targets
    assert not [target for target in sorted(targets) if not (ROOT / target).exists()]


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "docs").rglob("*.ipynb")))
def test_a_notebook_is_valid_and_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = next((ROOT / "docs").rglob(name)).read_text("utf-8")
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert cells and not any(cell.outputs for cell in cells)
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for number, cell in enumerate(cells):
        exec(compile(cell.source, f"{name}[{number}]", "exec"), namespace)

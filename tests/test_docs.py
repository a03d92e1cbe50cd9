"""Every example in README.md, CONTRIBUTING.md and docs/ runs.

The blocks of a page are executed in order, in a temporary folder: `python` in one namespace, `bash` with this
environment's commands first in PATH. A block with `title="FILE"` is written as that file, for a later block to use; one
with `source="FILE"` is a quotation and must stand in that file. A comment on the line before a block may say

    <!-- not run: REASON -->            it needs a download, a GPU or hours
    <!-- run with: --max-steps 4 -->    options added to each of its `ssl-zoo` commands, so that they take seconds
    <!-- exit code: 3 -->               what its last command leaves with

This file is also the program that executes a page: `python test_docs.py` loads torch once and then forks for every page
that it is asked for, so that pages neither wait for imports nor see each other.
"""

import contextlib
import html
import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tempfile
import traceback
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import nbformat
import pytest
import yaml

import ssl_zoo
from ssl_zoo.batch import Encoder
from ssl_zoo.cli import main
from ssl_zoo.data.source import Modality, Source, Split, ViewPolicy
from ssl_zoo.distributed.strategy import Strategy
from ssl_zoo.evaluation.contract import EvaluationProtocol
from ssl_zoo.methods.builder import Builder
from ssl_zoo.parts import Head, Pairing, Target, Term
from ssl_zoo.recipe.load import load_recipe, method_names
from tests.site_search import SiteSearch

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))]
SHELLS, PLAIN = {"bash", "console"}, {"text", "yaml", "json"}
LEAST_RUN, MOST_SKIPPED = 30, 12

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)(?P<options>[^\n`]*)$")
NOTE = re.compile(r"^ *<!-- (?P<key>not run|run with|exit code): (?P<value>.+?) -->$")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it is, what it says, and what the comment before it asks for."""

    line: int
    language: str
    options: dict[str, str]
    notes: dict[str, str]
    text: str

    @property
    def runs(self) -> bool:
        return self.language in SHELLS | {"python"} and not self.options and "not run" not in self.notes


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a page."""
    found: list[Block] = []
    lines = iter(enumerate((ROOT / page).read_text(encoding="utf-8").splitlines(), start=1))
    notes: dict[str, str] = {}
    for number, line in lines:
        note, fence = NOTE.match(line), FENCE.match(line)
        if note:
            notes[note["key"]] = note["value"]
        elif fence:
            indent, body = len(fence["indent"]), []
            for _, inner in lines:
                if inner.strip() == "```":
                    break
                body.append(inner[indent:])
            options = dict(re.findall(r'(\w+)="([^"]*)"', fence["options"]))
            found.append(Block(number, fence["language"], options, notes, "\n".join(body) + "\n"))
            notes = {}
        elif line.strip():
            assert not notes, f"{page}:{number}: a comment about a block stands before no block"
    return found


# ---- executing a page -----------------------------------------------------------------------------------------------


def commands(text: str) -> list[list[str]] | None:
    """Return the words of each line if all are plain calls of `ssl-zoo`, or None if it takes a shell to run them."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.wordchars += "=:[]{}@"
        words = list(lexer)
        if words and (words[0] != "ssl-zoo" or any(word and set(word) <= set("();<>|&$`") for word in words)):
            return None
        if words:
            found.append(words[1:])
    return found


def run_shell(block: Block) -> None:
    text = block.text
    if block.language == "console":
        text = "".join(line[2:] + "\n" for line in text.splitlines() if line.startswith("$ "))
    expected = int(block.notes.get("exit code", 0))
    extra = block.notes.get("run with", "")
    plain = commands(text)
    if plain is None:
        assert not extra, "`run with` is for blocks of plain ssl-zoo commands"
        code = subprocess.run(["bash", "-euo", "pipefail", "-c", text], check=False).returncode
        assert code == expected, f"exit code {code}"
        return
    for number, words in enumerate(plain, start=1):
        print("$ ssl-zoo", *words, extra, flush=True)
        with pytest.raises(SystemExit) as left:
            main([*words, *shlex.split(extra)], prog_name="ssl-zoo")
        assert (left.value.code or 0) == (expected if number == len(plain) else 0), f"exit code {left.value.code}"


def run_page(page: str) -> None:
    """Execute the blocks of a page in the current folder."""
    sys.path.insert(0, os.getcwd())
    namespace: dict[str, object] = {"__name__": "page"}
    for block in blocks(page):
        where = f"{page}:{block.line}"
        print(f"--- {where}", flush=True)
        if "title" in block.options:
            path = Path(block.options["title"])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.runs and block.language == "python":
            exec(compile("\n" * block.line + block.text, page, "exec"), namespace)
        elif block.runs:
            run_shell(block)


def serve() -> None:
    """Execute the lists of pages that come on standard input; answer each with its exit code and its output."""
    import sklearn.datasets
    import sklearn.linear_model
    import sklearn.manifold  # noqa: F401
    import torch.utils.tensorboard  # noqa: F401
    import torchvision.transforms.v2  # noqa: F401

    import ssl_zoo.report
    import ssl_zoo.studies.compare  # noqa: F401
    from ssl_zoo import registry

    for kind in registry.PACKAGES:
        registry.names(kind)

    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "output.txt"
            child = os.fork()
            if not child:
                os._exit(in_child(json.loads(line), Path(folder), output))
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            print(json.dumps({"code": code, "output": output.read_text(errors="replace")}), flush=True)


def in_child(pages: Sequence[str], folder: Path, output: Path) -> int:
    with output.open("w") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    work = folder / "work"
    work.mkdir()
    os.chdir(work)
    code = 0
    try:
        for page in pages:
            run_page(page)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


# ---- tests ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    """The program that executes pages, with all loaded that most of them load."""
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
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


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation, built without a warning."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return folder


def test_the_documentation_builds_without_a_warning(site: Path) -> None:
    assert (site / "index.html").is_file()
    pages = {page: html.unescape(re.sub("<[^>]+>", "", page.read_text("utf-8"))) for page in site.rglob("*.html")}
    assert not [page for page, text in pages.items() if "```" in text]  # a fence that the site did not understand
    step = pages[site / "concepts" / "step" / "index.html"]
    assert (
        "self.objective(self.pairing(p, t, batch.views), z, batch.views)" in step and "def distance(p: Tensor" in step
    )


QUESTIONS = yaml.safe_load((ROOT / "docs" / "questions.yaml").read_text("utf-8"))


def test_the_search_finds_the_page_that_answers(site: Path) -> None:
    assert len(QUESTIONS) >= 20
    search = SiteSearch(site)
    assert {each["page"] for each in QUESTIONS} <= search.pages
    hits = [(each, search.pages_for(each["question"])[:5]) for each in QUESTIONS]
    missed = {each["question"]: found for each, found in hits if each["page"] not in found}
    assert not missed


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


def test_nothing_on_the_site_comes_from_another_server(site: Path) -> None:
    loaded = re.compile(r"""<(?:script|img|iframe)[^>]*\bsrc=["']?(?:https?:)?//|<link[^>]*stylesheet[^>]*//""")
    assert not [page for page in site.rglob("*.html") if loaded.search(page.read_text("utf-8"))]


def test_the_api_page_has_every_public_name_and_every_contract(site: Path) -> None:
    page = (site / "reference" / "api" / "index.html").read_text("utf-8")
    documented = set(re.findall(r'id="(ssl_zoo[\w.]+)"', page))
    assert {f"{home}.{name}" for name, home in ssl_zoo._HOMES.items()} <= documented
    contracts = {kind.__name__ for kind in (Term, Head, Target, Pairing, Encoder, Source, Split, Modality, ViewPolicy)}
    contracts |= {kind.__name__ for kind in (Strategy, EvaluationProtocol, Builder)}
    assert contracts <= {name.rpartition(".")[2] for name in documented}


@pytest.mark.parametrize("name", method_names())
def test_a_method_has_a_page_with_its_equation_picture_results_pitfalls_and_recipe(name: str, site: Path) -> None:
    text = (site / "methods" / name / "index.html").read_text("utf-8")
    assert re.findall(r'<h2 id="([\w-]+)"', text) == [
        "equation",
        "use-it",
        "what-it-reaches-here",
        "pitfalls",
        "recipe",
    ]
    picture = re.search(r"<svg class=.parts.*?</svg>", text, re.DOTALL)
    assert picture is not None
    drawn = ElementTree.fromstring(picture[0])
    assert "NaN" not in picture[0] and drawn.get("aria-label", "").startswith(f"Parts of {name}")
    made = load_recipe(name)
    words = " ".join(drawn.itertext())
    assert all(term.name in words for term in made.objective)
    shown = html.unescape(re.sub("<[^>]+>", "", text))
    assert all(f"{key}:" in shown for key in ("method", "encoder", "objective", "views", "training"))
    assert "Measured on" in shown or "Not measured" in shown


if __name__ == "__main__":
    serve()

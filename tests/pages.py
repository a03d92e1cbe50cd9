"""The fenced blocks of README.md, CONTRIBUTING.md and docs/, and the program that executes them.

The blocks of a page are executed in order, in a temporary folder: `python` in one namespace, `bash` with this
environment's commands first in PATH. A block with `title="FILE"` is written as that file, for a later block to use; one
with `source="FILE"` is a quotation and must stand in that file. A comment on the line before a block may say

    <!-- not run: REASON -->            it needs a download, a GPU or hours
    <!-- run with: --max-steps 4 -->    options added to each of its `ssl-zoo` commands, so that they take a second
    <!-- exit code: 3 -->               what its last command leaves with

`python pages.py` loads torch once and then forks for every page that it is asked for, so that pages neither wait for
imports nor see each other. For the same reason it runs `ssl-zoo` and `python` without starting an interpreter.
"""

import contextlib
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from ssl_zoo.cli import main

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))]
SHELLS, PLAIN = {"bash", "console"}, {"text", "yaml", "json"}

SMALL = (
    "-s training.max_steps=4 -s encoder.widths=[4,8] -s projector.dims=[8,8] -s predictor.dims=[4,8] "
    "-s training.batch_size=32 -s data.source.placements=1 -s evaluation.protocols=[knn] -s evaluation.limit=60"
)
"""What `SMALL` in `run with` stands for: `digits/simsiam` in a third of a second. Options after it take precedence."""

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


def run_shell(block: Block) -> None:
    """Run the commands of a block, each line by itself; a line that ends in a backslash goes on."""
    text = block.text
    if block.language == "console":
        text = "".join(line[2:] + "\n" for line in text.splitlines() if line.startswith("$ "))
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    expected = int(block.notes.get("exit code", 0))
    extra = shlex.split(block.notes.get("run with", "").replace("SMALL", SMALL))
    for number, line in enumerate(lines, start=1):
        words = plain_words(line)
        assert not extra or words[:1] == ["ssl-zoo"], "`run with` is for blocks of plain ssl-zoo commands"
        print("$", line, *extra, flush=True)
        code = run_line(line, [*words, *extra])
        assert code == (expected if number == len(lines) else 0), f"exit code {code}"


def plain_words(line: str) -> list[str]:
    """Return the words of a line, or none if it takes a shell to run it."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.wordchars += "=:[]{}@"
    words = list(lexer)
    return [] if any(word and set(word) <= set("();<>|&$`") for word in words) else words


def run_line(line: str, words: Sequence[str]) -> int:
    """Return the exit code of a command; `words` are empty if it takes a shell."""
    if words[:1] == ["python"]:
        return forked(words[1:])
    if words[:1] != ["ssl-zoo"]:
        return subprocess.run(["bash", "-euo", "pipefail", "-c", line], check=False).returncode
    with pytest.raises(SystemExit) as left:
        main([*words[1:]], prog_name="ssl-zoo")
    return int(left.value.code or 0)


def forked(words: Sequence[str]) -> int:
    """Run `python FILE ...` or `python -m MODULE ...` in a fork, which has torch already; return its exit code."""
    child = os.fork()
    if not child:
        code = 1
        try:
            if words[0] == "-m":
                sys.argv = [*words[1:]]
                runpy.run_module(words[1], run_name="__main__", alter_sys=True)
            else:
                sys.argv = [*words]
                runpy.run_path(words[0], run_name="__main__")
            code = 0
        except SystemExit as left:
            code = int(left.code or 0)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


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


def warm_up() -> None:
    """Import and read what most pages need: the children have it then."""
    import sklearn.linear_model
    import sklearn.manifold  # noqa: F401
    import timm  # noqa: F401
    import torch.utils.tensorboard  # noqa: F401
    import torchvision.transforms.v2  # noqa: F401

    import ssl_zoo.report
    import ssl_zoo.studies.compare  # noqa: F401
    from ssl_zoo import registry

    for kind in registry.PACKAGES:
        registry.names(kind)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        run_line("", ["ssl-zoo", "-q", "train", "digits/simsiam", "--out", f"{folder}/run", *shlex.split(SMALL)])


def serve() -> None:
    """Execute the lists of pages that come on standard input; answer each with its exit code and its output."""
    warm_up()
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


if __name__ == "__main__":
    serve()

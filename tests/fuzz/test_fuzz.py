"""Mutated files of every kind that ssl_zoo reads: one sentence or a result, in bounded time and memory."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.readers import READERS

ROOT = Path(__file__).parents[2]


def fuzz(reader: str, folder: Path, num: int, seed: int = 0) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.fuzz.worker", reader, str(folder), str(seed), str(num)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_500_mutated_inputs(reader: str, tmp_path: Path) -> None:
    result = fuzz(reader, tmp_path, 500)
    assert not result["faults"], "\n".join(result["faults"])
    assert result["read"] + result["refused"] == 500
    assert result["refused"] >= 100  # the inputs are damaged enough for the test to mean something

"""What a GPU call needs and brings: data in parts that are the data again, and pages made of what was found."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from experiments.gpu import pack, tables
from ssl_zoo.bench.timing import Result


def test_parts_together_are_the_data_and_none_is_larger_than_asked(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "parts"
    data.mkdir()
    for name, num in (("train", 3000), ("test", 1000)):
        table = pa.table({"image": [bytes([i % 251]) * 1000 for i in range(num)], "label": list(range(num))})
        pq.write_table(table, data / f"{name}.parquet")
    found = CliRunner().invoke(pack.main, [str(data), "--out", str(out), "--megabytes", "2"])
    assert found.exit_code == 0 and len(list(out.iterdir())) >= 2
    for name, num in (("train", 3000), ("test", 1000)):
        files = sorted(out.glob(f"*/{name}-*.parquet"), key=lambda path: path.name)
        assert pa.concat_tables(pq.read_table(path) for path in files)["label"].to_pylist() == list(range(num))
    assert all(sum(path.stat().st_size for path in folder.iterdir()) <= 2.2e6 for folder in out.iterdir())
    assert CliRunner().invoke(pack.main, [str(data), "--out", str(out)]).exit_code == 2


def test_pages_hold_what_was_found(tmp_path: Path) -> None:
    out, into = tmp_path / "out", tmp_path / "pages"
    out.mkdir()
    result = Result("views 32 px", "images/s", 8, {"ssl_zoo": [8.0, 6.0, 7.0], "lightly": [2.0, 2.0, 2.0]}, ["a note"])
    (out / "bench-views.json").write_text(json.dumps({"machine": {"hardware": "a GPU"}, "results": [result.plain()]}))
    recipes = {"simsiam": {"recorded": True, "plain_ms": [3.0, 1.0, 2.0], "graph_ms": [1.0, 1.5, 1.25],
                           "largest_relative_difference": 0.0}, "byol": {"error": "it failed"}}  # fmt: skip
    (out / "graph.json").write_text(json.dumps({"torch": "2", "device": "a GPU", "recipes": recipes}))
    (out / "checks.md").write_text("28 recipes agree.\n")
    (out / "RESULTS.md").write_text("# Four methods\n")
    assert CliRunner().invoke(tables.main, [str(out), "--into", str(into)]).exit_code == 0
    page = (into / "performance.md").read_text(encoding="utf-8")
    block = page.partition("<!-- gpu:begin -->")[2].partition("<!-- gpu:end -->")[0]
    assert block.index("28 recipes agree.") < block.index("2.00") < block.index("1.25") < block.index("it failed")
    assert "3.50x" in block and "a note" in block and "hardware a GPU" in block
    assert (into / "RESULTS_gpu.md").read_text(encoding="utf-8") == "# Four methods\n"


@pytest.mark.parametrize("given", [{}, {"OUT": "x"}, {"OUT": "x", "STAGE": "2"}])
def test_the_script_says_what_it_needs(given: dict[str, str], tmp_path: Path) -> None:
    import os
    import subprocess

    script = Path(tables.ROOT) / "experiments" / "gpu" / "measure.sh"
    environment = {
        **os.environ,
        **{key: str(tmp_path / value) if key == "OUT" else value for key, value in given.items()},
    }
    found = subprocess.run(["bash", str(script)], env=environment, capture_output=True, text=True, check=False)
    missing = ("OUT", "STAGE", "DATA")[len(given)]
    assert found.returncode != 0 and f"{missing}: " in found.stderr

"""The page in a browser: headless Chromium draws it without an error, at the width of a phone and of a desk."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ssl_zoo.report.html import write_report
from tests.report.test_page import NUM, group, left

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)")

WIDTHS = (390, 1200)
ASK = """<script>addEventListener("load", () => setTimeout(() => {
  const press = (key) => document.querySelector("#map canvas").dispatchEvent(new KeyboardEvent("keydown", { key }));
  const tip = document.querySelector("#map .tip");
  press("ArrowRight"); press("ArrowLeft");
  const shown = tip.hidden ? "" : tip.textContent;
  press("Escape");
  const width = document.documentElement.scrollWidth;
  parent.postMessage([innerWidth, width, document.getElementById("map").dataset.drawn, shown, tip.hidden], "*");
}, 300))</script>"""
"""Tells the page around it how wide a page is, how many points its script has drawn, and what the arrow keys show."""
AROUND = """<!doctype html><pre id="told"></pre><script>const told = [];
addEventListener("message", (event) => {
  told.push(event.data); document.getElementById("told").textContent = JSON.stringify(told);
});</script>"""


def dumped(page: Path, profile: Path) -> tuple[str, str]:
    """Return the page's elements after its scripts ran, and what the console got."""
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
               f"--user-data-dir={profile}", "--window-size=1300,900", "--virtual-time-budget=3000",
               "--enable-logging=stderr", "--dump-dom", page.as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    return done.stdout, "\n".join(re.findall(r".*CONSOLE.*", done.stderr))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    groups = [group(root, "first & <best>" + "x" * 80, left()), group(root, "pairs", left(False, ("picture", "words")))]
    return write_report(groups, root / "report.html", "Names of " + "any_length" * 20, tsne=False)


def test_the_script_runs_without_an_error(report: Path, tmp_path: Path) -> None:
    elements, console = dumped(report, tmp_path / "profile")
    assert console == ""
    assert f'data-drawn="{NUM}"' in elements and elements.count('aria-pressed="false"') == 4
    assert elements.count("<option") == 3 and "coloured by label" in elements


def test_no_width_makes_the_page_scroll_sideways_and_keys_show_samples(report: Path, tmp_path: Path) -> None:
    free = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", report.read_text(encoding="utf-8"))
    (tmp_path / "page.html").write_text(free.replace("</body>", f"{ASK}</body>"), encoding="utf-8")
    frames = "".join(f'<iframe src="page.html" width="{width}" height="900"></iframe>' for width in WIDTHS)
    (tmp_path / "around.html").write_text(AROUND + frames, encoding="utf-8")
    elements, _ = dumped(tmp_path / "around.html", tmp_path / "profile")
    told = json.loads(html.unescape(re.search(r'<pre id="told">(.*?)</pre>', elements).group(1)))
    assert len(told) == len(WIDTHS)
    for inner, whole, drawn, shown, hidden in told:
        assert whole <= inner and drawn == str(NUM)
        assert re.match(r"class <\d>(sample \d|</script>)", shown) and hidden

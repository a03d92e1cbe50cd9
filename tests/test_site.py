"""The site of the documentation: it builds, its search answers, and its pages have what they promise."""

import html
import re
import warnings
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml
from mkdocs.commands.build import build
from mkdocs.config import load_config

import ssl_zoo
from ssl_zoo.batch import Encoder
from ssl_zoo.data.source import Modality, Source, Split, ViewPolicy
from ssl_zoo.distributed.strategy import Strategy
from ssl_zoo.evaluation.contract import EvaluationProtocol
from ssl_zoo.methods.builder import Builder
from ssl_zoo.parts import Head, Pairing, Target, Term
from ssl_zoo.recipe.load import load_recipe, method_names
from tests.site_search import SiteSearch

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation, built without a warning."""
    folder = tmp_path_factory.mktemp("site")
    config = load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(folder))
    with warnings.catch_warnings():  # of mkdocs' own code
        warnings.simplefilter("ignore")
        config.plugins.on_startup(command="build", dirty=False)
        build(config)
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

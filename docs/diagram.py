"""Draws the parts of a recipe as an SVG: two branches from the views to the terms of the objective.

Colours come from classes in `extra.css`, so that a picture follows the light or dark scheme of its page.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from ssl_zoo import registry
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.recipe.part import Part, PerMember, WeightedPart

WIDTH, BOX, HEIGHT, GAP = 480, 190, 46, 24
LEFT, RIGHT = 135, 345
"""Horizontal centres of the two branches, in units of the picture."""
LINE, WIDE = 16, 66
"""Height of a line of text, and how many characters fit into a box over both branches."""

Label = tuple[str, str]
"""What a box is, and which part it is here."""


@dataclass(frozen=True)
class Branch:
    """The boxes of one branch from top to bottom.

    Attributes:
        boxes: title and name of each.
        z: number of the box that z leaves, for terms on z alone; None where they do not see this branch.
        stopped: whether no gradient flows back into the branch.
        averaged: whether its networks follow those of the other branch.
    """

    boxes: tuple[Label, ...]
    z: int | None = None
    stopped: bool = False
    averaged: bool = False


@dataclass(frozen=True)
class Panel:
    """Two branches, the terms that compare them, and the terms on z alone: title and sentence of each box."""

    left: Branch
    right: Branch
    compared: Label | None
    alone: Label | None


def diagram(recipe: Recipe) -> str:
    """Return the parts of a recipe as HTML with an inline SVG for each panel.

    Args:
        recipe: a resolved recipe of a kind of method that ships.

    Returns:
        HTML without an empty line, so that Markdown leaves it as it is.
    """
    return "\n".join(_svg(panel, f"Parts of {recipe.method}: {_words(panel)}") for panel in panels(recipe))


def panels(recipe: Recipe) -> list[Panel]:
    """Return what is to be drawn: one panel, or a second one for the features of places."""
    if "masks" in recipe.options:
        return [_masked(recipe)]
    if isinstance(recipe.encoder, PerMember):
        return [_of_members(recipe)]
    found = [_of_views(recipe)]
    if "local_objective" in recipe.options:
        found.append(_of_places(recipe))
    return found


def _of_views(recipe: Recipe) -> Panel:
    """One encoder that sees all views."""
    options = recipe.options
    target, predictor = options["target"], options["predictor"]
    averaged = _second_network(target)
    online = [
        ("a view", _views_of(recipe.views)),
        ("encoder f", recipe.encoder.name),
        ("projector g", _head(options["projector"])),
    ]
    same = f"moving average, {target.options['momentum']:g}" if averaged else "the same weights"
    other = [("another view", _local(recipe)), ("encoder f", same), ("projector g", same)]
    if predictor.name != "identity":
        online.append(("predictor q", _head(predictor)))
    stopped = target.name != "shared"
    compared, alone = _terms(recipe.objective, _sentence("pairing", options["pairing"].name))
    return Panel(
        Branch(tuple(online), z=2),
        Branch(tuple(other), z=None if averaged else 2, stopped=stopped, averaged=averaged),
        compared,
        alone,
    )


def _of_places(recipe: Recipe) -> Panel:
    """The features of places, which `_of_views` does not have."""
    options = recipe.options
    boxes = [("places of a view", "the encoder's feature map"), ("local projector", _head(options["local_projector"]))]
    other = [("places of the other view", "the encoder's feature map"), ("local projector", "the same weights")]
    matches = ("location_matches", "feature_matches")
    numbers = ["all" if options[key] is None else str(options[key]) for key in matches]
    words = f"Each place with the nearest of the other view: {numbers[0]} by location, {numbers[1]} by feature."
    compared, alone = _terms(options["local_objective"], words)
    return Panel(Branch(tuple(boxes), z=1), Branch(tuple(other), z=1), compared, alone)


def _of_members(recipe: Recipe) -> Panel:
    """An encoder for each of two members; each branch is the target of the other."""
    options = recipe.options
    branches = []
    for member, part in recipe.encoder.parts.items():
        boxes = [(f"{member}", _views_of(recipe.views.parts[member])), ("encoder", part.name)]
        boxes += [(role, _head(next(iter(options[role].parts.values())))) for role in ("projector", "predictor")]
        branches.append(Branch(tuple(boxes), z=2))
    words = f"{_sentence('pairing', options['pairing'].name)} The target is z, with its gradient stopped."
    return Panel(branches[0], branches[1], *_terms(recipe.objective, words))


def _masked(recipe: Recipe) -> Panel:
    """Tokens of hidden places, predicted from the visible ones."""
    options = recipe.options
    predictor, target, blocks = options["predictor"], options["target"], options["target_blocks"]
    of_places = callable(getattr(registry.find("head", predictor.name)[0].factory, "predict", None))
    seen = "visible places only" if of_places else "a token in hidden places"
    online = (("a view", seen), ("encoder f", recipe.encoder.name), ("predictor q", _head(predictor)))
    tokens = "of the last block" if blocks is None else f"mean of the last {blocks} blocks"
    average = f"moving average, {target.options['momentum']:g}"
    other = (("the same view", "all places"), ("encoder f", average), ("tokens, normalised", tokens))
    compared, alone = _terms(recipe.objective, "Each hidden place with its target.")
    return Panel(Branch(online), Branch(other, stopped=True, averaged=True), compared, alone)


# ---- words ----------------------------------------------------------------------------------------------------------


def _terms(objective: Sequence[WeightedPart], sentence: str) -> tuple[Label | None, Label | None]:
    """Return the boxes of the terms that compare two views, and of those on z alone."""
    pair = [term for term in objective if _inputs(term) == "pair"]
    rest = [term for term in objective if _inputs(term) != "pair"]
    of = "global views" if rest and all(_inputs(term) == "globals" for term in rest) else "all views"
    compared = (_weights(pair), sentence) if pair else None
    return compared, (_weights(rest), f"On z of {of}, over the samples of the batch.") if rest else None


def _inputs(term: Part) -> str:
    """Return what a term is called with; of one that leaves it to its option `views`, what that says."""
    known = getattr(registry.find("term", term.name)[0].factory, "inputs", None)
    return known if isinstance(known, str) else str(term.options.get("views"))


def _weights(terms: Sequence[WeightedPart]) -> str:
    return " + ".join(term.name if term.weight == 1 else f"{term.weight:g} {term.name}" for term in terms)


def _sentence(kind: str, name: str) -> str:
    """Return the first sentence on a part, without the papers that it names."""
    return registry.find(kind, name)[0].summary.split(" (")[0].rstrip(".") + "."


def _head(part: Part) -> str:
    dims = "-".join(str(each) for each in part.options.get("dims", ()))
    number = f", {part.options['num']}" if "num" in part.options else ""
    return f"{part.name} {dims}{number}".strip()


def _second_network(target: Part) -> bool:
    """Whether a target keeps weights of its own that follow the online network."""
    return "momentum" in target.options and "schedule" in target.options


def _views_of(views: Part) -> str:
    options: dict[str, Any] = views.options
    number, local = options.get("num_views", 2), options.get("num_local")
    return f"{views.name}: {number} large, {local} small" if local else f"{views.name}: {number} per sample"


def _local(recipe: Recipe) -> str:
    return "a large one" if recipe.views.options.get("num_local") else ""


def _words(panel: Panel) -> str:
    """Say in words what a panel shows, for those who do not see it."""
    branches = (panel.left, panel.right)
    paths = [", then ".join(f"{title} {name}".strip() for title, name in branch.boxes) for branch in branches]
    ends = [" with its gradient stopped" if branch.stopped else "" for branch in branches]
    terms = [f"{title}: {sentence}" for title, sentence in filter(None, (panel.compared, panel.alone))]
    return "; ".join([f"{path}{end}" for path, end in zip(paths, ends, strict=True)] + terms)


# ---- drawing --------------------------------------------------------------------------------------------------------


def _svg(panel: Panel, words: str) -> str:
    deepest = max(len(panel.left.boxes), len(panel.right.boxes))
    shapes: list[str] = []
    for x, branch in ((LEFT, panel.left), (RIGHT, panel.right)):
        for i, label in enumerate(branch.boxes):
            dashed = " parts-average" if branch.averaged and i else ""
            shapes += _box(x - BOX / 2, _top(i), BOX, label, "parts-box" + dashed)
            shapes += _arrow(x, _top(i) - GAP, x, _top(i)) if i else []
    if panel.right.averaged:
        shapes += _arrow(LEFT + BOX / 2, _top(1) + HEIGHT / 2, RIGHT - BOX / 2, _top(1) + HEIGHT / 2, " parts-dashed")
    y = _top(deepest) + 12  # room for the mark of a stopped gradient
    shapes += _goal(panel, y)
    height = y + sum(_tall(label) + GAP for label in (panel.compared, panel.alone) if label is not None) - GAP + 4
    opening = f'<svg class="parts" viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(words)}">'
    size = 'viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8"'
    tip = '<path class="parts-tip" d="M0 0L8 4L0 8z"/>'
    defs = f'<defs><marker id="parts-head" {size} orient="auto">{tip}</marker></defs>'
    return "\n".join(['<div class="parts-frame" data-search-exclude>', opening, defs, *shapes, "</svg>", "</div>"])


def _goal(panel: Panel, y: float) -> list[str]:
    """Return the boxes of the objective, from height y on, and the arrows into them."""
    shapes: list[str] = []
    below = y + _tall(panel.compared) + GAP if panel.compared else y
    for x, lane, branch in ((LEFT, 14, panel.left), (RIGHT, WIDTH - 14, panel.right)):
        end = _top(len(branch.boxes)) - GAP
        if panel.compared:
            shapes += _arrow(x, end, x, y)
            shapes += _stop(x, y - 20) if branch.stopped else []
        if panel.alone and not panel.compared:
            shapes += _arrow(x, end, x, y)
        elif panel.alone and branch.z is not None:
            side = x - BOX / 2 if x == LEFT else x + BOX / 2
            middle = _top(branch.z) + HEIGHT / 2
            path = f"M{side:g} {middle:g}H{lane}V{below:g}"
            shapes.append(f'<path class="parts-line" d="{path}" marker-end="url(#parts-head)"/>')
    if panel.compared:
        shapes += _wide(y, panel.compared, 28)
    if panel.alone:
        shapes += _wide(below, panel.alone, 4)
    return shapes


def _top(i: int) -> float:
    """Return the top of box i of a branch."""
    return 4 + i * (HEIGHT + GAP)


def _lines(label: Label) -> list[tuple[str, str]]:
    title = textwrap.wrap(label[0], WIDE - 10)
    return [("parts-title", line) for line in title] + [("parts-name", line) for line in textwrap.wrap(label[1], WIDE)]


def _tall(label: Label) -> float:
    return len(_lines(label)) * LINE + 14


def _wide(y: float, label: Label, margin: float) -> list[str]:
    """Return a box over both branches."""
    shapes = [_rectangle(margin, y, WIDTH - 2 * margin, _tall(label), "parts-goal")]
    shapes += [_text(WIDTH / 2, y + 20 + i * LINE, line, style) for i, (style, line) in enumerate(_lines(label))]
    return shapes


def _box(x: float, y: float, width: float, label: Label, style: str) -> list[str]:
    title, name = label
    rows = [("parts-title", title), ("parts-name", name)] if name else [("parts-title", title)]
    first = y + (20 if name else 28)
    shapes = [_rectangle(x, y, width, HEIGHT, style)]
    shapes += [_text(x + width / 2, first + i * LINE, text, each) for i, (each, text) in enumerate(rows)]
    return shapes


def _rectangle(x: float, y: float, width: float, height: float, style: str) -> str:
    return f'<rect class="{style}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6"/>'


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text class="{style}" x="{x:g}" y="{y:g}">{escape(text)}</text>'


def _arrow(x1: float, y1: float, x2: float, y2: float, style: str = "") -> list[str]:
    ends = f'x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"'
    return [f'<line class="parts-line{style}" {ends} marker-end="url(#parts-head)"/>']


def _stop(x: float, y: float) -> list[str]:
    """Return the mark of a stopped gradient: two bars across the arrow, and its name."""
    bars = (
        f'<path class="parts-stop" d="M{x - 9:g} {y:g}L{x + 9:g} {y - 6:g}M{x - 9:g} {y + 5:g}L{x + 9:g} {y - 1:g}"/>'
    )
    return [bars, f'<text class="parts-name parts-beside" x="{x + 14:g}" y="{y + 2:g}">stop-gradient</text>']

"""Draws the pictures of the pages on the ideas, docs/concepts: views, branches of four methods, a paper's findings.

python draw_concepts.py views views.png
python draw_concepts.py branches branches.png
ssl-zoo run simsiam_paper --variant small --out runs
python draw_concepts.py stop_gradient runs/simsiam_paper stop_gradient.png
python draw_concepts.py alternation runs/simsiam_paper alternation.png
"""

import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ssl_zoo.runs.folder import RunFolder

BLUE, RED, GREY, GREEN = "#2f6fb5", "#c8442f", "#8b949e", "#3a8f5c"


def save(figure: Figure, path: str) -> None:
    """Write a figure as PNG."""
    figure.savefig(path, dpi=110, facecolor="white")


def views(path: str) -> None:
    """Draw some digits as they are, and four views of each."""
    import torch

    from ssl_zoo.methods.build import build_views, open_recipe_data
    from ssl_zoo.recipe.load import load_recipe
    from ssl_zoo.rng import generator

    recipe = load_recipe("digits/simsiam")
    policy = build_views(recipe)
    split = open_recipe_data(recipe, policy.spec).train
    chosen = [0, 41, 402, 803, 1204, 1605]
    figure = Figure(figsize=(6.2, 5.4), layout="constrained")
    axes = figure.subplots(5, len(chosen))
    for row in range(5):
        for column, index in enumerate(chosen):
            if row == 0:
                picture = split.read(index).squeeze().float()
            else:
                params = policy.draw(generator(row, "views", index), 1)
                made = policy(policy.collate(split.read_batch(torch.tensor([index])), params))
                picture = made[0].tensor[0, 0]
            axes[row, column].imshow(picture, cmap="gray", vmin=-1 if row else 0, vmax=1 if row else 255)
            axes[row, column].set(xticks=[], yticks=[])
        axes[row, 0].set_ylabel("sample" if row == 0 else f"view {row}", fontsize=9)
    save(figure, path)


def box(axis: Any, x: float, y: float, label: str, colour: str = BLUE) -> None:
    """Draw a labelled box around (x, y)."""
    shape = {"boxstyle": "round,pad=0.3", "fc": "white", "ec": colour, "lw": 1.4}
    axis.text(x, y, label, ha="center", va="center", fontsize=9, bbox=shape)


def arrow(
    axis: Any, start: tuple[float, float], end: tuple[float, float], colour: str = "black", style: str = "-"
) -> None:
    """Draw an arrow."""
    axis.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": colour, "ls": style, "lw": 1.3})


METHODS = {
    "SimSiam": ("predictor", "stop-gradient", "same weights", "similarity"),
    "BYOL": ("predictor", "stop-gradient", "moving average", "similarity"),
    "SimCLR": ("", "", "same weights", "similarity, and\nnegative pairs"),
    "VICReg": ("", "", "same weights", "similarity, variance,\ncovariance"),
}
"""What each method has: after the upper branch, after the lower one, between the two, and what it minimises."""


def branches(path: str) -> None:
    """Draw the two branches of four methods."""
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    for axis, (name, (upper, lower, between, goal)) in zip(figure.subplots(2, 2).flat, METHODS.items(), strict=True):
        axis.set_title(name, loc="left", fontsize=11, fontweight="bold")
        axis.set(xlim=(-0.03, 1.1), ylim=(0, 1))
        axis.axis("off")
        box(axis, 0.03, 0.5, "x", GREY)
        for y, view in ((0.8, "view 1"), (0.2, "view 2")):
            arrow(axis, (0.06, 0.5), (0.13, y))
            box(axis, 0.19, y, view, GREY)
            arrow(axis, (0.25, y), (0.3, y))
            box(axis, 0.41, y, "encoder,\nprojector")
        axis.annotate("", (0.41, 0.32), (0.41, 0.68), arrowprops={"arrowstyle": "<->", "color": GREY, "ls": ":"})
        axis.text(0.43, 0.5, between, fontsize=8, color=GREY, va="center")
        for y, extra, colour in ((0.8, upper, GREEN), (0.2, lower, RED)):
            arrow(axis, (0.52, y), (0.58, y) if extra else (0.85, 0.58 if y > 0.5 else 0.42))
            if extra:
                box(axis, 0.69, y, extra, colour)
                arrow(axis, (0.8, y), (0.89, 0.58 if y > 0.5 else 0.42))
        box(axis, 0.93, 0.5, goal, "black")
    save(figure, path)


def runs_of(folder: str, setting: str) -> list[RunFolder]:
    """Return the finished runs of a setting of the study."""
    found = [RunFolder(path) for path in sorted(Path(folder).glob(f"{setting}-seed*"))]
    found = [run for run in found if run.summary.is_file()]
    if not found:
        sys.exit(f"{folder}: has no finished run of {setting}")
    return found


def stop_gradient(folder: str, path: str) -> None:
    """Draw loss and spread by step, with stop-gradient and without: figure 2 of the paper."""
    figure = Figure(figsize=(9, 3.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    for setting, name, colour in (
        ("stop_gradient-small", "with stop-gradient", BLUE),
        ("stop_gradient-small.no_stop_gradient", "without", RED),
    ):
        for number, run in enumerate(runs_of(folder, setting)):
            records = [r for r in run.read_metrics() if r.get("embedding")]
            label = name if number == 0 else None
            losses = [r for r in run.read_metrics() if r.get("loss") is not None]
            left.plot([r["step"] for r in losses], [r["loss"] for r in losses], color=colour, lw=1.4, label=label)
            spread = [r["embedding"]["std"] for r in records]
            right.plot([r["step"] for r in records], spread, color=colour, lw=1.4, marker=".", label=label)
    left.set_title("loss (-1: perfect agreement)", loc="left", fontsize=10)
    right.set_title("spread of z (1: isotropic, 0: a point)", loc="left", fontsize=10)
    left.legend(frameon=False, fontsize=9)
    for axis in (left, right):
        axis.set_xlabel("optimizer step", fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
    save(figure, path)


ALTERNATIONS = {
    "eta is recomputed ... (121 steps): linear top-1, %": {
        "alternation-small": "every step\n(SimSiam)",
        "alternation-small.steps_10": "every 10\nsteps",
        "alternation-small.epoch": "every\nepoch",
    },
    "for the mean over views (363 steps): linear top-1, %": {
        "moving_average-small": "predictor\n(SimSiam)",
        "moving_average-small.average": "average of the\nimage's views",
        "moving_average-small.neither": "neither",
    },
}
"""{title: {the start of the run folders of a setting: its label}} of the two predictions of the hypothesis."""


def alternation(folder: str, path: str) -> None:
    """Draw the linear accuracy of the settings that the hypothesis of alternating minimisation is about."""
    figure = Figure(figsize=(8, 3.3), layout="constrained")
    for axis, (title, settings) in zip(figure.subplots(1, 2, sharey=True), ALTERNATIONS.items(), strict=True):
        for place, setting in enumerate(settings):
            values = [100 * run.read_summary()["metrics"]["linear"]["top1"] for run in runs_of(folder, setting)]
            axis.bar(place, statistics.fmean(values), color=RED if setting.endswith("neither") else BLUE, width=0.6)
            axis.plot([place] * len(values), values, "ko", ms=3, mfc="white")
        axis.set_xticks(range(len(settings)), list(settings.values()), fontsize=8)
        axis.set_title(title, loc="left", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    save(figure, path)


PICTURES: dict[str, Callable[..., None]] = {
    function.__name__: function for function in (views, branches, stop_gradient, alternation)
}

if __name__ == "__main__":
    PICTURES[sys.argv[1]](*sys.argv[2:])

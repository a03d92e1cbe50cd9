"""Pairings of views: `all_pairs`, `cross_modal`, `one_way`; and with means: `mean_of_others`, `to_mean`."""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ssl_zoo.batch import Pairs, View
from ssl_zoo.errors import UserError
from ssl_zoo.parts import Pairing, Prediction
from ssl_zoo.registry import register

Reduce = Literal["mean", "sum"]


def towards(p: Prediction, view: View) -> Tensor:
    """Return the prediction of a view's target.

    Raises:
        UserError: a predictor per direction has none for it: the target is of the same member.
    """
    if isinstance(p, Tensor):
        return p
    if view.modality not in p:
        raise UserError(
            "pairing: it pairs views of one member, for which a predictor per direction has no prediction; use "
            "pairing: cross_modal, or predictor: {each: ...}."
        )
    return p[view.modality]


def alone(p: Prediction, pairing: str) -> Tensor:
    """Return a prediction that is of no one member.

    Raises:
        UserError: a predictor per direction makes several.
    """
    if isinstance(p, Tensor):
        return p
    raise UserError(
        f"pairing {pairing}: compares with the mean of several views, and a predictor per direction predicts one "
        "member; use pairing: cross_modal, or predictor: {each: ...}."
    )


def _scale(reduce: Reduce, pairs: list[tuple[Tensor, Tensor]]) -> Pairs:
    if not pairs:
        raise UserError("pairing: no view has another one to be compared with; set views.num_views to 2 or more.")
    return Pairs(pairs, 1 / len(pairs) if reduce == "mean" else 1.0)


@register("pairing", "all_pairs")
class AllPairs(Pairing):
    """Every view predicts every other view that is a target.

    Args:
        reduce: `mean` over the pairs (SimSiam's equation 4 for two views) or their `sum` (BYOL).
    """

    def __init__(self, *, reduce: Reduce = "mean"):
        super().__init__()
        self.reduce: Reduce = reduce

    def forward(self, p: Sequence[Prediction], t: Sequence[Tensor | None], views: Sequence[View]) -> Pairs:
        """Pair predictions p and targets t, lists with one entry per view; t is None where a view is no target."""
        pairs = [
            (towards(x, views[j]), y) for i, x in enumerate(p) for j, y in enumerate(t) if i != j and y is not None
        ]
        return _scale(self.reduce, pairs)


@register("pairing", "cross_modal")
class CrossModal(Pairing):
    """Every view predicts every view of another member that is a target; views of one member are not compared.

    Args:
        reduce: `mean` over the pairs or their `sum`.
    """

    needs_members = True

    def __init__(self, *, reduce: Reduce = "mean"):
        super().__init__()
        self.reduce: Reduce = reduce

    def forward(self, p: Sequence[Prediction], t: Sequence[Tensor | None], views: Sequence[View]) -> Pairs:
        """Pair predictions p and targets t, lists with one entry per view; t is None where a view is no target.

        Raises:
            UserError: all targets are of the member that predicts.
        """
        pairs = [
            (towards(x, views[j]), y)
            for i, x in enumerate(p)
            for j, y in enumerate(t)
            if views[i].modality != views[j].modality and y is not None
        ]
        if not pairs:
            raise UserError(
                f"pairing cross_modal: all views are of {views[0].modality}; give views per member, {{MEMBER: NAME, "
                "MEMBER: NAME}, or use pairing: all_pairs."
            )
        return _scale(self.reduce, pairs)


@register("pairing", "mean_of_others")
class MeanOfOthers(Pairing):
    """Every view predicts the mean of the targets of the other views (FastSiam, Pototzky et al. 2022).

    Args:
        reduce: `mean` over the views, or their `sum`.
    """

    def __init__(self, *, reduce: Reduce = "mean"):
        super().__init__()
        self.reduce: Reduce = reduce

    def forward(self, p: Sequence[Prediction], t: Sequence[Tensor | None], views: Sequence[View]) -> Pairs:
        """Pair predictions p with mean targets, lists with one entry per view; t is None where a view is no target."""
        pairs = []
        for i, x in enumerate(p):
            others = [y for j, y in enumerate(t) if j != i and y is not None]
            if others:
                pairs.append((alone(x, "mean_of_others"), torch.stack(others).mean(0)))
        return _scale(self.reduce, pairs)


@register("pairing", "one_way")
class OneWay(Pairing):
    """The first view predicts the second, and nothing else (SimSiam section 4.6; enough for symmetric terms).

    Args:
        pairs: pairs of views of a sample: of four views and 2 pairs, the first predicts the second and the third the
            fourth (section 4.6, "asymmetric 2x"). The loss is their mean.
    """

    def __init__(self, *, pairs: Annotated[int, Field(ge=1)] = 1):
        super().__init__()
        self.num_pairs = pairs

    def forward(self, p: Sequence[Prediction], t: Sequence[Tensor | None], views: Sequence[View]) -> Pairs:
        """Pair p of a view with t of the next view that is a target, for as many pairs as were asked for.

        Raises:
            UserError: there are too few views.
        """
        pairs: list[tuple[Tensor, Tensor]] = []
        first: int | None = None
        for i, (target, view) in enumerate(zip(t, views, strict=True)):
            if first is None:
                first = i
            elif target is not None and len(pairs) < self.num_pairs:
                pairs.append((towards(p[first], view), target))
                first = None
        if not pairs:
            raise UserError(
                "pairing one_way: there is no second view that is a target; set views.num_views to 2 or more."
            )
        if len(pairs) < self.num_pairs:
            raise UserError(
                f"pairing one_way: {self.num_pairs} pairs take {2 * self.num_pairs} views that are targets; set "
                f"views.num_views to {2 * self.num_pairs}."
            )
        return Pairs(pairs, 1 / len(pairs))


@register("pairing", "to_mean")
class ToMean(Pairing):
    """Every view is compared with the mean of the targets of all views, its own among them.

    With the target `shared` the gradient flows through the view and through the mean (EMP-SSL, Tong et al. 2023,
    arXiv 2304.03977; LeJEPA, Balestriero & LeCun 2025, arXiv 2511.08544).

    Args:
        reduce: `mean` over the views, or their `sum`.
        normalise: bring every target to unit length before the mean is taken (EMP-SSL, whose network ends so).
    """

    def __init__(self, *, reduce: Reduce = "mean", normalise: bool = False):
        super().__init__()
        self.reduce: Reduce = reduce
        self.normalise = normalise

    def forward(self, p: Sequence[Prediction], t: Sequence[Tensor | None], views: Sequence[View]) -> Pairs:
        """Pair predictions p with the mean target, lists with one entry per view; t is None where a view is no target.

        Raises:
            ValueError: no view is a target.
        """
        targets = [y for y in t if y is not None]
        if not targets:
            raise ValueError("to_mean needs a view that is a target")
        each = torch.stack(targets)
        centre = (F.normalize(each, dim=2) if self.normalise else each).mean(0)
        return _scale(self.reduce, [(alone(x, "to_mean"), centre) for x in p])

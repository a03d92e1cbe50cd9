"""LocalMethod: a method that compares places of the views too, beside the views as a whole (VICRegL)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ssl_zoo.batch import Batch, StepOutput, View
from ssl_zoo.errors import UserError
from ssl_zoo.methods.joint_embedding import Method
from ssl_zoo.methods.places import centres, match, take
from ssl_zoo.objectives.objective import Objective
from ssl_zoo.pairing.view_pairs import Pairs

Matched = list[tuple[Tensor, Tensor]]


class LocalMethod(Method):
    """A method whose encoder gives feature maps, and whose local objective compares their matching places.

    Bardes, Ponce & LeCun 2022, VICRegL (arXiv 2210.01571), section 3. Places of the first two global views are matched
    twice, by where they lie in the sample and by their local embeddings, each in both directions. A matched place is to
    the local objective what a view is to the objective: its pair terms see (place, its match), its set terms the
    embeddings of each place over the batch. Terms of both matchings are added.

    Args:
        method: the comparison of whole views; its encoder has `maps(x) -> (B, D_h, H, W)`, whose mean is h.
        local_projector: one place of a map, `(N, D_h)` -> `(N, D)`.
        local_objective: weighted terms over matched places.
        location_matches: pairs that are kept of those by location, in each direction; None for all, 0 for none.
        feature_matches: the same of those by embedding.

    Raises:
        UserError: an encoder without maps.
    """

    def __init__(
        self,
        method: Method,
        local_projector: nn.Module,
        local_objective: Objective,
        location_matches: int | None = 20,
        feature_matches: int | None = None,
    ):
        super().__init__(
            method.encoder, method.projector, method.predictor, method.target, method.pairing, method.objective
        )
        if not callable(getattr(self.encoder, "maps", None)):
            raise UserError(
                f"local: the encoder {type(self.encoder).__name__} gives no feature maps; "
                "use resnet18, resnet34, resnet50, resnet101 or convnet."
            )
        self.local_projector, self.local_objective = local_projector, local_objective
        self.num_matches = {"location": location_matches, "feature": feature_matches}

    def forward(self, batch: Batch) -> StepOutput:
        """Return the loss of one batch."""
        maps = [self.encoder.maps(view.data) for view in batch.views]  # type: ignore[operator]
        z = [self.projector(x.mean(dim=(2, 3))) for x in maps]
        p = [self.predictor(x) for x in z]
        t = self.target(batch.views, z)
        terms = self.objective(self.pairing(p, t), z, batch.views)
        terms |= self._local_terms(maps, batch.views)
        return StepOutput(torch.stack(list(terms.values())).sum(), terms, [x.detach() for x in z])

    def _local_terms(self, maps: Sequence[Tensor], views: Sequence[View]) -> dict[str, Tensor]:
        chosen = [i for i, view in enumerate(views) if view.role == "global"][:2]
        if len(chosen) < 2 or any(views[i].geometry is None for i in chosen):
            raise UserError("local: places are matched between two global views that know where they were cut from.")
        embedded = [self._embed(maps[i]) for i in chosen]
        where = [centres(views[i].geometry, *maps[i].shape[2:]) for i in chosen]  # type: ignore[arg-type]
        terms: dict[str, Tensor] = {}
        for name, points in (("location", where), ("feature", [x.detach().float() for x in embedded])):
            if self.num_matches[name] != 0:
                matched = _both_ways(embedded, points, self.num_matches[name])
                for term, value in self._compare(matched, views[chosen[0]]).items():
                    terms[f"{name}_{term}"] = value
        return terms

    def _embed(self, maps: Tensor) -> Tensor:
        """Return the local embeddings `(B, H * W, D)` of feature maps `(B, D_h, H, W)`."""
        places = maps.flatten(2).transpose(1, 2)
        return self.local_projector(places.flatten(0, 1)).unflatten(0, places.shape[:2])

    def _compare(self, matched: Matched, view: View) -> dict[str, Tensor]:
        pairs = Pairs([(x.flatten(0, 1), y.flatten(0, 1)) for x, y in matched], 1 / len(matched))
        slots = [place for sides in matched for side in sides for place in side.unbind(dim=1)]
        return self.local_objective(pairs, slots, [view] * len(slots))

    def after_step(self, progress: float) -> None:
        """Let the parts that follow the training move: once per optimizer step, `progress` in [0, 1]."""
        super().after_step(progress)
        for part in (self.local_projector, *self.local_objective.terms.values()):
            if hasattr(part, "after_step"):
                part.after_step(progress)  # type: ignore[operator]


def _both_ways(embedded: Sequence[Tensor], points: Sequence[Tensor], num: int | None) -> Matched:
    """Return (places, their matches), each `(B, num, D)`, from the first view to the second and back."""
    matched = []
    for ours, theirs in ((0, 1), (1, 0)):
        kept, nearest = match(points[ours], points[theirs], num)
        matched.append((take(embedded[ours], kept), take(embedded[theirs], nearest)))
    return matched

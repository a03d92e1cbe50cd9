"""The kind of method `local`: it compares places of the views in addition to the views as a whole (VICRegL)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from ssl_zoo import parts
from ssl_zoo.batch import Batch, Pairs, StepOutput, View, tokens_of
from ssl_zoo.errors import UserError
from ssl_zoo.methods.branch import joint_parts
from ssl_zoo.methods.builder import Builder
from ssl_zoo.methods.contract import Trial
from ssl_zoo.methods.joint_embedding import JointEmbedding
from ssl_zoo.methods.method import Method
from ssl_zoo.methods.places import centres, match, take
from ssl_zoo.objectives.objective import Objective
from ssl_zoo.recipe.part import Head, Pairing, Target, Terms, default
from ssl_zoo.registry import register

Matched = list[tuple[Tensor, Tensor]]
Tokens = tuple[Tensor, tuple[int, ...]]


class Local(Method):
    """A method that compares embeddings of whole views, and the matching places of two of them.

    Bardes, Ponce & LeCun 2022, VICRegL (arXiv 2210.01571), section 3. Places of the first two target views are matched
    twice, by where they lie in the sample and by their local embeddings, each in both directions. A matched place is to
    the local objective what a view is to the objective: its pair terms see (place, its match), its set terms the
    embeddings of each place over the batch. Terms of both matchings are added.

    Args:
        whole: the comparison of whole views; its encoder has `tokens(view)`, whose mean is h.
        local_projector: one place of a view, `(N, D_h)` -> `(N, D)`.
        local_objective: weighted terms over matched places.
        location_matches: pairs that are kept of those by location, in each direction; None for all, 0 for none.
        feature_matches: the same of those by embedding.

    Raises:
        UserError: an encoder without tokens, or views to be stacked.
    """

    def __init__(
        self,
        whole: JointEmbedding,
        local_projector: nn.Module,
        local_objective: Objective,
        location_matches: int | None = 20,
        feature_matches: int | None = None,
    ):
        super().__init__()
        self.encoder, self.projector, self.predictor = whole.encoder, whole.projector, whole.predictor
        self.target, self.pairing, self.objective = whole.target, whole.pairing, whole.objective
        if not callable(getattr(self.encoder, "tokens", None)):
            raise UserError(
                f"kind local: the encoder {type(self.encoder).__name__} gives no features of places; use one with the "
                "method tokens(view), such as resnet50."
            )
        self.local_projector, self.local_objective = local_projector, local_objective
        self.num_matches = {"location": location_matches, "feature": feature_matches}

    @property
    def shrinks(self) -> bool:
        """Whether embeddings that shrink to one point lower the loss."""
        return self.objective.shrinks

    @property
    def cluster_temperature(self) -> float | None:
        """The temperature of the softmax that embeddings are scores of, or None."""
        return self.objective.cluster_temperature

    def forward(self, batch: Batch) -> StepOutput:
        """Return the loss of one batch."""
        tokens = [tokens_of(self.encoder, view) for view in batch.views]
        h = [x.mean(dim=1) for x, _ in tokens]
        z = [self.projector(x) for x in h]
        p = [self.predictor(x) for x in z]
        t = self.target(batch.views, z)
        terms = self.objective(self.pairing(p, t, batch.views), z, batch.views)
        terms |= self._local_terms(tokens, batch.views)
        loss = torch.stack(list(terms.values())).sum()
        return StepOutput(loss, terms, [x.detach() for x in z], features=[x.detach() for x in h])

    def _local_terms(self, tokens: Sequence[Tokens], views: Sequence[View]) -> dict[str, Tensor]:
        chosen = [i for i, view in enumerate(views) if view.is_target][:2]
        if len(chosen) < 2 or any("box" not in views[i].aux for i in chosen):
            raise UserError(
                "kind local: places are matched between two target views that know where they were cut from."
            )
        embedded = [self._embed(tokens[i][0]) for i in chosen]
        where = [centres(views[i].aux["box"], tokens[i][1]) for i in chosen]
        terms: dict[str, Tensor] = {}
        for name, points in (("location", where), ("feature", [x.detach().float() for x in embedded])):
            if self.num_matches[name] != 0:
                matched = _both_ways(embedded, points, self.num_matches[name])
                for term, value in self._compare(matched, views[chosen[0]]).items():
                    terms[f"{name}_{term}"] = value
        return terms

    def _embed(self, places: Tensor) -> Tensor:
        """Return the local embeddings `(B, N, D)` of places `(B, N, D_h)`."""
        return self.local_projector(places.flatten(0, 1)).unflatten(0, places.shape[:2])

    def _compare(self, matched: Matched, view: View) -> dict[str, Tensor]:
        pairs = Pairs([(x.flatten(0, 1), y.flatten(0, 1)) for x, y in matched], 1 / len(matched))
        slots = [place for sides in matched for side in sides for place in side.unbind(dim=1)]
        return self.local_objective(pairs, slots, [view] * len(slots))

    def after_step(self, progress: float) -> None:
        """Move the parts that follow the training: once per optimizer step, `progress` in [0, 1]."""
        heads = (self.projector, self.predictor, self.local_projector)
        terms = (*self.objective.terms.values(), *self.local_objective.terms.values())
        parts.after_step((*heads, self.target, self.pairing, *terms), progress)

    def try_parts(self, trial: Trial) -> None:
        """Try that each part takes what the parts before it give."""
        trial.encoder()
        trial.tokens()
        trial.head("projector", trial.width("encoder"))
        trial.head("predictor", trial.width("projector"))
        trial.head("local_projector", trial.width("encoder"))
        trial.pairs()


@register("method", "local")
def local(
    builder: Builder,
    *,
    projector: Head = default("head", "identity"),
    predictor: Head = default("head", "identity"),
    target: Target = default("target", "shared"),
    pairing: Pairing = default("pairing", "all_pairs"),
    objective: Terms,
    local_projector: Head,
    local_objective: Terms,
    location_matches: Annotated[int, Field(ge=0)] | None = 20,
    feature_matches: Annotated[int, Field(ge=0)] | None = None,
) -> Local:
    """VICRegL: embeddings of whole views are compared, and matching places of two views.

    Args:
        builder: of the recipe's parts.
        projector: h -> z.
        predictor: z -> p.
        target: where the other branch comes from, and how gradient is kept out.
        pairing: which view predicts which.
        objective: weighted terms over whole views.
        local_projector: features of a place -> local embedding.
        local_objective: weighted terms over matched places.
        location_matches: pairs kept of those by location, in each direction; null for all, 0 for none.
        feature_matches: the same of those by embedding.
    """
    if builder.members:
        raise UserError("kind local: it compares places of views of one modality; use kind: joint_embedding for pairs.")
    made = joint_parts(builder, projector, predictor, target, pairing, objective, stack_views=False)
    whole = JointEmbedding(**made)
    head = builder.head("local_projector", local_projector, builder.encoder_width)
    with builder.stream("local_objective"):
        terms = builder.objective(local_objective, head.out_dim)
    return Local(whole, head, terms, location_matches, feature_matches)


def _both_ways(embedded: Sequence[Tensor], points: Sequence[Tensor], num: int | None) -> Matched:
    """Return (places, their matches), each `(B, num, D)`, from the first view to the second and back."""
    matched = []
    for ours, theirs in ((0, 1), (1, 0)):
        kept, nearest = match(points[ours], points[theirs], num)
        matched.append((take(embedded[ours], kept), take(embedded[theirs], nearest)))
    return matched

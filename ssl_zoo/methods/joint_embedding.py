"""The kind of method `joint_embedding`: its training step on one screen.

A method is its parts. `method(batch)` returns the loss and its terms, and is a plain module: any loop can train it and
call `method.after_step(progress)` once per optimizer step. `method.product` is what remains: the encoder, and where
samples are mappings of named members, its heads too.
"""

from __future__ import annotations

import torch
from torch import nn

from ssl_zoo import parts
from ssl_zoo.batch import Batch, StepOutput
from ssl_zoo.methods.branch import embed_both, joint_parts
from ssl_zoo.methods.builder import Builder
from ssl_zoo.methods.contract import Trial
from ssl_zoo.methods.members import PairedEncoder, apply
from ssl_zoo.methods.method import Method
from ssl_zoo.objectives.objective import Objective
from ssl_zoo.recipe.part import Head, Pairing, Target, Terms, default
from ssl_zoo.registry import register


class JointEmbedding(Method):
    """A non-contrastive method that compares embeddings of whole views.

    Args:
        encoder: view -> h `(B, D_h)`.
        projector: h -> z `(B, D_z)`.
        predictor: z -> p `(B, D_z)`; the identity where a method has none.
        target: (views, z) -> t, one per view; it keeps the gradient out.
        pairing: (p, t) -> the pairs to compare.
        objective: weighted terms over the pairs and over all z.
        stack_views: encode all views of one layout in one pass; BatchNorm statistics are then those of all of them.
        members: of samples that are mappings, their names. Encoder, projector and predictor are then modules that all
            members share, or `MemberEncoders`, `MemberHeads`, `DirectionHeads`.
    """

    one_pass = False  # a strategy may set it, see `ssl_zoo.distributed.one_pass`

    def __init__(
        self,
        encoder: nn.Module,
        projector: nn.Module,
        predictor: nn.Module,
        target: parts.Target,
        pairing: parts.Pairing,
        objective: Objective,
        stack_views: bool = False,
        members: tuple[str, ...] = (),
    ):
        super().__init__()
        self.encoder, self.projector, self.predictor = encoder, projector, predictor
        self.target, self.pairing, self.objective = target, pairing, objective
        self.stack_views, self.members = stack_views, members

    @property
    def product(self) -> nn.Module:
        """What is evaluated and exported: the encoder; of samples that are mappings, a `PairedEncoder`."""
        if not self.members:
            return self.encoder
        return PairedEncoder(self.members, self.encoder, self.projector, self.predictor)

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
        h, z = embed_both(self.encoder, self.projector, batch.views, self.stack_views, self.one_pass)
        p = [apply(self.predictor, x, view) for x, view in zip(z, batch.views, strict=True)]
        t = self.target(batch.views, z)
        terms = self.objective(self.pairing(p, t, batch.views), z, batch.views)
        members = [view.modality for view in batch.views] if self.members else []
        loss = torch.stack(list(terms.values())).sum()
        return StepOutput(loss, terms, [x.detach() for x in z], members, features=[x.detach() for x in h])

    def after_step(self, progress: float) -> None:
        """Move the parts that follow the training: once per optimizer step, `progress` in [0, 1]."""
        parts.after_step(
            (self.projector, self.predictor, self.target, self.pairing, *self.objective.terms.values()), progress
        )

    def try_parts(self, trial: Trial) -> None:
        """Try that each part takes what the parts before it give."""
        trial.encoder()
        trial.head("projector", trial.width("encoder"))
        trial.head("predictor", trial.width("projector"))
        trial.pairs()


@register("method", "joint_embedding")
def joint_embedding(
    builder: Builder,
    *,
    projector: Head = default("head", "identity"),
    predictor: Head = default("head", "identity"),
    target: Target = default("target", "shared"),
    pairing: Pairing = default("pairing", "all_pairs"),
    objective: Terms,
    stack_views: bool = False,
) -> JointEmbedding:
    """SimSiam, BYOL, Barlow Twins, VICReg and their relatives: embeddings of whole views are compared.

    Args:
        builder: of the recipe's parts.
        projector: h -> z.
        predictor: z -> p.
        target: where the other branch comes from, and how gradient is kept out.
        pairing: which view predicts which.
        objective: weighted terms.
        stack_views: encode all views of one layout in one pass.
    """
    made = joint_parts(builder, projector, predictor, target, pairing, objective, stack_views)
    return JointEmbedding(**made, stack_views=stack_views, members=builder.members)

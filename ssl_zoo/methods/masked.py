"""The kind of method `masked`: embeddings of hidden places are predicted (I-JEPA, V-JEPA, data2vec)."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import BeforeValidator, Field
from torch import Tensor, nn

from ssl_zoo import parts
from ssl_zoo.batch import Batch, InputSpec, Pairs, StepOutput, View, tokens_of
from ssl_zoo.distributed import collectives
from ssl_zoo.errors import UserError
from ssl_zoo.methods.builder import Builder
from ssl_zoo.methods.contract import Trial, views_of
from ssl_zoo.methods.masks import Hidden, Mask, Masks, Plan, drawn_of
from ssl_zoo.methods.method import Method
from ssl_zoo.modalities.transformer import take_places
from ssl_zoo.objectives.objective import Objective
from ssl_zoo.parts import Term
from ssl_zoo.recipe.part import Head, Target, Terms, default
from ssl_zoo.registry import register


class TargetTokens(nn.Module):
    """The tokens that are predicted, normalised each by its own mean and variance: what a target network is a copy of.

    Args:
        encoder: with `tokens(view)`.
        blocks: None takes the tokens of its last norm (I-JEPA, V-JEPA); a number takes the mean over that many last
            blocks of what each adds to the tokens, normalised first (data2vec, section 3.3).
    """

    def __init__(self, encoder: nn.Module, blocks: int | None = None):
        super().__init__()
        self.encoder, self.blocks = encoder, blocks

    def forward(self, views: Sequence[View]) -> list[Tensor]:
        """Return the tokens `(B, N, D)` of each view, all of whose places are seen."""
        return [self._of(view) for view in views]

    def _of(self, view: View) -> Tensor:
        encoder: Any = self.encoder
        layers = [tokens_of(encoder, view)[0]] if self.blocks is None else encoder.layers(view, self.blocks)
        full = [x.to(torch.promote_types(x.dtype, torch.float32)) for x in layers]
        return torch.stack([F.layer_norm(x, x.shape[2:]) for x in full]).mean(dim=0)


class _OnDemand(Sequence[Tensor]):
    """The online network's own target tokens, computed when a target asks for them; a target network does not."""

    def __init__(self, branch: TargetTokens, views: Sequence[View]):
        self._branch, self._views = branch, views

    def __len__(self) -> int:
        return len(self._views)

    def __getitem__(self, i: Any) -> Any:
        return self._branch(self._views)[i]

    def __iter__(self) -> Any:
        return iter(self._branch(self._views))


class Masked(Method):
    """A method that predicts target tokens of hidden places from the visible places of the same view.

    Assran et al. 2023, I-JEPA (arXiv 2301.08243), section 3; Bardes et al. 2024, V-JEPA (arXiv 2404.08471), section 3;
    Baevski et al. 2022, data2vec (arXiv 2202.03555), section 3. Where the predictor predicts places (it has `predict`),
    hidden places are left out of the encoder's input. A predictor of single tokens gets the encoder's tokens of the
    hidden places: these then hold a learned token in the encoder's input.

    The objective's pair terms see each hidden place and its target as a pair, and are means over the places of the
    samples of all processes. Its set terms see z, the mean of the visible tokens of a sample.

    Args:
        encoder: with `grid(view)` and `tokens(view, keep, fill)`.
        predictor: visible tokens -> tokens of hidden places, or one token -> its prediction.
        target: views -> t `(B, N, D)`, one per view.
        objective: weighted terms; its pair terms are means over samples.
        masks: what is hidden.
        target_blocks: see `TargetTokens`.

    Raises:
        UserError: an encoder that cannot hide places, a pair term that is no mean over samples, or a predictor with
            BatchNorm.
    """

    def __init__(
        self,
        encoder: nn.Module,
        predictor: nn.Module,
        target: parts.Target,
        objective: Objective,
        masks: Masks,
        target_blocks: int | None = None,
    ):
        super().__init__()
        check_encoder(encoder)
        for name, term in objective.terms.items():
            if isinstance(term, Term) and term.inputs == "pair" and not term.per_sample:
                raise UserError(
                    f"objective.{name}: compares the samples of a batch with each other, and samples have differing "
                    "numbers of hidden places; take a term such as smooth_l1, mse or negative_cosine."
                )
        if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in predictor.modules()):
            raise UserError(
                "predictor: BatchNorm would mix the hidden places of all samples, of which each process has another "
                "number; set its norm to layer or none."
            )
        self.encoder, self.predictor, self.target = encoder, predictor, target
        self.objective, self.masks, self.target_blocks = objective, masks, target_blocks
        self.mask_token: nn.Parameter | None = None
        if not callable(getattr(predictor, "predict", None)):
            width: Any = encoder.out_dim
            self.mask_token = nn.Parameter(torch.empty(width))
            nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, batch: Batch) -> StepOutput:
        """Return the loss of one batch."""
        views = batch.views
        t = self.target(views, _OnDemand(TargetTokens(self.encoder, self.target_blocks), views))
        predicted, asked, z = [], [], []
        for number, (view, tokens) in enumerate(zip(views, t, strict=True)):
            assert tokens is not None
            encoder: Any = self.encoder
            grid = encoder.grid(view)
            for i, hidden in enumerate(self._hidden(batch, number, grid)):
                p, h = self._predict(view, hidden, grid)
                predicted.append(p)
                asked.append(_rows(take_places(tokens, hidden.places.flatten(1)), hidden.rows))
                z += [h] if i == 0 else []
        p, t_rows = torch.cat(predicted), torch.cat(asked)
        terms = self.objective(Pairs([(p, t_rows)], _share(p)), z, views)
        loss = torch.stack(list(terms.values())).sum()
        tokens = [x.detach() for x in t if x is not None]
        return StepOutput(loss, terms, [x.detach() for x in z], tokens=tokens)

    def draws(self, spec: InputSpec) -> Plan:
        """Return what draws the masks of samples on the host; see `Method.draws`."""
        encoder: Any = self.encoder
        grids = tuple(tuple(encoder.grid(view)) for view in views_of(spec))
        return Plan(tuple(self.masks.masks), int(self.masks.key), grids)

    def _hidden(self, batch: Batch, view: int, grid: tuple[int, ...]) -> list[Hidden]:
        """Return what each mask hides of a view of a batch, drawn here where the loader has not."""
        if batch.drawn:
            return drawn_of(batch.drawn, view, len(self.masks.masks))
        first = batch.views[0].tensor
        index = torch.arange(len(first)) if batch.index is None else batch.index
        return self.masks(index.to(first.device), grid, view)

    def _predict(self, view: View, hidden: Hidden, grid: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Return predictions `(rows, D)` of the hidden places of all samples, in order, and z `(B, D)`."""
        keep, places, rows = hidden
        h, _ = tokens_of(self.encoder, view, keep=keep, fill=self.mask_token)
        if self.mask_token is not None:
            return self.predictor(_rows(take_places(h, places.flatten(1)), rows)), h.mean(dim=1)
        sets = places.shape[1]
        again, kept, each = h.repeat_interleave(sets, 0), keep.repeat_interleave(sets, 0), places.flatten(0, 1)
        predictor: Any = self.predictor
        p = _rows(predictor.predict(again, kept, each, grid), rows)
        seen = (keep >= 0)[:, :, None]
        return p, h.where(seen, 0).sum(dim=1) / seen.sum(dim=1)

    def after_step(self, progress: float) -> None:
        """Move the parts that follow the training: once per optimizer step, `progress` in [0, 1]."""
        parts.after_step((self.predictor, self.target, self.masks, *self.objective.terms.values()), progress)

    def try_parts(self, trial: Trial) -> None:
        """Try that each part takes what the parts before it give, and that blocks fit the views' grid."""
        trial.encoder()
        trial.tokens()
        if self.target_blocks is not None:
            trial.layers(self.target_blocks)
        trial.head("predictor", trial.width("encoder"))
        for view in trial.views:
            self.masks.check(trial.parts["encoder"].grid(view))


def _rows(x: Tensor, rows: Tensor) -> Tensor:
    """Return rows `(R, D)` of x `(B, M, D)`, by their positions in it flattened."""
    return x.flatten(0, 1).index_select(0, rows)


def check_encoder(encoder: nn.Module) -> None:
    """Make sure that an encoder can hide places.

    Raises:
        UserError: it cannot.
    """
    tokens = getattr(encoder, "tokens", None)
    able = callable(tokens) and {"keep", "fill"} <= inspect.signature(tokens).parameters.keys()
    if not able or not callable(getattr(encoder, "grid", None)):
        raise UserError(
            f"kind masked: the encoder {type(encoder).__name__} cannot hide places; use a transformer with "
            "tokens(view, keep, fill) and grid(view), such as vit."
        )


def _share(p: Tensor) -> Any:
    """Return this process's number of hidden places over the mean of all processes: a factor on its mean over them.

    The average over processes is then the mean over the places of all.
    """
    if collectives.num_processes() == 1:
        return 1.0
    num = p.new_full((), float(len(p)), dtype=torch.promote_types(p.dtype, torch.float32))
    return num / collectives.mean(num)


def _in_a_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


@register("method", "masked")
def masked(
    builder: Builder,
    *,
    masks: Annotated[tuple[Mask, ...], Field(min_length=1), BeforeValidator(_in_a_list)] = (Mask(),),
    predictor: Head = default("head", "transformer"),
    target: Target = default("target", "ema"),
    target_blocks: Annotated[int, Field(ge=1)] | None = None,
    objective: Terms,
) -> Masked:
    """I-JEPA, V-JEPA and data2vec: the embeddings of hidden places are predicted from visible ones.

    Args:
        builder: of the recipe's parts.
        masks: what is hidden; each mask is a prediction of its own, from what it leaves visible.
        predictor: visible tokens -> hidden ones, such as `transformer`, or a head for each token, such as `linear`: the
            encoder then gets a learned token in each hidden place.
        target: where the other branch comes from, and how gradient is kept out.
        target_blocks: null predicts the encoder's tokens; a number, the mean of what its last blocks add to them.
        objective: weighted terms.

    Raises:
        UserError: parts that do not join, or local views.
    """
    if not all(view.is_target for view in builder.views):
        raise UserError("views: a masked method hides parts of whole views, and has no use for local ones; use none.")
    check_encoder(builder.encoder)
    head = builder.head("predictor", predictor, builder.encoder_width)
    if head.out_dim != builder.encoder_width:
        raise UserError(
            f"predictor: ends in {head.out_dim} dimensions but must predict the encoder's {builder.encoder_width}; "
            f"make its last width {builder.encoder_width}."
        )
    branch = TargetTokens(builder.encoder, target_blocks)
    with builder.stream("target"):
        t = builder.part("target", "target", target, branch=branch)
        terms = builder.objective(objective, head.out_dim)
    with builder.stream("mask_token"):
        return Masked(builder.encoder, head, t, terms, Masks(masks, builder.seed), target_blocks)

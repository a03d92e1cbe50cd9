"""lightly's losses as terms: `lightly/NAME`; lightly is imported when one is used.

The table says which of them can be terms and how each is called; their options are read from the installed version.
The objective gathers the batches of all processes before a term sees them, so that their own gathering is switched off.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from ssl_zoo.errors import describe_error
from ssl_zoo.parts import Inputs, StepCounter, Term
from ssl_zoo.registry import PartFailed, register
from ssl_zoo.registry.family import Family, doc_of_family
from ssl_zoo.registry.foreign import construct, has, installed, with_options_of
from ssl_zoo.rng import derive

Call = Literal["pair", "each", "list", "stack", "cat"]
"""How a loss is called: with p and t of a pair; or for all views with each z, their list, `(V, B, D)` or `(V B, D)`."""


@dataclass(frozen=True)
class Loss:
    """A loss of lightly that can be a term.

    Attributes:
        summary: one line.
        call: see `Call`.
        contrastive: the other samples of the batch are its negatives.
        per_sample: it is a mean over samples.
        draws: it draws random numbers.
        dim: its parameter that is the width of the embeddings.
        fixed: its parameters that are no options, with their values.
    """

    summary: str
    call: Call = "pair"
    contrastive: bool = False
    per_sample: bool = False
    draws: bool = False
    dim: str = ""
    fixed: tuple[tuple[str, Any], ...] = ()


LOSSES = {
    "BarlowTwinsLoss": Loss("Barlow Twins: the distance of the cross-correlation of two views from the identity."),
    "DCLLoss": Loss("Decoupled contrastive learning.", contrastive=True, fixed=(("weight_fn", None),)),
    "DCLWLoss": Loss("Decoupled contrastive learning with von Mises-Fisher weights.", contrastive=True),
    "DirectCLRLoss": Loss("DirectCLR: NT-Xent on the first dimensions.", contrastive=True),
    "FroSSLLoss": Loss("FroSSL: the logarithm of the covariance's Frobenius norm, and invariance.", "list"),
    "KoLeoLoss": Loss("KoLeo: nearest neighbours in the batch move apart, mean over the views.", "each"),
    "MACLLoss": Loss("Model-aware contrastive learning: NT-Xent with an adaptive temperature.", contrastive=True),
    "NegativeCosineSimilarity": Loss(
        "SimSiam and BYOL: - cos(p, t), mean over the batch.", per_sample=True, fixed=(("dim", 1),)
    ),
    "NTXentLoss": Loss("SimCLR: normalised temperature-scaled cross-entropy.", contrastive=True),
    "SIGReg": Loss("LeJEPA's SIGReg: projections on random directions are to be normal.", "stack", draws=True),
    "VICRegLoss": Loss("VICReg: invariance, variance and covariance in one, with their weights."),
    "WMSELoss": Loss(
        "W-MSE: distances of embeddings whitened in sub-batches of w_size, which divides the batch.",
        "cat", draws=True, dim="embedding_dim",
        fixed=(("track_running_stats", False), ("loss_fn", None)),
    ),
}  # fmt: skip
"""The losses of `lightly.loss` that can be terms."""

_MASKS = "it is given masks or grids of places beside the embeddings"
_ROLES = "it is given global and local embeddings apart"
_PROTOTYPES = "it is given prototypes beside the embeddings"
_OF_TOKENS = "it compares the places of a view, not the embeddings of whole views"

REFUSED = {
    "CAPILoss": _OF_TOKENS,
    "DINOLoss": "it moves its centre in every call, not once per step, and takes all views at once; use "
    "centred_cross_entropy",
    "DetConBLoss": _MASKS,
    "DetConSLoss": _MASKS,
    "EMPSSLLoss": "its log-determinant has the wrong sign, so that it asks for a collapse; use coding_rate",
    "IBOTPatchLoss": _OF_TOKENS,
    "IBOTPlusPlusPatchLoss": _OF_TOKENS,
    "LeJEPALoss": f"{_ROLES}; use lightly/SIGReg, or sliced_characteristic with pairing: to_mean",
    "LeWMLoss": "it predicts the next embedding of a sequence",
    "MMCRLoss": "it does not bring embeddings to unit length, and is then not bounded below; use nuclear_norm",
    "MSNLoss": _PROTOTYPES,
    "PMSNCustomLoss": _PROTOTYPES,
    "PMSNLoss": _PROTOTYPES,
    "PatchKernelAlignmentLoss": _OF_TOKENS,
    "SwaVLoss": f"{_ROLES}, with a queue, and its exponential overflows for scores above 4; use sinkhorn_cross_entropy",
    "TiCoLoss": "its running covariance is no buffer, so that a resumed run would start without it; use "
    "covariance_contrast",
    "VICRegLLoss": _MASKS,
    "VISRegLoss": f"{_ROLES}; use sliced_wasserstein",
    "Whitening2d": "it is a layer, and no loss",
}
"""The modules of `lightly.loss` that cannot be terms, and why."""


def _off(reason: str) -> AfterValidator:
    def check(value: Any) -> Any:
        if value:
            raise ValueError(f"is off here: {reason}; leave it out.")
        return value

    return AfterValidator(check)


TYPES = {
    "gather_distributed": Annotated[
        bool, _off("the objective gives the loss the batch of all processes, so it must not gather")
    ],
    "memory_bank_size": Annotated[int, _off("lightly does not save the bank, so that no run could be resumed")],
}
"""Types of options, where lightly's would allow what cannot work here."""


@register("term", "lightly/*")
class LightlyLosses(Family):
    """A loss of lightly by its class name, such as lightly/VICRegLoss: `ssl-zoo list term 'lightly/*'`."""

    members = {
        name: ("contrastive: " if loss.contrastive else "") + loss.summary for name, loss in sorted(LOSSES.items())
    }
    refused = REFUSED

    @classmethod
    @cache
    def member(cls, name: str) -> Callable[..., Any]:
        """Return what builds the term of a loss.

        Raises:
            UserError: the installed lightly has none of that name.
        """
        import lightly.loss

        loss, found = LOSSES[name], installed(lightly.loss, name, f"term 'lightly/{name}'")
        doc = f"{cls.members[name]}\n\nSee `help(lightly.loss.{name})` for the options.\n{_notes(name, found)}"
        extra: dict[str, Any] = {}
        if loss.draws:
            extra["seed"] = (Annotated[int, Field(ge=0)], 0)
            doc += "\nThe option `seed` is of its random numbers, which change with every optimizer step."

        def build(dim: int, **options: Any) -> LightlyLoss:
            seed = options.pop("seed", 0)
            options |= {key: value for key, value in loss.fixed if value is not None and has(found, key)}
            if loss.dim:
                options[loss.dim] = dim
            return LightlyLoss(name, construct(found, options), seed, _sentences(name, found))

        build.__module__ = __name__
        leave_out = [key for key, _ in loss.fixed] + ([loss.dim] if loss.dim else [])
        return with_options_of(build, found, takes=["dim"], leave_out=leave_out, types=TYPES, extra=extra, doc=doc)


LightlyLosses.__doc__ = doc_of_family(LightlyLosses.__doc__ or "", LightlyLosses)


def _sentences(name: str, cls: type) -> tuple[str, ...]:
    """Return what `check` says of a loss."""
    loss, found = LOSSES[name], []
    if loss.contrastive:
        found.append(f"term lightly/{name} is contrastive: the other samples of the batch are its negatives.")
    if not loss.per_sample:
        unless = " unless gather_distributed is set" if has(cls, "gather_distributed") else ""
        found.append(
            f"term lightly/{name}: in a loop of lightly's it sees the samples of one process{unless}; here it gets "
            "those of all processes."
        )
    return tuple(found)


def _notes(name: str, cls: type) -> str:
    return "".join(f"\n{sentence}" for sentence in _sentences(name, cls))


class LightlyLoss(Term):
    """A loss of lightly as a term.

    Args:
        name: of its class.
        loss: the module; its buffers are part of the state.
        seed: of its random numbers, where it draws some.
        notes: what `check` says.
    """

    def __init__(self, name: str, loss: nn.Module, seed: int = 0, notes: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.name, self.loss, self.seed, self.notes = name, loss, seed, notes
        bank: Any = getattr(loss, "memory_bank", None)
        for buffer in () if bank is None else bank.buffers():
            buffer.zero_()  # there is no bank, but memory that nobody has written to
        kind = LOSSES[name]
        self.call, self.per_sample = kind.call, kind.per_sample
        self.inputs: Inputs = "pair" if kind.call == "pair" else "set"
        self.step = StepCounter() if kind.draws else None

    def forward(self, *embeddings: Any) -> Tensor:
        """Return the scalar for p and t `(B, D)`, or for the list of z of all views.

        Raises:
            PartFailed: the loss refuses them, such as a batch that is too small.
        """
        first = embeddings[0] if self.call == "pair" else embeddings[0][0]
        try:
            with _seeded(self._seed(), first.device), warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="To copy construct from a tensor")  # in DCLW's weights
                return self._value(embeddings)
        except (ValueError, AssertionError) as error:
            raise PartFailed(f"term 'lightly/{self.name}': {describe_error(error)}.") from error

    def _seed(self) -> int | None:
        return None if self.step is None else derive(self.seed, f"lightly {self.name}", int(self.step))

    def _value(self, embeddings: Sequence[Any]) -> Tensor:
        if self.call == "pair":
            return self.loss(*embeddings)
        z: list[Tensor] = embeddings[0]
        if self.call == "each":
            return torch.stack([self.loss(x) for x in z]).mean()
        if self.call == "stack":
            return self.loss(torch.stack(z))
        if self.call == "list":
            return self.loss(z)
        views = getattr(self.loss, "num_samples", len(z))
        if views != len(z):
            raise ValueError(f"num_samples is {views} for {len(z)} views; set num_samples={len(z)}")
        part = getattr(self.loss, "w_size", 1)
        if len(z[0]) % part:
            raise ValueError(f"w_size is {part}, which does not divide a batch of {len(z[0])}")
        return self.loss(torch.cat(z))


@contextmanager
def _seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """A context whose random numbers follow from a seed alone; afterwards the generators are as they were."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield

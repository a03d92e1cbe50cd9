"""Types that travel between parts: InputSpec, View, Batch, StepOutput, and the Encoder protocol.

They are not frozen: DistributedDataParallel rebuilds them around the tensors that it moves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

Data = Tensor | Mapping[str, Tensor]


@dataclass(frozen=True)
class ViewSpec:
    """Role and shape of a view, without the batch; see `View`. Channels come first, as in `(3, 224, 224)`."""

    role: str
    shape: tuple[int, ...]
    is_target: bool = True
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True)
class InputSpec:
    """Shape and scale of the views, known before there is data. A view policy states it; encoders and sources ask.

    Attributes:
        modality: registered name of the modality, such as `image`.
        views: one entry per view of a sample. The first is also the shape of a plain sample.
        mean: subtracted from each channel; None where views are not normalised.
        std: divided by, per channel; None where views are not normalised.
        vocabulary: where views are integers, the number of their values, 0 being padding; else None.
        members: of samples that are mappings, (name, spec) of each member, in order; `views` are then theirs, in the
            same order. Empty for a sample of one modality.
    """

    modality: str
    views: tuple[ViewSpec, ...]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    vocabulary: int | None = None
    members: tuple[tuple[str, InputSpec], ...] = ()

    @property
    def each(self) -> dict[str, InputSpec]:
        """The spec of each member by its name; of a sample of one modality, its own by the modality's name."""
        return dict(self.members) or {self.modality: self}

    @property
    def named_views(self) -> list[tuple[str, ViewSpec]]:
        """The views in order, each with the name of its modality or member."""
        return [(name, view) for name, spec in self.each.items() for view in spec.views]

    @property
    def channels(self) -> int:
        """Number of channels of a view."""
        return self.views[0].shape[0]

    @property
    def sides(self) -> tuple[int, ...]:
        """Length of each axis of a plain sample after the channels, such as height and width."""
        return self.views[0].shape[1:]

    def sides_of(self, role: str) -> tuple[int, ...] | None:
        """Return the sides of the first view of a role, or None where no view has it."""
        return next((view.shape[1:] for view in self.views if view.role == role), None)


@dataclass
class View:
    """One augmented copy of every sample of a batch. Only view policies and encoders look inside `data`.

    Attributes:
        data: the samples, batch first: a tensor (images are normalised floats `(B, C, H, W)`), or named tensors.
        modality: registered name of the modality; of a sample that is a mapping, the name of the member.
        role: what the view is for. `global` views see most of the sample, `local` ones a small part of it.
        is_target: whether the other views are to predict this one.
        aux: tensors `(B, ...)` about the view. `box` `(B, 3, d)` is the part of the sample that the view shows, for
            each of its d axes: start and extent, as fractions of the sample, and whether the axis is mirrored (0 or 1).
            `index` `(B,)` are the positions of its samples in the data set; `Batch` puts it there.
    """

    data: Data
    modality: str = "tensor"
    role: str = "global"
    is_target: bool = True
    aux: dict[str, Tensor] = field(default_factory=dict)

    @property
    def tensor(self) -> Tensor:
        """The data of a view that is one tensor.

        Raises:
            TypeError: the view has several.
        """
        if not isinstance(self.data, Tensor):
            raise TypeError(f"this {self.modality} view holds several tensors ({', '.join(self.data)}), not one")
        return self.data

    @property
    def layout(self) -> tuple[object, ...]:
        """Modality and shapes: views of one layout can be stacked."""
        data = {"": self.data} if isinstance(self.data, Tensor) else self.data
        return self.modality, tuple((name, tuple(value.shape)) for name, value in data.items())

    def map(self, function: Callable[[Tensor], Tensor]) -> View:
        """Return the view with a function applied to its data and to each tensor of `aux`."""
        data = function(self.data) if isinstance(self.data, Tensor) else _mapped(function, self.data)
        return View(data, self.modality, self.role, self.is_target, _mapped(function, self.aux))


def _mapped(function: Callable[[Tensor], Tensor], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: function(value) for name, value in tensors.items()}


def stack_alike(views: Sequence[View]) -> View:
    """Return views of one layout as one view of all their samples; `aux` keeps what all of them have."""
    first = views[0]
    data: Data
    if isinstance(first.data, Tensor):
        data = torch.cat([view.tensor for view in views])
    else:
        mappings = [view.data for view in views if not isinstance(view.data, Tensor)]
        data = {name: torch.cat([each[name] for each in mappings]) for name in first.data}
    known = set(first.aux).intersection(*(view.aux for view in views))
    aux = {name: torch.cat([view.aux[name] for view in views]) for name in sorted(known)}
    return View(data, first.modality, first.role, first.is_target, aux)


@dataclass
class Batch:
    """The views of a batch of samples. Labels never get here.

    Attributes:
        views: the views, each of the same `B` samples in the same order.
        index: `(B,)` positions of the samples in the data set, for methods with a memory per sample. Each view gets
            it as `aux["index"]`: parts are called with views, and so know the samples where they need to.
        drawn: what the method has drawn for these samples on the host; see `Method.draws`. Empty where it draws in its
            forward pass, or has nothing to draw.
    """

    views: Sequence[View]
    index: Tensor | None = None
    drawn: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Tell each view which samples it is of."""
        if self.index is not None:
            for view in self.views:
                view.aux["index"] = self.index


@dataclass
class StepOutput:
    """Output of a training step.

    Attributes:
        loss: the scalar to minimise, the sum of `terms`.
        terms: {name: weighted scalar}.
        embeddings: z of every view, `(B, D)`, detached, for the collapse guard.
        members: of samples that are mappings, the member that each of the embeddings is of; else empty.
        tokens: of methods that compare places, the embeddings of the places of every view, `(B, N, D)`, detached, for
            the collapse guard too.
        features: h of every view, `(B, D_h)`, detached, for the collapse guard; empty where z is the encoder's output.
    """

    loss: Tensor
    terms: dict[str, Tensor]
    embeddings: list[Tensor]
    members: list[str] = field(default_factory=list)
    tokens: list[Tensor] | None = None
    features: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class LibraryModel:
    """A model of another library that takes the weights of an encoder; see `Encoder`.

    Attributes:
        name: what the library calls it, such as `resnet18`.
        head: the attribute with its classifier, in whose place `torch.nn.Identity()` is put; None where there is none.
        options: arguments with which the library makes it.
        keys: {beginning of the name of a weight here: beginning there}; other names are the same.
    """

    name: str
    head: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)

    def renamed(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weights under the library's names."""
        return {_replaced(name, self.keys): value for name, value in weights.items()}

    def named_here(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weights that have the library's names under those of the encoder."""
        back = {there: here for here, there in self.keys.items()}
        return {_replaced(name, back): value for name, value in weights.items()}


def _replaced(name: str, beginnings: Mapping[str, str]) -> str:
    for old, new in beginnings.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


class Encoder(Protocol):
    """A module that maps the tensor of a view to features h `(B, out_dim)`; any `nn.Module` with `out_dim` will do.

    Two methods are optional, since any module can be an encoder: `encode(view)`, for encoders that must see more than
    the tensor, and `tokens(view) -> (tokens (B, N, out_dim), grid)`, for methods that compare places of a view. The
    product of `grid` is N; the mean of the tokens is h.

    A transformer's `tokens` may take two more arguments, for methods that hide places. `keep` `(B, K)` are the places
    that are visible, -1 for padding where samples have differing numbers of them: the others are left out before
    anything is mixed, and K tokens come back, in the order of `keep`. `fill` `(out_dim,)` is put into the other places
    instead, and all N come back. Such an encoder has `grid(view)`, the grid alone, and it may have `layers(view, num)`:
    what each of its last `num` blocks adds to the tokens, a list of `(B, N, out_dim)`.

    An encoder for which there are published weights may state what these are made for, as options of views, in the
    attribute `usual_input`: `{"size": 224, "mean": [...], "std": [...]}`.

    An encoder that is a model of another library says so by `library_models() -> {library: LibraryModel}`, and its
    weights are exported under that library's names; in place of a model there may be the reason why it is none.

    Attributes:
        out_dim: width of the features.
    """

    out_dim: int

    def __call__(self, x: Tensor) -> Tensor:
        """Return the features `(B, out_dim)`."""


def tokens_of(encoder: nn.Module, view: View, **hidden: Tensor | None) -> tuple[Tensor, tuple[int, ...]]:
    """Return the features of the places of a view `(B, N, D)` and their grid, of an encoder that has `tokens`.

    Args:
        encoder: see `Encoder`.
        view: of a batch.
        **hidden: `keep` and `fill`, for encoders that can hide places.
    """
    special: Callable[..., tuple[Tensor, tuple[int, ...]]] | None = getattr(encoder, "tokens", None)
    if special is None:
        raise TypeError(f"the encoder {type(encoder).__name__} gives no features of places: it has no tokens(view)")
    return special(view, **hidden)


def encode(encoder: nn.Module, view: View) -> Tensor:
    """Return the embedding h `(B, D)` of a view."""
    special: Callable[[View], Tensor] | None = getattr(encoder, "encode", None)
    return encoder(view.tensor) if special is None else special(view)


class Pairs(NamedTuple):
    """The pairs (p, t), each `(B, D)`, and the factor that their sum is multiplied by."""

    pairs: list[tuple[Tensor, Tensor]]
    scale: float

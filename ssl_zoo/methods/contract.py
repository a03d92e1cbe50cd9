"""The contract of a recipe's parts, tried on two samples: each takes what comes, and returns the width that it states.

The trial runs on the meta device, which computes shapes and no values. Parts that cannot run there are tried with
zeros. Either way copies run, so that a trial never changes what it tries.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ssl_zoo.batch import Batch, InputSpec, View, encode
from ssl_zoo.errors import UserError, describe_error
from ssl_zoo.methods.members import DirectionHeads, MemberEncoders, MemberHeads, OfMembers, apply, width_of
from ssl_zoo.methods.outlines import NoRandomValues, ShapesOnly, outline
from ssl_zoo.methods.returned import check_features, check_tokens
from ssl_zoo.modalities.patches import patches_left_over
from ssl_zoo.registry import PartFailed

T = TypeVar("T")

SAMPLES = 2
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def without_memory(make: Callable[[], T]) -> T:
    """Return what `make` builds: on the meta device, without memory for weights, where its parts allow that."""
    try:
        with torch.device("meta"), NoRandomValues():
            return make()
    except PartFailed:
        return make()


def views_of(spec: InputSpec) -> list[View]:
    """Return views of two samples, on the meta device."""
    return [
        View(torch.empty(SAMPLES, *view.shape, dtype=view.dtype, device="meta"), name, view.role, view.is_target)
        for name, view in spec.named_views
    ]


def check_views(name: str, spec: InputSpec, views: Any) -> None:
    """Make sure that a policy makes the views that its `spec` states.

    Args:
        name: of the policy, for messages.
        spec: of the policy.
        views: the views of some samples.

    Raises:
        PartFailed: it does not.
    """
    if not isinstance(views, list) or not all(isinstance(view, View) for view in views):
        raise PartFailed(f"views {name}: must return a list of ssl_zoo.View.")
    stated = [(modality, view.role, view.is_target) for modality, view in spec.named_views]
    made = [(view.modality, view.role, view.is_target) for view in views]
    if made != stated:
        raise PartFailed(f"views {name}: its spec states (modality, role, is_target) {stated}, but it made {made}.")
    for view, (_, each) in zip(views, spec.named_views, strict=True):
        if isinstance(view.data, Tensor) and tuple(view.data.shape[1:]) != each.shape:
            raise PartFailed(
                f"views {name}: its spec states a {view.role} view of shape {each.shape}, but it made one of "
                f"{tuple(view.data.shape[1:])}; correct self.spec."
            )


def try_encoder(encoder: nn.Module, name: str, views: Sequence[View], hint: str = "") -> None:
    """Make sure that an encoder takes views and returns features `(B, out_dim)`.

    Args:
        encoder: it stays as it is.
        name: of the encoder, for messages.
        views: of two samples.
        hint: what a user can do where it does not take the views.

    Raises:
        PartFailed: it does not.
    """
    try_parts({"encoder": encoder}, {"encoder": name}, views, lambda trial: trial.encoder(hint))


def try_parts(
    parts: Mapping[str, nn.Module],
    names: Mapping[str, str],
    views: Sequence[View],
    run: Callable[[Trial], None],
    lenient: bool = False,
) -> None:
    """Run a trial of parts on the meta device, or where that cannot be done, with zeros.

    Args:
        parts: {part: module}; they stay as they are.
        names: {part: its name in messages}.
        views: of two samples.
        run: what is tried.
        lenient: leave an encoder that does not take the views alone: it may be meant for others.

    Raises:
        PartFailed: a part does not keep its contract.
    """

    def attempt(trial: Trial) -> None:
        try:
            run(trial)
        except _EncoderDoesNotRun:
            if not lenient or trial.device.type == "meta":
                raise

    _try(parts, names, views, attempt)


class _DoesNotRun(PartFailed):
    """A part raises."""


class _EncoderDoesNotRun(_DoesNotRun):
    """The encoder raises."""


def _try(
    parts: Mapping[str, nn.Module], names: Mapping[str, str], views: Sequence[View], run: Callable[[Trial], None]
) -> None:
    outside = torch.empty(0).device  # where the caller builds
    real = not any(p.is_meta for part in parts.values() for p in part.parameters())
    with torch.random.fork_rng(devices=[]), torch.no_grad(), torch.device("cpu"):
        try:
            with ShapesOnly():
                run(Trial(_outlines(parts), names, views, torch.device("meta")))
            return
        except _DoesNotRun:
            if not real or outside.type == "meta":
                raise
        try:
            copies = copy.deepcopy(dict(parts))
        except Exception:  # what cannot be copied cannot be tried without a trace
            return
        run(Trial(copies, names, views, torch.device("cpu")))


def _outlines(parts: Mapping[str, nn.Module]) -> dict[str, Any]:
    """Return copies of modules, the same ones shared, whose weights and buffers are on the meta device."""
    known: dict[int, Any] = {}
    for part in parts.values():
        for weight in part.parameters():
            known[id(weight)] = nn.Parameter(outline(weight), weight.requires_grad)
        for buffer in part.buffers():
            known[id(buffer)] = outline(buffer)
    try:
        return copy.deepcopy(dict(parts), known)
    except Exception as error:
        raise _DoesNotRun(describe_error(error)) from error


class Trial:
    """Copies of parts, tried on views of two samples.

    Args:
        parts: {part: its copy}.
        names: {part: its name in messages}.
        views: of two samples.
        device: where the copies are.
    """

    def __init__(self, parts: Mapping[str, Any], names: Mapping[str, str], views: Sequence[View], device: torch.device):
        self.parts, self.names, self.views, self.device = parts, names, views, device

    def _on(self, view: View) -> View:
        return view.map(lambda x: torch.zeros(x.shape, dtype=x.dtype, device=self.device))

    def _run(self, what: str, call: Callable[[], T], hint: str = "", failure: type[_DoesNotRun] = _DoesNotRun) -> T:
        try:
            return call()
        except UserError:
            raise
        except Exception as error:
            raise failure(f"{what}: {describe_error(error).rstrip('.')}{hint}.") from error

    def _label(self, part: str) -> str:
        return f"{part} {self.names.get(part, type(self.parts[part]).__name__)}"

    def width(self, part: str) -> int | dict[str, int]:
        """Return the width that a part states of its output; of modules of members, {member: width}."""
        module = self.parts[part]
        return module.out_dims if isinstance(module, OfMembers) else module.out_dim

    def encoder(self, hint: str = "") -> None:
        """Try the encoder on a view of each shape, and in evaluation mode on those that evaluation sees."""
        encoder = self.parts["encoder"]
        convolutions = [module for module in encoder.modules() if isinstance(module, _CONVOLUTIONS)]
        views, seen = _of_different_shapes(self.views), set[str]()
        several = len({view.modality for view in views}) > 1
        for view in views:
            member = f".{view.modality}" if isinstance(encoder, MemberEncoders) else ""
            label = f"encoder{member} {self.names['encoder' + member]}"
            advice = hint or ("; give each member its own encoder" if several and not member else "")
            shape = tuple(view.tensor.shape) if isinstance(view.data, Tensor) else view.layout[1]
            hooks = []
            if isinstance(view.data, Tensor):
                hook = _whole_patches(self.names["encoder" + member], view, view.modality if several else "")
                hooks = [module.register_forward_pre_hook(hook) for module in convolutions]
            for training in (True, False) if view.modality not in seen else (True,):
                call = partial(encode, encoder.train(training), self._on(view))
                h = self._run(f"{label}: cannot take views {shape}", call, advice, _EncoderDoesNotRun)
                check_features(label, h, SAMPLES, width_of(encoder, view.modality), f" for views {shape}")
            for each in hooks:
                each.remove()
            seen.add(view.modality)

    def tokens(self) -> None:
        """Try the encoder's features of places."""
        encoder, label = self.parts["encoder"], self._label("encoder")
        for view in _of_different_shapes(self.views):
            tokens = self._run(f"{label}: tokens", partial(encoder.tokens, self._on(view)))
            check_tokens(label, tokens, SAMPLES, encoder.out_dim)

    def layers(self, num: int) -> None:
        """Try what the encoder's last blocks give."""
        encoder, label = self.parts["encoder"], self._label("encoder")
        for view in _of_different_shapes(self.views):
            for tokens in self._run(f"{label}: layers", partial(encoder.layers, self._on(view), num)):
                check_tokens(label, (tokens, tokens.shape[1:2]), SAMPLES, encoder.out_dim)

    def head(self, part: str, in_dim: int | dict[str, int]) -> None:
        """Try a head on input of a width, or those of members, each on its own."""
        head = self.parts[part].eval()
        if isinstance(head, (MemberHeads, DirectionHeads)):
            for member, source, module in head.sources():
                width = in_dim if isinstance(in_dim, int) else in_dim[source]
                self._one_head(module, f"{part}.{member} {self.names[f'{part}.{member}']}", width)
        else:
            self._one_head(head, self._label(part), in_dim if isinstance(in_dim, int) else next(iter(in_dim.values())))

    def _one_head(self, head: Any, label: str, in_dim: int) -> None:
        x = torch.zeros(SAMPLES, in_dim, device=self.device)
        z = self._run(f"{label}: cannot take {tuple(x.shape)}", lambda: head(x))
        check_features(label, z, SAMPLES, head.out_dim, f" for {tuple(x.shape)}")

    def pairs(self) -> None:
        """Try the target on views and embeddings, and the pairing on what comes of it."""
        target, pairing = self.parts["target"].eval(), self.parts["pairing"].eval()
        projector, predictor = self.parts["projector"], self.parts["predictor"].eval()
        label, width = self._label("target"), projector.out_dim
        z = [torch.zeros(SAMPLES, width, device=self.device) for _ in self.views]
        if len(self.views) == 1:
            raise PartFailed("views.num_views: one view has no other to be compared with; use at least 2.")
        made = list(
            Batch([self._on(view) for view in self.views], torch.tensor(range(SAMPLES), device=self.device)).views
        )
        t = self._run(f"{label}: raises", lambda: target(made, z))
        if not isinstance(t, (list, tuple)) or len(t) != len(self.views):
            raise PartFailed(f"{label}: must return a list of {len(self.views)}, one item per view.")
        for each in t:
            if each is not None:
                check_features(label, each, SAMPLES, width, " for a view")
        p = [apply(predictor, x, view) for x, view in zip(z, made, strict=True)]
        pairs = self._run(f"{self._label('pairing')}: raises", lambda: pairing(p, t, made))
        if not getattr(pairs, "pairs", None):
            raise PartFailed(f"{self._label('pairing')}: returned no pairs (p, t) for {len(self.views)} views.")


def _of_different_shapes(views: Sequence[View]) -> list[View]:
    return list({view.layout: view for view in reversed(views)}.values())[::-1]


def _whole_patches(name: str, view: View, member: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    """Return a hook that makes sure that a convolution which cuts a view into patches leaves no border."""
    where = f"views.{member}" if member else "views"
    key = f"{where}.local_size" if view.role == "local" else f"{where}.size"
    sides = view.tensor.shape[2:]

    def hook(module: Any, inputs: tuple[Tensor, ...]) -> None:
        padded = module.padding != "valid" and set(module.padding) != {0}
        cuts = module.stride == module.kernel_size and not padded and set(module.dilation) == {1}
        if not cuts or not inputs or inputs[0].shape[2:] != sides:
            return
        for side, patch in zip(sides, module.stride, strict=True):
            if side % patch:
                raise PartFailed(patches_left_over(key, side, patch, name))

    return hook

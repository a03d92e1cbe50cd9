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
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ssl_zoo.batch import View, encode
from ssl_zoo.blame import told
from ssl_zoo.errors import UserError
from ssl_zoo.methods.joint_embedding import Method
from ssl_zoo.methods.returned import check_features, check_maps
from ssl_zoo.parts import patches_left_over
from ssl_zoo.registry import PartFailed

T = TypeVar("T")

SAMPLES = 2
PARTS = ("encoder", "projector", "predictor", "target", "pairing")
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def without_memory(make: Callable[[], T]) -> T:
    """Return what `make` builds: on the meta device, without memory for weights, where its parts allow that."""
    try:
        with torch.device("meta"):
            return make()
    except PartFailed:
        return make()


def views_of(policy: Any) -> list[View]:
    """Return views of two samples as a policy makes them, on the meta device; none where it does not say how."""
    shapes = getattr(policy, "shapes", None)
    if shapes is None:
        return []
    return [View(torch.empty(SAMPLES, *shape, device="meta"), policy.modality, role) for role, shape in shapes()]


def try_encoder(encoder: nn.Module, name: str, views: Sequence[View], hint: str = "") -> None:
    """Make sure that an encoder takes views and returns features `(B, out_dim)`.

    Args:
        encoder: it stays as it is.
        name: what messages call it.
        views: of two samples.
        hint: what a user can do where it does not take the views.

    Raises:
        PartFailed: it does not.
    """
    _try({"encoder": encoder}, lambda trial: trial.encoder(name, views, hint))


def try_method(method: Method, names: Mapping[str, str], views: Sequence[View], lenient: bool = False) -> None:
    """Make sure that each part of a method takes what the parts before it give, and returns the width that it states.

    Args:
        method: its parts stay as they are.
        names: {part: what messages call it}.
        views: of two samples.
        lenient: leave an encoder that does not take the views alone: it may be meant for others.

    Raises:
        PartFailed: one does not.
    """

    def run(trial: _Trial) -> None:
        try:
            trial.encoder(names["encoder"], views)
        except _DoesNotRun:
            if lenient and trial.device.type != "meta":
                return
            raise
        if hasattr(method, "local_projector"):
            trial.maps(names["encoder"], views)
        for part in ("projector", "predictor"):
            trial.head(part, names[part])
        trial.pairs(names, views)

    _try({part: method.get_submodule(part) for part in PARTS}, run)


class _DoesNotRun(PartFailed):
    """A part raises."""


def _try(parts: Mapping[str, nn.Module], run: Callable[[_Trial], None]) -> None:
    """Run a trial on the meta device, or where that cannot be done, with zeros."""
    outside = torch.empty(0).device  # where the caller builds
    real = not any(p.is_meta for part in parts.values() for p in part.parameters())
    with torch.random.fork_rng(devices=[]), torch.no_grad(), torch.device("cpu"):
        try:
            with _NormsKeepShapes():
                run(_Trial(_outlines(parts), torch.device("meta")))
            return
        except _DoesNotRun:
            if not real or outside.type == "meta":
                raise
        try:
            copies = copy.deepcopy(dict(parts))
        except Exception:  # what cannot be copied cannot be tried without a trace
            return
        run(_Trial(copies, torch.device("cpu")))


def _outlines(parts: Mapping[str, nn.Module]) -> dict[str, Any]:
    """Return copies of modules, the same ones shared, whose weights and buffers are on the meta device."""
    known: dict[int, Any] = {}
    for part in parts.values():
        for weight in part.parameters():
            known[id(weight)] = nn.Parameter(torch.empty_like(weight, device="meta"), weight.requires_grad)
        for buffer in part.buffers():
            known[id(buffer)] = torch.empty_like(buffer, device="meta")
    try:
        return copy.deepcopy(dict(parts), known)
    except Exception as error:
        raise _DoesNotRun(told(error)) from error


class _NormsKeepShapes(TorchFunctionMode):
    """On the meta device torch takes longer for what a norm does to each value than for all else: only check shapes."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch."""
        if func is F.batch_norm and args[0].is_meta and args[1] is not None:
            _same((args[0].shape[1],), args[1].shape)
            return torch.empty_like(args[0])
        if func is F.layer_norm and args[0].is_meta:
            shape = tuple(args[1])
            _same(tuple(args[0].shape[-len(shape) :]), shape)
            return torch.empty_like(args[0])
        return func(*args, **(kwargs or {}))


def _same(given: Sequence[int], wanted: Sequence[int]) -> None:
    if tuple(given) != tuple(wanted):
        raise ValueError(f"a norm made for {tuple(wanted)} was given {tuple(given)}")


class _Trial:
    """Copies of parts, and the device that they are tried on."""

    def __init__(self, parts: Mapping[str, Any], device: torch.device):
        self.parts, self.device = parts, device

    def _on(self, view: View) -> View:
        return View(torch.zeros(view.data.shape, device=self.device), view.modality, view.role)

    def _run(self, what: str, call: Callable[[], T], hint: str = "") -> T:
        try:
            return call()
        except UserError:
            raise
        except Exception as error:
            raise _DoesNotRun(f"{what}: {told(error).rstrip('.')}{hint}.") from error

    def encoder(self, name: str, views: Sequence[View], hint: str = "") -> None:
        """Try the encoder on a view of each shape, and in evaluation mode on the first, which evaluation sees."""
        encoder = self.parts["encoder"]
        convolutions = [module for module in encoder.modules() if isinstance(module, _CONVOLUTIONS)]
        for number, view in enumerate(_of_different_shapes(views)):
            shape = tuple(view.data.shape)
            hooks = [module.register_forward_pre_hook(_whole_patches(name, view)) for module in convolutions]
            for training in (True, False) if number == 0 else (True,):
                call = partial(encode, encoder.train(training), self._on(view))
                h = self._run(f"encoder {name}: cannot take views {shape}", call, hint)
                check_features(f"encoder {name}", h, SAMPLES, encoder.out_dim, f" for views {shape}")
            for hook in hooks:
                hook.remove()

    def maps(self, name: str, views: Sequence[View]) -> None:
        """Try the encoder's feature maps."""
        encoder = self.parts["encoder"]
        for view in _of_different_shapes(views):
            maps = self._run(f"encoder {name}: maps", partial(encoder.maps, self._on(view).data))
            check_maps(f"encoder {name}", maps, SAMPLES, encoder.out_dim)

    def head(self, part: str, name: str) -> None:
        """Try a head on input of the width that the part before it states."""
        before = self.parts[PARTS[PARTS.index(part) - 1]].out_dim
        head = self.parts[part].eval()
        x = torch.zeros(SAMPLES, before, device=self.device)
        z = self._run(f"{part} {name}: cannot take {tuple(x.shape)}", lambda: head(x))
        check_features(f"{part} {name}", z, SAMPLES, head.out_dim, f" for {tuple(x.shape)}")

    def pairs(self, names: Mapping[str, str], views: Sequence[View]) -> None:
        """Try the target on views and embeddings, and the pairing on what comes of it."""
        target, pairing = self.parts["target"].eval(), self.parts["pairing"].eval()
        width = self.parts["projector"].out_dim
        z = [torch.zeros(SAMPLES, width, device=self.device) for _ in views]
        if len(views) == 1:
            raise PartFailed("views.num_views: one view has no other to be compared with; use at least 2.")
        made = [self._on(view) for view in views]
        t = self._run(f"target {names['target']}: raises", lambda: target(made, z))
        if not isinstance(t, (list, tuple)) or len(t) != len(views):
            raise PartFailed(f"target {names['target']}: must return a list of {len(views)}, one item a view.")
        for each in t:
            if each is not None:
                check_features(f"target {names['target']}", each, SAMPLES, width, " for a view")
        p = [torch.zeros(SAMPLES, width, device=self.device) for _ in views]
        pairs = self._run(f"pairing {names['pairing']}: raises", lambda: pairing(p, t))
        if not getattr(pairs, "pairs", None):
            raise PartFailed(f"pairing {names['pairing']}: returned no pairs (p, t) for {len(views)} views.")


def _of_different_shapes(views: Sequence[View]) -> list[View]:
    return list({(tuple(view.data.shape), view.modality): view for view in reversed(views)}.values())[::-1]


def _whole_patches(name: str, view: View) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    """Return a hook that makes sure that a convolution which cuts a view into patches leaves no border."""
    key = "views.local_size" if view.role == "local" else "views.size"
    sides = view.data.shape[2:]

    def hook(module: Any, inputs: tuple[Tensor, ...]) -> None:
        padded = module.padding != "valid" and set(module.padding) != {0}
        cuts = module.stride == module.kernel_size and not padded and set(module.dilation) == {1}
        if not cuts or not inputs or inputs[0].shape[2:] != sides:
            return
        for side, patch in zip(sides, module.stride, strict=True):
            if side % patch:
                raise PartFailed(patches_left_over(key, side, patch, name))

    return hook

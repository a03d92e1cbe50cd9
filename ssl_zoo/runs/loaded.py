"""A trained encoder in its user's hands: the module, with what prepares samples for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_zoo.batch import encode, stack_alike
from ssl_zoo.data.encoding import BATCH, at_a_time, evaluating, mean_over
from ssl_zoo.runs.card import Card
from ssl_zoo.runs.inputs import Inputs, inputs_of, is_batch


class LoadedEncoder(nn.Module):
    """An encoder with `embed`, which takes files, pictures and other samples as they are, and `preprocess`.

    It stands for `module`, the encoder as it was trained: called with a batch of plain samples it returns what the
    module does, `state_dict` and the names of parameters are the module's, and other attributes are read from it and
    set on it.

    Args:
        module: the encoder; of samples that are mappings, a `ssl_zoo.methods.members.PairedEncoder`.
        card: of the encoder.
        folder: that it was read from.
    """

    def __init__(self, module: nn.Module, card: Card, folder: Path) -> None:
        super().__init__()
        self.module = module
        self.card, self._folder = card, folder
        self._prepared: dict[str | None, Inputs] = {}
        self.training = module.training
        self.register_load_state_dict_pre_hook(_under_module)

    def forward(self, *arguments: Any, **options: Any) -> Any:
        """Return what the module does."""
        return self.module(*arguments, **options)

    def inputs(self, member: str | None = None) -> Inputs:
        """Return what prepares samples: the view policy and the modality.

        Args:
            member: of an encoder of samples that are mappings.

        Raises:
            UserError: the card does not say how, or there is no such member.
        """
        if member not in self._prepared:
            self._prepared[member] = inputs_of(self.card, self._folder, member)
        return self._prepared[member]

    @torch.no_grad()
    def embed(self, samples: Any, *, member: str | None = None) -> Tensor:
        """Return the embeddings h of samples, prepared as the evaluation prepares them: equal to those of `embed RUN`.

        The module computes where it is and in evaluation mode; its training mode is afterwards what it was. Where the
        view policy looks at a sample several times, h is the mean.

        Args:
            samples: a path, whose file is decoded as in training; a Pillow picture; a tensor `(C, H, W)` or an array
                `(H, W, C)` of an image; encoded bytes; a text, for an encoder of texts. Or several: a list of these, a
                tensor `(B, C, H, W)`, an array `(B, H, W, C)`.
            member: which the samples are of, for an encoder of samples that are mappings.

        Returns:
            `(D,)` of one sample, `(B, D)` of several; float32, on the CPU.

        Raises:
            UserError: a sample cannot be read, or the card does not say how samples are prepared.
        """
        inputs = self.inputs(member)
        several = is_batch(samples, inputs)
        values = list(samples) if several else [samples]
        size = at_a_time(inputs.policy.spec, BATCH)
        with evaluating(self.module):
            parts = [
                self._embed(values[start : start + size], start, inputs, member)
                for start in range(0, len(values), size)
            ]
        if not parts:
            return torch.empty(0, self._width(member))
        return torch.cat(parts) if several else parts[0][0]

    def _embed(self, values: list[Any], start: int, inputs: Inputs, member: str | None) -> Tensor:
        looks = [inputs.policy.looks([inputs.sample(each, start + i)]) for i, each in enumerate(values)]
        device = next((each.device for each in self.module.parameters()), torch.device("cpu"))
        views = [stack_alike(each).map(lambda x: x.to(device)) for each in zip(*looks, strict=True)]
        if member is not None:
            for view in views:
                view.modality = member
        return mean_over(views, partial(encode, self.module)).cpu()

    def _width(self, member: str | None) -> int:
        module: Any = self.module
        width: int = module.out_dim if member is None else module.out_dims[member]
        return width

    @property
    def preprocess(self) -> Callable[[Any], Tensor]:
        """A transform of `torchvision.transforms.v2` that makes of a sample what the module takes, without the batch.

        It takes what `embed` takes of one sample, and goes into a data set or a `Compose`. Of several members, see
        `preprocess_of`.
        """
        return self.preprocess_of(None)

    def preprocess_of(self, member: str | None) -> Callable[[Any], Tensor]:
        """Return `preprocess` for the samples of a member."""
        from ssl_zoo.runs.preprocess import Preprocess  # here: torchvision's transforms take long to import

        return Preprocess(self.inputs(member))

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_") or name in self.__dict__ or "module" not in self._modules:
            super().__setattr__(name, value)
        else:
            setattr(self.module, name, value)

    def train(self, mode: bool = True) -> LoadedEncoder:
        """Set the training mode of the module."""
        self.training = mode
        self.module.train(mode)
        return self

    def named_modules(self, *arguments: Any, **options: Any) -> Iterator[tuple[str, nn.Module]]:
        """Yield the module and those in it by the names that they have without this one around them."""
        yield from self.module.named_modules(*arguments, **options)

    def state_dict(self, *arguments: Any, **options: Any) -> Any:
        """Return the state of the module, under its own names."""
        return self.module.state_dict(*arguments, **options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.module!r})"


def _under_module(module: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    """Put weights under the name of the module, where loading looks for them."""
    for name in [name for name in state if name.startswith(prefix)]:
        state[f"{prefix}module.{name.removeprefix(prefix)}"] = state.pop(name)

"""The target `ema`: a moving average of the online network (Grill et al. 2020, BYOL, arXiv 2006.07733)."""

import copy
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ssl_zoo.batch import View
from ssl_zoo.distributed.shards import local
from ssl_zoo.optim.schedules import half_cosine
from ssl_zoo.parts import Target
from ssl_zoo.registry import register

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def disable_stochastic_layers(network: nn.Module) -> None:
    """Turn off dropout and timm's stochastic depth, in training mode too."""
    for module in network.modules():
        if isinstance(module, DROPOUTS):
            module.p = 0.0
        elif isinstance(getattr(module, "drop_prob", None), float):
            vars(module)["drop_prob"] = 0.0


@register("target", "ema")
class EMA(Target):
    """t comes from a second network whose weights follow the online ones, xi <- tau xi + (1 - tau) theta.

    It has no dropout and no stochastic depth, as in the code of DINO.
    It moves once per optimizer step, with accumulation too. Its rate is a function of the run's progress, so a
    resumed run has the rate that it would have had.

    Args:
        branch: encoder and projector of the online network, as one module that maps views to embeddings.
        momentum: tau at the start, in [0, 1]; 1 never moves, 0 copies the online network.
        schedule: `cosine` takes tau from `momentum` to 1 over the run, tau = 1 - (1 - tau0) (cos(pi k / K) + 1) / 2
            (BYOL, section 3.1); `linear` takes it there along a line (I-JEPA's code); `constant` keeps it.
        buffers: the statistics of its norm layers: `own` (those of its own forward passes, as BYOL's code),
            `copy` (the online network's) or `ema` (averaged as the weights are).
    """

    rate: Tensor

    def __init__(
        self,
        branch: nn.Module,
        *,
        momentum: Annotated[float, Field(ge=0, le=1)] = 0.996,
        schedule: Literal["cosine", "linear", "constant"] = "cosine",
        buffers: Literal["own", "copy", "ema"] = "own",
    ):
        super().__init__()
        self.network = copy.deepcopy(branch).requires_grad_(False)
        disable_stochastic_layers(self.network)
        self._online = [branch]  # in a list, so that the online parameters are not registered a second time
        self.momentum, self.schedule, self.buffers_policy = momentum, schedule, buffers
        self.depends_on_length = schedule != "constant"
        self.register_buffer("rate", torch.tensor(float(momentum)))

    def forward(self, views: Sequence[View], z: Sequence[Tensor]) -> list[Tensor | None]:
        """Return the target network's embeddings `(B, D)` of the global views."""
        seen = [view for view in views if view.is_target]
        with torch.no_grad():
            targets = iter(self.network(seen))
        return [next(targets) if view.is_target else None for view in views]

    def tau(self, progress: float) -> float:
        """Return the rate at a progress in [0, 1]."""
        if self.schedule == "constant":
            return self.momentum
        left = max(0.0, 1 - progress) if self.schedule == "linear" else half_cosine(progress)
        return 1 - (1 - self.momentum) * left

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Move towards the online network; `progress` is the part of the run that is done, in [0, 1]."""
        tau = self.tau(progress)
        self.rate.fill_(tau)
        online = self._online[0]
        weights = list(map(local, self.network.parameters()))  # of shards, those of this process, divided alike
        if weights:  # an encoder may have none, which torch's function does not take
            get_ema_multi_avg_fn(tau)(weights, list(map(local, online.parameters())), None)  # few kernels for all
        if self.buffers_policy == "own":
            return
        pairs = list(zip(self.network.buffers(), online.buffers(), strict=True))
        averaged = [self.buffers_policy == "ema" and mine.is_floating_point() for mine, _ in pairs]
        for average in (True, False):
            some = [pair for pair, is_averaged in zip(pairs, averaged, strict=True) if is_averaged is average]
            if some:
                mine, theirs = map(list, zip(*some, strict=True))
                torch._foreach_lerp_(mine, theirs, 1 - tau) if average else torch._foreach_copy_(mine, theirs)

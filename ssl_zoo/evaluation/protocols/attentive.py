"""Protocol `attentive`: an attentive probe on frozen tokens (CAE, arXiv 2202.03026; V-JEPA, arXiv 2404.08471)."""

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ssl_zoo.evaluation.contract import EvaluationProtocol
from ssl_zoo.evaluation.features import Tokens
from ssl_zoo.evaluation.holdout import holdout
from ssl_zoo.evaluation.protocols.linear import HELD_OUT, Rate
from ssl_zoo.optim.schedules import half_cosine
from ssl_zoo.registry import register
from ssl_zoo.rng import derive, generator

_BLOCK = 512
"""Samples at a time in the test."""


class AttentiveProbe(nn.Module):
    """One learnt query that attends to the places of a sample, then a linear classifier.

    A query that is the same for all samples need not be multiplied with the keys of each: of every head, query and
    projection of keys are one vector, and values are projected after they are averaged. The function is that of
    multi-head cross-attention with a learnt query, without a vector as wide as the token for each of them.

    Args:
        dim: width of the tokens, D; a multiple of `heads`.
        num_classes: K.
        heads: number of heads.

    Shapes: `(B, T, D)` -> `(B, K)`.
    """

    def __init__(self, dim: int, num_classes: int, heads: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(heads, dim) / dim)
        self.value = nn.Parameter(torch.randn(heads, dim, dim // heads) / math.sqrt(dim))
        self.norm = nn.LayerNorm(dim)
        self.classifier = nn.Linear(dim, num_classes)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def pool(self, x: Tensor) -> Tensor:
        """Return what the query gathers `(B, D)`."""
        weights = (x @ self.query.T).softmax(dim=1)  # (B, T, heads)
        gathered = torch.einsum("bth,btd->bhd", weights, x)
        return torch.einsum("bhd,hde->bhe", gathered, self.value).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.norm(self.pool(x)))


@register("protocol", "attentive")
class Attentive(EvaluationProtocol):
    """Top-1 of a probe with one learnt query that attends to the places of a sample, and a linear classifier.

    It asks what the places hold, which their mean may hide: for encoders with `tokens(view)`, those of masked
    prediction above all. The tokens are standardised by mean and standard deviation of train. As in `linear`, the
    learning rate is chosen on a held-out part of train, and test labels have no part in any choice. AdamW, cosine decay
    to 0. Of very many tokens a random part of the samples is taken, which the log says.

    Args:
        heads: of the attention; as many of them as divide the width of the tokens.
        lrs: the learning rates to choose from.
        epochs: passes over the train samples.
        max_steps: at most so many optimizer steps, which bounds the time on large data.
        batch_size: samples per step.
        weight_decay: of AdamW.
        seed: of the first weights, the held-out part and the order of samples.
    """

    needs_labels = True
    sees = Tokens

    def __init__(
        self,
        *,
        heads: Annotated[int, Field(ge=1)] = 4,
        lrs: Annotated[list[Rate], Field(min_length=1)] = [3e-4, 1e-3, 3e-3],  # noqa: B006
        epochs: Annotated[int, Field(ge=1)] = 20,
        max_steps: Annotated[int, Field(ge=1)] = 1000,
        batch_size: Annotated[int, Field(ge=1)] = 128,
        weight_decay: Annotated[float, Field(ge=0)] = 0.01,
        seed: Annotated[int, Field(ge=0)] = 0,
    ):
        self.heads, self.lrs, self.epochs, self.max_steps = heads, sorted(lrs), epochs, max_steps
        self.batch_size, self.weight_decay, self.seed = batch_size, weight_decay, seed

    def train(
        self, tokens: Tokens, rows: Tensor, num_classes: int, lr: float, scale: tuple[Tensor, Tensor]
    ) -> AttentiveProbe:
        """Return a probe that is trained on some samples.

        Args:
            tokens: with labels 0..K-1.
            rows: `(M,)` positions of the samples.
            num_classes: K.
            lr: the learning rate at the start.
            scale: what `standardised` takes.
        """
        num, device, dim = len(rows), tokens.x.device, tokens.x.shape[2]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(self.seed, "attentive", 0))
            probe = AttentiveProbe(dim, num_classes, math.gcd(self.heads, dim)).to(device)
        optimizer = torch.optim.AdamW(probe.parameters(), lr=lr, weight_decay=self.weight_decay)
        steps = min(self.max_steps, self.epochs * math.ceil(num / self.batch_size))
        source, size = generator(self.seed, "attentive", 1), min(self.batch_size, num)
        order, used = torch.randperm(num, generator=source), 0
        for step in range(steps):
            if used + size > num:
                order, used = torch.randperm(num, generator=source), 0
            index, used = rows[order[used : used + size]].to(device), used + size
            optimizer.param_groups[0]["lr"] = lr * half_cosine(step / steps)
            scores = probe(standardised(tokens.x[index], scale))
            F.cross_entropy(scores, tokens.labels[index]).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return probe

    def choose_lr(self, tokens: Tokens, num_classes: int, scale: tuple[Tensor, Tensor]) -> float:
        """Return the learning rate that is best on the held-out part of train, the smallest of equals."""
        kept, held = holdout(tokens.labels, HELD_OUT, self.seed, "attentive_holdout")
        if len(self.lrs) == 1 or not len(held):
            return self.lrs[0]
        hits = []
        for lr in self.lrs:
            guesses = predict(self.train(tokens, kept, num_classes, lr, scale), tokens.x, held, scale)
            hits.append(int((guesses == tokens.labels[held.to(guesses.device)]).sum()))
        return self.lrs[hits.index(max(hits))]

    def __call__(self, train: Tokens, test: Tokens) -> dict[str, float]:
        """Return {"top1"}, a fraction."""
        scale = statistics(train.x)
        classes, labels = train.labels.unique(return_inverse=True)
        learnt = Tokens(train.x, labels)
        with torch.enable_grad():
            lr = self.choose_lr(learnt, len(classes), scale)
            probe = self.train(learnt, torch.arange(len(learnt)), len(classes), lr, scale)
        guesses = classes[predict(probe, test.x, torch.arange(len(test)), scale)]
        return {"top1": (guesses == test.labels).float().mean().item()}


def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation `(D,)` over samples and places of tokens `(N, T, D)`."""
    mean = x.mean(dim=(0, 1))
    square = torch.stack([(part - mean).square().sum(dim=(0, 1)) for part in x.split(_BLOCK)]).sum(dim=0)
    return mean, (square / (len(x) * x.shape[1])).sqrt()


def standardised(x: Tensor, scale: tuple[Tensor, Tensor]) -> Tensor:
    """Return tokens of mean 0 and standard deviation 1 on train."""
    mean, std = scale
    return (x - mean) / std.clamp_min(1e-6)


@torch.no_grad()
def predict(probe: nn.Module, x: Tensor, rows: Tensor, scale: tuple[Tensor, Tensor]) -> Tensor:
    """Return the class indices `(M,)` that a probe gives some samples, at `rows` `(M,)`, of tokens `(N, T, D)`."""
    parts = (x[index.to(x.device)] for index in rows.split(_BLOCK))
    return torch.cat([probe(standardised(part, scale)).argmax(dim=1) for part in parts])

"""Training the classifier: the linear layer first, then all weights, and back to what a held-out part chose.

Linear first, then all: Kumar et al. 2022 (arXiv 2202.10054) show that a random classifier on top distorts good features
before it has learnt anything.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from ssl_zoo.batch import View
from ssl_zoo.data.source import ViewPolicy
from ssl_zoo.errors import TrainingFailed, UserError
from ssl_zoo.evaluation.batches import labelled_batches
from ssl_zoo.evaluation.features import Features, mean_over
from ssl_zoo.evaluation.protocols.linear import predict, train_classifiers
from ssl_zoo.evaluation.protocols.linear_augmented import plain
from ssl_zoo.evaluation.subject import Subject
from ssl_zoo.evaluation.supervised import Classifier, Mix, supervised_steps
from ssl_zoo.optim.schedules import half_cosine
from ssl_zoo.rng import derive
from ssl_zoo.studies.finetuning.layers import rate_groups
from ssl_zoo.studies.finetuning.samples import LabelledSamples
from ssl_zoo.studies.finetuning.settings import Settings

LRS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
"""Learning rates that the linear classifier chooses from, on standardised features."""
LINEAR_STEPS, LINEAR_BATCH = 100, 256
"""Passes and batch of the linear classifier; at most 3,000 steps."""
LOOKS = 10
"""How often a training of full length looks at the held-out part."""
WARMUP = 0.1
"""The share of the steps in which the learning rates rise."""

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@dataclass
class Trained:
    """What a fine-tuning made.

    Attributes:
        model: the classifier after the step that was chosen, in eval mode.
        step: that step; 0 is the linear classifier on the encoder as it was.
        last: the last step.
        linear: weights `(K, D)` and bias `(K,)` of the linear classifier.
        looks: at the held-out part: `step`, `accuracy`, `loss`, and `train_loss` since the look before.
    """

    model: Classifier
    step: int
    last: int
    linear: tuple[Tensor, Tensor]
    looks: list[dict[str, float]] = field(default_factory=list)


def train(samples: LabelledSamples, policy: ViewPolicy, settings: Settings) -> Trained:
    """Train a copy of the encoder and a classifier.

    Args:
        samples: the labelled samples.
        policy: of the views that all weights are trained on.
        settings: how.

    Raises:
        UserError: no sample of train can be read.
        TrainingFailed: the loss is not finite.
    """
    device = torch.device(samples.learn.device)
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.enable_grad():
        torch.manual_seed(derive(settings.seed, "finetune", 0))
        model = Classifier(copy.deepcopy(samples.learn.encoder), len(samples.classes)).to(device)
        weight, bias = linear_first(samples, settings.seed)
        with torch.no_grad():
            model.head.weight.copy_(weight)
            model.head.bias.copy_(bias)
        return _all_layers(model, samples, policy, settings, (weight, bias))


def linear_first(samples: LabelledSamples, seed: int) -> tuple[Tensor, Tensor]:
    """Return weights `(K, D)` and bias `(K,)` of a linear classifier on the features of the encoder as it is.

    It is trained as in the protocol `linear`, on features standardised by their mean and spread, which are then put
    into the weights; its learning rate is the best on the held-out part.

    Raises:
        UserError: features that are not finite.
    """
    (x, y), (held_x, held_y) = plain(samples.learn), plain(samples.held)
    if not (x.isfinite().all() and held_x.isfinite().all()):
        raise UserError("the features of the encoder are not finite (nan or inf): there is nothing to fine-tune.")
    y, held_y = samples.places(y).to(x.device), samples.places(held_y).to(x.device)
    mean, std = x.mean(dim=0), x.std(dim=0, correction=0)
    scale = 1 / std.clamp_min(1e-6)
    data, num = Features((x - mean) * scale, y), len(samples.classes)
    steps = min(3000, LINEAR_STEPS * math.ceil(len(data) / LINEAR_BATCH))
    found = train_classifiers(data, num, LRS, steps, LINEAR_BATCH, seed)
    hits = (predict(found, (held_x - mean) * scale) == held_y).float().mean(dim=1)
    best = found[int(hits.argmax())]
    weight = best[:-1] * scale[:, None]
    return weight.T.contiguous(), best[-1] - mean @ weight


def _all_layers(
    model: Classifier,
    samples: LabelledSamples,
    policy: ViewPolicy,
    settings: Settings,
    linear: tuple[Tensor, Tensor],
) -> Trained:
    """Train all weights, look at the held-out part now and then, and return to the weights that are chosen by it."""
    trained = Trained(model, 0, 0, linear, [_look(model, samples, 0)])
    state, worse = copy.deepcopy(model.state_dict()), 0
    frozen = settings.freezes_norms(len(samples.learn))
    every, losses = max(1, settings.steps // LOOKS), list[Tensor]()
    _train_mode(model, frozen)
    with _bar(settings.steps) as bar:
        for step, loss in enumerate(_steps(model, samples, policy, settings), start=1):
            losses.append(loss)
            bar.update()
            if step % every and step != settings.steps:
                continue
            mean = torch.stack(losses).mean().item()
            if not math.isfinite(mean):
                raise TrainingFailed(f"the loss is not finite ({mean}) before step {step}: try a lower --lr.")
            trained.looks.append({**_look(model, samples, step), "train_loss": mean})
            losses, trained.last = [], step
            _train_mode(model, frozen)
            bar.set_postfix(held_out=f"{100 * trained.looks[-1]['accuracy']:.1f} %")
            if chosen(trained.looks, len(samples.held)) == len(trained.looks) - 1:
                state, trained.step, worse = copy.deepcopy(model.state_dict()), step, 0
            else:
                worse += 1
            if worse >= settings.patience:
                break
    model.load_state_dict(state)
    model.eval()
    return trained


def chosen(looks: Sequence[Mapping[str, float]], num: int) -> int:
    """Return the position of the look whose weights are kept: the last that is not clearly worse than the best.

    Clearly is by more than a standard error of the best accuracy. On a few dozen held-out samples accuracies go up and
    down by chance, and the best of ten of them would end most trainings early; on thousands, it is the best or nearly.

    Args:
        looks: with `accuracy`, in order.
        num: held-out samples.
    """
    shares = [look["accuracy"] for look in looks]
    best = max(shares)
    least = best - math.sqrt(best * (1 - best) / num)
    return max(i for i, share in enumerate(shares) if share >= least)


def _steps(model: Classifier, samples: LabelledSamples, policy: ViewPolicy, settings: Settings) -> Iterator[Tensor]:
    """Yield the loss of each step of all weights."""
    learn, total = samples.learn, settings.steps
    model.requires_grad_()
    groups = rate_groups(model.encoder, model.head, settings.lr, settings.layer_decay, settings.weight_decay)
    batches = labelled_batches(
        learn, samples.places(learn.labels), steps=total, batch_size=settings.batch_size, seed=settings.seed,
        stream="finetune", policy=policy,
    )  # fmt: skip
    rising = max(1, round(WARMUP * total))

    def factor(step: int) -> float:
        return (step + 1) / rising if step < rising else half_cosine((step - rising) / max(1, total - rising))

    mix = mixup(settings.mixup, settings.seed) if settings.mixup else None
    return supervised_steps(model, batches, torch.optim.AdamW(groups), factor, half=learn.half, mix=mix)


def _train_mode(model: Classifier, frozen: bool) -> None:
    """Put the model into training mode, and its BatchNorm into evaluation mode where that is to keep its statistics."""
    model.train()
    if frozen:
        for module in model.modules():
            if isinstance(module, BATCH_NORMS):
                module.eval()


def mixup(alpha: float, seed: int) -> Mix:
    """Return a function that mixes each sample of a batch with another one, at one share for the batch.

    Args:
        alpha: the share is drawn from Beta(alpha, alpha).
        seed: of the shares and the pairs.

    Raises:
        UserError: from the function, of views of integers, which cannot be mixed.
    """

    def mix(step: int, view: View, shares: Tensor) -> tuple[View, Tensor]:
        if not view.tensor.is_floating_point():
            raise UserError("mixup adds samples up, which tokens do not allow: leave --mixup out.")
        random = np.random.default_rng(derive(seed, "finetune mixup", step))
        share, order = float(random.beta(alpha, alpha)), torch.from_numpy(random.permutation(len(shares)))
        order = order.to(shares.device)
        mixed = share * view.tensor + (1 - share) * view.tensor[order]
        return replace(view, data=mixed, aux={}), share * shares + (1 - share) * shares[order]

    return mix


def scores_of(model: Classifier, subject: Subject) -> tuple[Tensor, Tensor]:
    """Return the scores `(M, K)` and the labels `(M,)` of the samples that can be read, in main memory."""

    def scores(views: list[View]) -> dict[str, Tensor]:
        return {"scores": mean_over(views, model.encode)}

    found, y = replace(subject, encoder=model).collect(scores)
    assert y is not None  # it got labelled samples
    return found["scores"], y


def _look(model: Classifier, samples: LabelledSamples, step: int) -> dict[str, float]:
    """Return how a model does on the held-out part."""
    scores, labels = scores_of(model, samples.held)
    y = samples.places(labels)
    accuracy = (scores.argmax(dim=1) == y).float().mean().item()
    return {"step": step, "accuracy": accuracy, "loss": F.cross_entropy(scores, y).item()}


@contextmanager
def _bar(steps: int) -> Iterator[tqdm]:
    with tqdm(total=steps, desc="fine-tuning", unit="step", disable=None, leave=False) as bar:
        yield bar

"""Features of the places of each sample, as many as memory allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ssl_zoo.batch import View, tokens_of
from ssl_zoo.data.source import Split, ViewPolicy
from ssl_zoo.evaluation.contract import NotOffered
from ssl_zoo.evaluation.features import Tokens, by_name, collect, first_sample, on_device

TOKEN_BYTES = 2**30
"""The most that the features of places of a split may take."""


def extract_tokens(
    encoder: nn.Module,
    policy: ViewPolicy,
    split: Split,
    *,
    device: torch.device | str,
    limit: int | None = None,
    half: bool = False,
    log: Callable[[str], None] | None = None,
) -> dict[str, Tokens]:
    """Return the features of the places of a split, for each modality whose places the encoder has features of.

    Where the policy looks at a sample several times, the places of all looks are taken. Where they would take more than
    `TOKEN_BYTES`, fewer samples are, drawn as by `limit`.

    Args:
        encoder: one with `tokens(view)`; moved to `device`.
        policy: the view policy, whose `looks` are encoded.
        split: the samples.
        device: where the encoder runs.
        limit: largest number of samples.
        half: whether the encoder computes in bfloat16.
        log: gets a sentence where memory limits the samples.

    Raises:
        NotOffered: the encoder has no features of places.
    """
    with on_device(encoder, device, half) as call:

        def together(views: Sequence[View]) -> Tensor:
            return torch.cat([call(tokens_of, encoder, view)[0].float() for view in views], dim=1)

        shapes = _shapes(policy, split, together, device)
        most = max(2, TOKEN_BYTES // sum(4 * shape.numel() for shape in shapes.values()))
        num = len(split) if limit is None else min(limit, len(split))
        if most < num and log is not None:
            log(
                f"features of places are taken of {most} of {num} samples, drawn at random: more would need over "
                f"{TOKEN_BYTES / 2**30:g} GiB of memory"
            )

        def embed(views: list[View]) -> dict[str, Tensor]:
            return {name: together(each) for name, each in by_name(views).items() if name in shapes}

        found, labels = collect(policy, split, embed, limit=min(num, most), device=device)
    return {name: Tokens(x, labels) for name, x in found.items()}


def _shapes(
    policy: ViewPolicy, split: Split, together: Callable[[Sequence[View]], Tensor], device: torch.device | str
) -> dict[str, torch.Size]:
    """Return the shape of the features of places of a sample, of each modality that has them.

    Raises:
        NotOffered: none has.
    """
    sample = first_sample(split)
    if sample is None:
        raise ValueError("an empty split has no features")
    shapes, reason = {}, ""
    with torch.no_grad():
        for name, views in by_name(policy.looks([sample])).items():
            try:
                shapes[name] = together([view.map(lambda x: x.to(device)) for view in views]).shape
            except TypeError as error:  # what `tokens_of` raises
                reason = str(error)
    if not shapes:
        raise NotOffered(reason)
    return shapes

"""Encoders of Hugging Face's library `transformers` from local folders: `huggingface/FOLDER`. Nothing is downloaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ssl_zoo.batch import InputSpec
from ssl_zoo.errors import UserError, describe_error, needs
from ssl_zoo.modalities.text.encoders.pooling import mean_over_tokens, vocabulary_of
from ssl_zoo.registry import PartFailed, register

MAX_CONFIG_BYTES = 2**22
"""The largest description of a model, in bytes."""

Ids = list[Annotated[int, Field(ge=0)]]


@register("encoder", "huggingface/*")
def huggingface_encoder(
    model: str,
    spec: InputSpec,
    *,
    pool: Literal["mean", "first"] = "mean",
    before: Ids = [],  # noqa: B006 - never mutated
    after: Ids = [],  # noqa: B006 - never mutated
) -> nn.Module:
    """A trained text encoder from a folder, with its weights: `(B, L)` int64 -> `(B, D)`.

    The folder has `config.json` and `*.safetensors`; `views.tokenizer` has to be its `tokenizer.json`. Code
    in it is never run, and weights are read from safetensors only.

    Args:
        model: the folder.
        spec: of the views, for their vocabulary and length.
        pool: the features are the mean over tokens, or the first token of `before`, such as BERT's [CLS].
        before: ids, as in the tokenizer's file, that the model expects before each text: [101] for BERT in English.
        after: those that it expects behind each text: [102] for BERT in English.

    Raises:
        UserError: `transformers` is not installed, the folder holds no such encoder, or it is made for fewer token ids
            or shorter texts than the views have.
    """
    name = f"encoder 'huggingface/{model}'"
    vocabulary, length = vocabulary_of(spec, f"huggingface/{model}"), max(view.shape[0] for view in spec.views)
    folder = _checked(Path(model).expanduser(), name)
    if pool == "first" and not before:
        raise UserError(f"{name}: pool: first takes the first token of `before`, which is empty; use before: [101].")
    needs("transformers", "transformers", name)
    from transformers import AutoModel

    try:
        made: Any = AutoModel.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
        )
    except Exception as error:
        raise PartFailed(f"{name}: transformers cannot load it: {describe_error(error)}.") from error
    known, places = getattr(made.config, "vocab_size", None), getattr(made.config, "max_position_embeddings", None)
    if known is not None and max(vocabulary - 1, *(1 + i for i in (*before, *after)), 0) > known:
        raise UserError(
            f"{name}: it knows {known} token ids, and the views have {vocabulary - 1}; use its tokenizer.json."
        )
    total = length + len(before) + len(after)
    if places is not None and total > places:
        raise UserError(f"{name}: it takes {places} tokens, and the views with `before` and `after` have {total}.")
    return HuggingFace(made, made.config.hidden_size, pool, before, after)


class HuggingFace(nn.Module):
    """A model of `transformers` with the ids of this package's tokenizers.

    Args:
        model: takes `input_ids` and `attention_mask`, and returns `last_hidden_state`.
        width: of its hidden state.
        pool: see `huggingface_encoder`.
        before: see there.
        after: see there.
    """

    def __init__(self, model: nn.Module, width: int, pool: str, before: list[int], after: list[int]) -> None:
        super().__init__()
        self.model, self.out_dim, self.pool = model, width, pool
        self.before, self.after = before, after

    def forward(self, x: Tensor) -> Tensor:
        """Return the features `(B, out_dim)` of token ids `(B, L)`."""
        x = surrounded(x, self.before, self.after)
        real = x != 0
        ids = (x - 1).clamp(min=0)  # the tokenizer's own: this package has 0 for padding
        hidden = self.model(input_ids=ids, attention_mask=real.long()).last_hidden_state
        return hidden[:, 0] if self.pool == "first" else mean_over_tokens(x, hidden)


def surrounded(x: Tensor, before: list[int], after: list[int]) -> Tensor:
    """Return token ids `(B, L)` with a tokenizer's own ids around each text, in front of its padding."""
    if not before and not after:
        return x
    start = x.new_tensor([1 + i for i in before]).expand(len(x), -1)
    end = x.new_tensor([1 + i for i in after]).expand(len(x), -1)
    joined = torch.cat([start, x, torch.zeros_like(end)], dim=1)
    place = (x != 0).sum(dim=1, keepdim=True) + len(before) + torch.arange(len(after), device=x.device)
    return joined.scatter(1, place, end) if after else joined


def _checked(folder: Path, name: str) -> Path:
    """Return a folder that looks like one of an encoder."""
    config = folder / "config.json"
    if not folder.is_dir():
        raise UserError(f"{name}: {folder} is no folder; give one that `save_pretrained` wrote, nothing is downloaded.")
    if not config.is_file() or config.stat().st_size > MAX_CONFIG_BYTES:
        raise UserError(f"{name}: {folder} has no config.json of at most {MAX_CONFIG_BYTES // 2**20} MiB.")
    if not any(folder.glob("*.safetensors")):
        raise UserError(f"{name}: {folder} has no weights *.safetensors; other formats can run code and are not read.")
    try:
        described = json.loads(config.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name}: {config} is no JSON ({error}).") from None
    if not isinstance(described, dict) or "model_type" not in described:
        raise UserError(f"{name}: {config} does not say its model_type.")
    return folder

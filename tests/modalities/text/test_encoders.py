"""Encoders of texts: padding changes nothing, positions do, gradients arrive, and the contract holds."""

import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from ssl_zoo import registry
from ssl_zoo.batch import InputSpec, View, ViewSpec
from ssl_zoo.errors import UserError
from ssl_zoo.methods.contract import try_encoder, views_of, without_memory
from ssl_zoo.modalities.text.encoders.huggingface import surrounded
from ssl_zoo.registry import PartFailed
from tests.modalities.text.sort import LENGTH, spec_of
from tests.tiny import spec_of as images

TEXT = torch.tensor([[5, 9, 9, 7, 3, 0, 0, 0], [4, 0, 0, 0, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6, 7, 8]])
OWN = {
    "bag_of_words": {"width": 8, "hidden": [6]},
    "text_transformer": {"width": 8, "depth": 2, "heads": 2},
}


def build(name: str, spec: InputSpec | None = None, **options) -> nn.Module:
    torch.manual_seed(0)
    return registry.build("encoder", name, {**OWN.get(name, {}), **options}, spec=spec or spec_of(12)).eval()


@pytest.mark.parametrize("name", OWN)
def test_more_padding_changes_nothing(name: str) -> None:
    encoder = build(name)
    h = encoder(TEXT)
    longer = torch.cat([TEXT, torch.zeros(3, LENGTH - 8, dtype=torch.int64)], dim=1)
    torch.testing.assert_close(encoder(longer), h, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(encoder(TEXT[:1, :5]), h[:1], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(encoder(TEXT[1:2]), h[1:2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OWN)
def test_padding_is_never_seen(name: str) -> None:
    """Not even where its vector and the positions that it takes are not numbers."""
    encoder = build(name)
    h = encoder(TEXT[:2])
    with torch.no_grad():
        encoder.embedding.weight[0] = 1e4
        if name == "text_transformer":
            encoder.positions.weight[5:] = -1e4
    torch.testing.assert_close(encoder(TEXT[:2]), h, rtol=0, atol=0)


@pytest.mark.parametrize("name", OWN)
def test_a_text_of_padding_alone_gives_numbers(name: str) -> None:
    encoder = build(name, **({"hidden": []} if name == "bag_of_words" else {}))
    h = encoder(torch.zeros(2, 8, dtype=torch.int64))
    assert torch.equal(h, torch.zeros(2, encoder.out_dim))
    encoder(torch.zeros(2, 8, dtype=torch.int64)).square().sum().backward()
    assert all(weight.grad.isfinite().all() for weight in encoder.parameters() if weight.grad is not None)


@pytest.mark.parametrize("name", OWN)
def test_the_gradient_reaches_the_tokens_that_were_seen_and_no_others(name: str) -> None:
    encoder = build(name)
    encoder(TEXT[:2]).square().sum().backward()
    seen = encoder.embedding.weight.grad.abs().sum(dim=1) > 0
    assert torch.nonzero(seen)[:, 0].tolist() == [3, 4, 5, 7, 9]


def test_a_bag_is_the_mean_of_its_vectors_in_any_order() -> None:
    encoder = build("bag_of_words", hidden=[])
    weight = encoder.embedding.weight
    torch.testing.assert_close(encoder(TEXT)[0], (weight[5] + 2 * weight[9] + weight[7] + weight[3]) / 5)
    torch.testing.assert_close(encoder(TEXT[2:]), encoder(TEXT[2:].flip(1)))
    assert encoder.out_dim == 8 and build("bag_of_words").out_dim == 6


def test_a_transformer_sees_order_and_its_tokens_have_the_features_as_their_mean() -> None:
    encoder = build("text_transformer")
    assert not torch.allclose(encoder(TEXT[2:]), encoder(TEXT[2:].flip(1)), atol=1e-4)
    tokens, grid = encoder.tokens(View(TEXT))
    assert tokens.shape == (3, 8, 8) and grid == (8,)
    torch.testing.assert_close(tokens.mean(dim=1), encoder(TEXT))
    assert torch.equal(tokens[0, 5:], torch.zeros(3, 8)) and (tokens[0, :5] != 0).any(dim=1).all()


def test_a_transformer_is_torchs_own_with_the_same_weights() -> None:
    encoder = build("text_transformer", width=8, depth=1, heads=2)
    nn.init.normal_(encoder.blocks[0].qkv.bias)
    block = encoder.blocks[0]
    other = nn.TransformerEncoderLayer(
        8, 2, 32, dropout=0.0, activation="gelu", batch_first=True, norm_first=True, layer_norm_eps=1e-6
    )
    names = {"self_attn.in_proj_weight": block.qkv.weight, "self_attn.in_proj_bias": block.qkv.bias}
    for mine, theirs in {"out": "self_attn.out_proj", "mlp.0": "linear1", "mlp.2": "linear2"}.items():
        part = block.get_submodule(mine)
        names |= {f"{theirs}.weight": part.weight, f"{theirs}.bias": part.bias}
    names |= {
        f"norm{i}.{each}": getattr(getattr(block, f"norm{i}"), each) for i in (1, 2) for each in ("weight", "bias")
    }
    other.load_state_dict(names)
    h = encoder.embedding(TEXT) + encoder.positions.weight[:8]
    h = encoder.norm(other(h, src_key_padding_mask=TEXT == 0))
    expected = torch.stack([row[ids != 0].mean(dim=0) for row, ids in zip(h, TEXT, strict=True)])
    torch.testing.assert_close(encoder(TEXT), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", OWN)
def test_the_trial_on_outlines_takes_them(name: str) -> None:
    spec = spec_of(12)
    for made in (build(name), without_memory(lambda: registry.build("encoder", name, OWN[name], spec=spec))):
        try_encoder(made, name, views_of(spec))


def test_views_that_are_no_token_ids_are_refused() -> None:
    for name in (*OWN, "huggingface/nowhere"):
        with pytest.raises(UserError, match=f"encoder '{name}': takes token ids, and the views .*'image'.* use"):
            build(name, images())
    with pytest.raises(UserError, match="encoder text_transformer: heads: 3 do not divide the width of 8; use 2 or 4"):
        build("text_transformer", heads=3)


def test_ids_around_a_text_stand_before_its_padding() -> None:
    assert surrounded(TEXT, [100], [101, 102]).tolist() == [
        [101, 5, 9, 9, 7, 3, 102, 103, 0, 0, 0],
        [101, 4, 102, 103, 0, 0, 0, 0, 0, 0, 0],
        [101, 1, 2, 3, 4, 5, 6, 7, 8, 102, 103],
    ]
    assert surrounded(TEXT, [], []) is TEXT


TRANSFORMERS = """
from types import SimpleNamespace
import torch
from torch import nn

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(vocab_size=20, max_position_embeddings=18, hidden_size=4)
        self.vectors = nn.Embedding(20, 4)

    def forward(self, input_ids, attention_mask):
        self.seen = input_ids, attention_mask
        return SimpleNamespace(last_hidden_state=self.vectors(input_ids))

class AutoModel:
    @staticmethod
    def from_pretrained(folder, **options):
        assert options == dict(
            local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
        )
        if "broken" in folder:
            raise OSError("a shard is missing")
        return Model()
"""


@pytest.fixture
def transformers(tmp_path, monkeypatch) -> Path:
    """A stand-in for the package `transformers`, and a folder that looks like an encoder's."""
    (tmp_path / "transformers.py").write_text(TRANSFORMERS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "transformers", raising=False)
    for name in ("model", "broken"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"model_type": "bert"}))
        (tmp_path / name / "model.safetensors").write_bytes(b"")
    yield tmp_path / "model"
    sys.modules.pop("transformers", None)


def test_an_encoder_of_transformers_gets_its_own_ids(transformers: Path) -> None:
    spec = spec_of(21)
    encoder = build(f"huggingface/{transformers}", spec, before=[17], after=[18])
    h = encoder(TEXT)
    ids, mask = encoder.model.seen
    assert ids[0].tolist() == [17, 4, 8, 8, 6, 2, 18, 0, 0, 0] and mask.sum(dim=1).tolist() == [7, 3, 10]
    weight = encoder.model.vectors.weight
    torch.testing.assert_close(h[1], (weight[17] + weight[3] + weight[18]) / 3)
    first = build(f"huggingface/{transformers}", spec, before=[17], pool="first")
    torch.testing.assert_close(first(TEXT), first.model.vectors.weight[17].expand(3, -1))
    assert encoder.out_dim == 4
    try_encoder(encoder, "huggingface", views_of(spec))


def test_an_encoder_that_does_not_fit_is_one_sentence(transformers: Path) -> None:
    name = f"huggingface/{transformers}"
    with pytest.raises(UserError, match="it knows 20 token ids, and the views have 21"):
        build(name, spec_of(22))
    with pytest.raises(UserError, match="it knows 20 token ids"):
        build(name, spec_of(12), after=[20])
    with pytest.raises(UserError, match="it takes 18 tokens, and the views with `before` and `after` have 19"):
        build(name, spec_of(12, length=17), before=[1], after=[2])
    with pytest.raises(UserError, match=r"takes the first token of `before`, which is empty"):
        build(name, spec_of(12), pool="first")
    with pytest.raises(PartFailed, match="transformers cannot load it: OSError: a shard is missing"):
        build(f"huggingface/{transformers.parent / 'broken'}", spec_of(12))


def test_a_folder_that_is_no_encoder_is_one_sentence(tmp_path) -> None:
    folder = tmp_path / "model"
    with pytest.raises(UserError, match="is no folder; .* nothing is downloaded"):
        build("huggingface/bert-base-uncased")
    folder.mkdir()
    with pytest.raises(UserError, match=r"has no config\.json"):
        build(f"huggingface/{folder}")
    (folder / "config.json").write_text("[" * 100_000)
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match=r"has no weights \*\.safetensors; other formats can run code"):
        build(f"huggingface/{folder}")
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="is no JSON"):
        build(f"huggingface/{folder}")
    (folder / "config.json").write_text("{}")
    with pytest.raises(UserError, match="does not say its model_type"):
        build(f"huggingface/{folder}")


def test_transformers_are_asked_for_where_they_are_used(transformers: Path, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs the package transformers, which is not installed: pip install"):
        build(f"huggingface/{transformers}")


def test_views_of_several_lengths_have_positions_for_the_longest() -> None:
    views = tuple(ViewSpec("global", (length,), dtype=torch.int64) for length in (4, 9))
    encoder = build("text_transformer", InputSpec("text", views, vocabulary=12))
    assert encoder(TEXT).shape == (3, 8) and len(encoder.positions.weight) == 9

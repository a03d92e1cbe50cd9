"""Extraction leaves the encoder as it was and gives what a plain forward pass in eval mode gives."""

import copy

import pytest
import torch
from torch import nn

from ssl_zoo.evaluation.features import Features, chosen, extract, raw


def expected(encoder, data):
    return copy.deepcopy(encoder).eval()(data.float() / 255).detach()


def test_features_are_those_of_a_plain_pass_in_eval_mode(fakes):
    data, encoder = fakes.images(10), fakes.encoder()
    y = torch.arange(10)
    for split in (fakes.ListSplit(data, y), fakes.BatchSplit(data, y)):
        features = extract(encoder, fakes.policy, split, batch_size=4, device="cpu")
        torch.testing.assert_close(features.x, expected(encoder, data))
        assert features.x.dtype == torch.float32 and not features.x.requires_grad
        assert torch.equal(features.y, y)


def test_unlabelled_split_has_no_labels(fakes):
    assert extract(fakes.encoder(), fakes.policy, fakes.ListSplit(fakes.images(3)), device="cpu").y is None


def test_encoder_in_train_mode_is_unchanged_buffers_included(fakes):
    """T43: a probe must move no tensor of the encoder, batch statistics included."""
    encoder = fakes.encoder().train()
    encoder[1].eval()  # a part that its owner froze stays frozen
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    modes = [part.training for part in encoder.modules()]
    extract(encoder, fakes.policy, fakes.BatchSplit(fakes.images(20)), batch_size=7, device="cpu")
    after = encoder.state_dict()
    assert before.keys() == after.keys() and any("running_mean" in name for name in before)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [part.training for part in encoder.modules()] == modes
    assert all(parameter.requires_grad and parameter.grad is None for parameter in encoder.parameters())


def test_modes_come_back_when_the_encoder_fails(fakes):
    encoder = nn.Sequential(nn.BatchNorm2d(3), nn.Linear(99, 2)).train()
    with pytest.raises(RuntimeError):
        extract(encoder, fakes.policy, fakes.BatchSplit(fakes.images(4)), device="cpu")
    assert all(part.training for part in encoder.modules())


def test_global_randomness_is_not_touched(fakes):
    encoder, split = fakes.encoder().train(), fakes.BatchSplit(fakes.images(20))
    state = torch.get_rng_state()
    extract(encoder, fakes.policy, split, device="cpu", limit=5)
    assert torch.equal(torch.get_rng_state(), state)


def test_limit_takes_the_same_random_samples_for_every_representation(fakes):
    data, y = fakes.images(50), torch.arange(50)
    split = fakes.BatchSplit(data, y)
    features = extract(fakes.encoder(), fakes.policy, split, device="cpu", limit=20)
    plain = raw(fakes.modality, fakes.policy, split, 20)
    assert torch.equal(features.y, plain.y) and len(plain) == 20
    assert plain.y.max() >= 20, "the first samples of a sorted data set are no sample of it"
    assert torch.equal(plain.x, (data.float() / 255).flatten(1)[plain.y])
    assert torch.equal(chosen(50, 80), torch.arange(50))


def test_encoder_that_takes_views_gets_the_modality(fakes):
    class Several(nn.Module):
        def encode(self, view):
            assert view.modality == "image"
            return view.data.flatten(1)

    features = extract(Several(), fakes.policy, fakes.ListSplit(fakes.images(3)), device="cpu")
    assert features.x.shape == (3, 192)


def test_large_samples_are_averaged_over_areas(fakes):
    data = fakes.images(2, size=64)
    plain = fakes.modality.raw(fakes.policy.plain(data), max_dim=3 * 16 * 16)
    blocks = (data.float() / 255).view(2, 3, 16, 4, 16, 4).mean(dim=(3, 5))
    torch.testing.assert_close(plain, blocks.flatten(1))


def test_shapes_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="labels"):
        Features(torch.zeros(3, 2), torch.zeros(2, dtype=torch.long))
    with pytest.raises(ValueError, match="no labels"):
        _ = Features(torch.zeros(3, 2)).labels


def test_half_precision_is_of_the_encoder_only_and_near(fakes) -> None:
    split = fakes.BatchSplit(fakes.images(20))
    encoder = fakes.encoder()
    plain, half = (extract(encoder, fakes.policy, split, device="cpu", half=value).x for value in (False, True))
    assert half.dtype == torch.float32 and not torch.equal(plain, half)
    torch.testing.assert_close(half, plain, atol=0.05 * float(plain.abs().max()), rtol=0)

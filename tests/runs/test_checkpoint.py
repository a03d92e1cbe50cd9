"""Checkpoints: plain data, atomic, and refused where they are not ours."""

import hashlib
import io
import re

import pytest
import torch
from torch import nn

from ssl_zoo.errors import NotFinite, UserError
from ssl_zoo.runs import checkpoint
from tests.tiny import batch_of, narrow, tiny_encoder, tiny_views


def state(value: float) -> dict:
    return {"step": 3, "weights": torch.full((5,), value), "nested": {"list": [1, 2.5, "x", None, True]}}


def test_what_is_saved_is_loaded(tmp_path):
    path = tmp_path / "checkpoints" / "last.pt"  # the folder is made
    checkpoint.save(path, state(1.0))
    loaded = checkpoint.load(path)
    assert torch.equal(loaded.pop("weights"), torch.ones(5))
    assert loaded == {"format": checkpoint.FORMAT, "step": 3, "nested": {"list": [1, 2.5, "x", None, True]}}
    assert [file.name for file in path.parent.iterdir()] == ["last.pt"]


def test_a_checkpoint_of_a_method_loads_with_weights_only(tmp_path):  # T25
    from ssl_zoo.methods.build import build

    torch.manual_seed(0)
    method = build(narrow("byol"), tiny_encoder())
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1, momentum=0.9)
    method(batch_of(*tiny_views(dtype=torch.float32))).loss.backward()
    optimizer.step()
    checkpoint.save(tmp_path / "a.pt", {"method": method.state_dict(), "optimizer": optimizer.state_dict()})
    loaded = torch.load(tmp_path / "a.pt", weights_only=True)
    assert loaded["method"].keys() == method.state_dict().keys()
    assert all(torch.equal(value, loaded["method"][name]) for name, value in method.state_dict().items())
    torch.optim.SGD(method.parameters(), lr=0.1, momentum=0.9).load_state_dict(loaded["optimizer"])


@pytest.mark.parametrize("after", [0, 1, 700])
def test_a_kill_during_save_leaves_the_previous_one(tmp_path, monkeypatch, after):  # T26
    path = tmp_path / "last.pt"
    checkpoint.save(path, state(1.0))
    whole = torch.save

    def cut_short(value, file):
        whole(value, path.with_name("whole"))
        file.write(path.with_name("whole").read_bytes()[:after])
        file.flush()
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", cut_short)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(path, state(2.0))
    assert checkpoint.load(path)["weights"][0] == 1.0
    monkeypatch.undo()
    checkpoint.save(path, state(3.0))  # what the kill left behind is no hindrance
    assert checkpoint.load(path)["weights"][0] == 3.0


def test_what_is_no_checkpoint_is_told(tmp_path):
    path = tmp_path / "last.pt"
    with pytest.raises(UserError, match=re.escape(f"{path}: there is no checkpoint.")):
        checkpoint.load(path)
    checkpoint.save(path, state(1.0))
    good = path.read_bytes()
    torch.save(state(1.0), tmp_path / "plain.pt")
    for data in (b"", b"text", b"\x80\x02}q\x00.", good[:100], good[:-30], (tmp_path / "plain.pt").read_bytes()):
        path.write_bytes(data)
        with pytest.raises(UserError, match="is damaged, or no checkpoint of this version of ssl_zoo"):
            checkpoint.load(path)
    for other in ([1, 2], {"weights": torch.ones(2)}, {"format": checkpoint.FORMAT + 1}, nn.Linear(2, 2), None):
        file = io.BytesIO() if other is not None else io.BytesIO(b"text")
        if other is not None:
            torch.save(other, file)
        path.write_bytes(file.getvalue() + hashlib.sha256(file.getvalue()).hexdigest().encode())
        with pytest.raises(UserError, match=r"is not a (checkpoint of this version|readable checkpoint) of ssl_zoo"):
            checkpoint.load(path)


def test_every_flipped_bit_is_seen(tmp_path):
    path = tmp_path / "last.pt"
    checkpoint.save(path, state(1.0))
    good = path.read_bytes()
    places = range(0, len(good), 7)
    for place in places:
        changed = bytearray(good)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        with pytest.raises(UserError, match="its checksum does not fit"):
            checkpoint.load(path)
    assert len(places) > 100
    path.write_bytes(good)
    assert checkpoint.load(path)["step"] == 3


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_are_not_saved(tmp_path, bad):
    path = tmp_path / "last.pt"
    checkpoint.save(path, state(1.0))
    good = path.read_bytes()
    for name, value in {"weights": torch.tensor([0.0, bad]), "half": torch.tensor(bad, dtype=torch.bfloat16)}.items():
        with pytest.raises(NotFinite, match=rf"the state after step 3 is not finite \(nested.list.0.{name}\); try"):
            checkpoint.save(path, {"step": 3, "sound": torch.ones(9), "nested": {"list": [{name: value}]}})
    assert path.read_bytes() == good and len(list(tmp_path.iterdir())) == 1
    checkpoint.save(path, {"step": 3, "counts": torch.tensor([2**62]), "nothing": torch.empty(0)})

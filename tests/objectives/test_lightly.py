"""lightly's losses as terms: their values, what they refuse, and what is said of them."""

from typing import Any

import pytest
import torch
from torch import Tensor

from ssl_zoo import registry
from ssl_zoo.batch import Pairs, View
from ssl_zoo.errors import UserError
from ssl_zoo.methods.check import check_recipe
from ssl_zoo.objectives.lightly import LOSSES, REFUSED
from ssl_zoo.objectives.objective import Objective
from ssl_zoo.recipe.catalogue import catalogue, show
from ssl_zoo.rng import generator
from tests.tiny import small

CONTRASTIVE = {"DCLLoss", "DCLWLoss", "DirectCLRLoss", "MACLLoss", "NTXentLoss"}


def embeddings(num: int = 16, views: int = 2) -> list[Tensor]:
    return [torch.randn(num, 6, generator=generator(i, "embeddings")) for i in range(views)]


def term(name: str, **options: Any) -> Any:
    return registry.build("term", f"lightly/{name}", options, dim=6)


@pytest.mark.parametrize("name", ["BarlowTwinsLoss", "NTXentLoss", "NegativeCosineSimilarity", "VICRegLoss"])
def test_a_pair_term_is_the_loss(name: str) -> None:
    import lightly.loss

    z = embeddings()
    assert torch.equal(term(name)(*z), getattr(lightly.loss, name)()(*z))


def test_terms_of_all_views_are_the_loss() -> None:
    import lightly.loss

    z = embeddings(views=3)
    assert torch.equal(term("FroSSLLoss")(z), lightly.loss.FroSSLLoss()(z))
    each = [lightly.loss.KoLeoLoss()(x) for x in z]
    assert torch.equal(term("KoLeoLoss")(z), torch.stack(each).mean())
    whitening = lightly.loss.WMSELoss(embedding_dim=6, w_size=16, num_samples=3, track_running_stats=False)
    torch.testing.assert_close(term("WMSELoss", w_size=16, num_samples=3)(z), whitening(torch.cat(z)))


def test_random_numbers_change_with_the_step_and_the_seed_alone() -> None:
    z, sigreg = embeddings(), term("SIGReg", num_vectors=4)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = sigreg(z)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert torch.equal(sigreg(z), first) and not torch.equal(term("SIGReg", num_vectors=4, seed=1)(z), first)
    sigreg.after_step(0.5)
    second = sigreg(z)
    resumed = term("SIGReg", num_vectors=4)
    resumed.load_state_dict(sigreg.state_dict())
    assert not torch.equal(second, first) and torch.equal(resumed(z), second)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("NTXent", {}, r"unknown term 'lightly/NTXent'; did you mean 'NTXentLoss'\? `ssl-zoo list term 'lightly/\*'`"),
        ("TiCoLoss", {}, "cannot be used here: its running covariance is no buffer"),
        ("NTXentLoss", {"temprature": 1}, "temprature: unknown key .*; did you mean 'temperature'"),
        ("VICRegLoss", {"gather_distributed": True}, "gather_distributed: is off here: the objective gives the loss"),
        ("NTXentLoss", {"memory_bank_size": 64}, "memory_bank_size: is off here: lightly does not save the bank"),
        ("NTXentLoss", {"temperature": 0.0}, "term 'lightly/NTXentLoss': cannot be built: ValueError: Illegal temp"),
        ("DCLLoss", {"weight_fn": "eval"}, "weight_fn: unknown key"),
        ("WMSELoss", {"w_size": 4}, "w_size should be at least twice the size"),
    ],
)
def test_mistakes_are_one_sentence(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        term(name, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"w_size": 12}, "w_size is 12, which does not divide a batch of 16"),
        ({"w_size": 16, "num_samples": 3}, "num_samples is 3 for 2 views; set num_samples=2"),
    ],
)
def test_a_batch_that_does_not_fit_is_one_sentence(options: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        term("WMSELoss", **options)(embeddings())


def test_contrastive_ones_are_marked() -> None:
    assert {name for name, loss in LOSSES.items() if loss.contrastive} == CONTRASTIVE
    listed = catalogue("term", "lightly/*")["term"]
    assert {name.removeprefix("lightly/") for name, line in listed.items() if line.startswith("contrastive: ")} == (
        CONTRASTIVE
    )
    assert len(listed) == len(LOSSES) and "lightly/*" in catalogue("term")["term"]
    shown = show("lightly/NTXentLoss")
    assert isinstance(shown, list) and "is contrastive" in shown[0]["doc"] and "temperature" in shown[0]["options"]


@pytest.mark.parametrize(
    ("name", "notes"),
    [
        ("negative_cosine", []),
        ("lightly/NegativeCosineSimilarity", []),
        ("lightly/VICRegLoss", ["sees the samples of one process unless gather_distributed is set; here it gets"]),
        ("lightly/MACLLoss", ["is contrastive: the other", "sees the samples of one process; here it gets"]),
    ],
)
def test_check_says_what_a_loss_sees(name: str, notes: list[str]) -> None:
    found = check_recipe(small("simsiam", [f"objective={name}"]))["notes"]
    assert len(found) == len(notes) and all(text in note for text, note in zip(notes, found, strict=True))


def test_the_family_names_what_it_refuses_and_parts_that_exist() -> None:
    shown = show("term/lightly/*")
    assert isinstance(shown, list) and all(f"- `{name}`: {why}." in shown[0]["doc"] for name, why in REFUSED.items())
    with pytest.raises(UserError, match="'lightly/DINOLoss' cannot be used here: it moves its centre in every call"):
        show("lightly/DINOLoss")
    with pytest.raises(UserError, match="no part called 'lightly/DINOLos2'"):
        show("lightly/DINOLos2")
    advised = {word.rstrip(",") for why in REFUSED.values() for word in why.partition("use ")[2].split() if "_" in word}
    assert advised - {"to_mean"} and all(registry.find("term", word) for word in advised - {"to_mean"})


def test_a_part_that_this_version_of_lightly_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from ssl_zoo.objectives import lightly as ours

    monkeypatch.setitem(ours.LOSSES, "OldLoss", ours.Loss("Gone."))
    monkeypatch.setattr(ours.LightlyLosses, "members", {**ours.LightlyLosses.members, "OldLoss": "Gone."})
    with pytest.raises(UserError, match="the installed lightly has none; pip install --upgrade lightly"):
        registry.find("term", "lightly/OldLoss")


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if loss.call == "pair"])
def test_shrinking_solves_none(name: str) -> None:
    made, (p, t) = term(name), embeddings()
    assert not made.shrinks and abs(float(made(1e-3 * p, 1e-3 * t))) > 1e-4 * abs(float(made(p, t)))


def test_the_objective_counts_a_loss_of_two_views_once() -> None:
    z = embeddings()
    found = Objective([("lightly/VICRegLoss", 2.0, term("VICRegLoss"))])(
        Pairs([(z[0], z[1])], 1.0), z, [View(x) for x in z]
    )
    assert torch.equal(found["lightly/VICRegLoss"], 2.0 * term("VICRegLoss")(*z))

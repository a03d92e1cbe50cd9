"""Samples that are mappings and samples that are looked at several times: each member judged, members compared."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from ssl_zoo.batch import InputSpec, View, ViewSpec
from ssl_zoo.data import encoding
from ssl_zoo.data.bad_samples import BadSample, Budget
from ssl_zoo.data.source import Modality, Split, ViewPolicy
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation import tokens
from ssl_zoo.evaluation.aligned import extract_aligned
from ssl_zoo.evaluation.contract import EvaluationProtocol
from ssl_zoo.evaluation.features import collect, extract, extract_each, raw_each
from ssl_zoo.evaluation.protocols.knn import KNN
from ssl_zoo.evaluation.representations import compare_representations
from ssl_zoo.evaluation.seen import EvaluationData
from ssl_zoo.evaluation.subject import Subject
from ssl_zoo.evaluation.tokens import extract_tokens
from ssl_zoo.registry import register
from ssl_zoo.report.expectations import holds
from ssl_zoo.report.table import results_table
from ssl_zoo.rng import generator

SKETCH = InputSpec("drawings", (ViewSpec("global", (6,)),))
WORDS = InputSpec("strings", (ViewSpec("global", (6,)),))


class Sketches(ViewPolicy):
    """Vectors as they are, looked at twice."""

    modality, spec = "drawings", SKETCH

    def plain(self, samples):
        return View(torch.stack(list(samples)).float(), "drawings")

    def looks(self, samples):
        view = self.plain(samples)
        return [view, view.map(lambda x: -3 * x)]


class Words(ViewPolicy):
    """Strings as the counts of six letters."""

    modality, spec = "strings", WORDS

    def plain(self, samples):
        return View(torch.tensor([[float(each.count(letter)) for letter in "abcdef"] for each in samples]), "strings")


class Both(ViewPolicy):
    """The views of a sketch and of its words."""

    modality = "both"
    spec = InputSpec("both", SKETCH.views + WORDS.views, members=(("sketch", SKETCH), ("words", WORDS)))

    def __init__(self):
        super().__init__()
        self.members = {"sketch": Sketches(), "words": Words()}

    def looks(self, samples):
        return [
            replace(view, modality=name)
            for name, policy in self.members.items()
            for view in policy.looks([sample[name] for sample in samples])
        ]


class Strings(Modality):
    """Strings, as they are."""

    reads_text = True

    def from_value(self, value, name):
        return value


class BothModality(Modality):
    """The modalities of both members."""

    def __init__(self):
        super().__init__(Both.spec)
        self.members = {"sketch": Modality(SKETCH), "words": Strings(WORDS)}


class Product(nn.Module):
    """Scales sketches and words, with a predictor that is known."""

    def __init__(self, noise: float = 0.0):
        super().__init__()
        self.out_dim, self.noise = 6, noise
        self.weight = nn.Parameter(torch.ones(()))

    def encode(self, view):
        return self.weight * view.tensor

    def embedding(self, view):
        return torch.cat([self.encode(view), view.tensor[:, :1] * 0], dim=1)

    def align(self, view, towards):
        sign = {"sketch": 1.0, "words": -1.0}[towards]  # the mean look at a sketch is minus the sketch
        wrong = torch.randn(view.tensor.shape, generator=generator(0, "wrong"))
        return torch.cat([sign * self.encode(view) + self.noise * wrong, view.tensor[:, :1] * 0], dim=1)


class Samples(Split):
    """A class, and words with the letter of the class more often; the sketch counts them."""

    def __init__(self, num: int, seed: int = 0, labels: bool = True):
        g = torch.Generator().manual_seed(seed)
        y = torch.arange(num) % 3
        self.class_names = ["aaa", "bbb", "ccc"] if labels else None
        self.labels = y if labels else None
        letters = torch.randint(0, 6, (num, 12), generator=g)
        self.words = [
            "abc"[label] * 9 + "".join("abcdef"[i] for i in row) for label, row in zip(y, letters, strict=True)
        ]
        self.reads = 0

    def __len__(self):
        return len(self.words)

    def read(self, i):
        self.reads += 1
        return {"sketch": Words().plain([self.words[i]]).tensor[0], "words": self.words[i]}


def data(train: Split, test: Split | None = None) -> EvaluationData:
    return EvaluationData(Both(), BothModality(), train, test)


def test_each_member_is_judged_by_the_mean_of_its_looks() -> None:
    train, test = Samples(60), Samples(30, seed=1)
    results = compare_representations(Product(), Product(), data(train, test), [("knn", {"k": 5}), ("label_free", {})])
    assert [list(each) for each in results.values()] == 3 * [
        ["sketch/knn", "sketch/label_free", "words/knn", "words/label_free"]
    ]
    found = extract_each(Product(), Both(), train, device="cpu")
    assert list(found) == ["sketch", "words"]
    torch.testing.assert_close(found["sketch"].x, -found["words"].x)  # the mean of x and -3 x
    expected = KNN(k=5)(found["sketch"], extract_each(Product(), Both(), test, device="cpu")["sketch"])
    assert results["encoder"]["sketch/knn"] == expected
    raws = raw_each(BothModality(), Both(), train)
    torch.testing.assert_close(raws["sketch"].x, found["sketch"].x)


def test_one_look_is_not_touched_and_several_are_averaged(fakes) -> None:
    class Twice(type(fakes.policy)):
        def looks(self, samples):
            return [self.plain(samples), self.plain(samples[..., :4, :4])]

    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    split = fakes.BatchSplit(fakes.images(5))
    x = fakes.images(5).float() / 255
    once = extract(pool, fakes.policy, split, device="cpu").x
    assert torch.equal(once, pool(x))
    twice = extract(pool, Twice(), split, device="cpu").x
    torch.testing.assert_close(twice, (pool(x) + pool(x[..., :4, :4])) / 2)


def test_members_are_retrieved_and_named_and_train_is_not_read_for_it() -> None:
    train, test = Samples(60), Samples(30, seed=1)
    protocols = [("retrieval", {}), ("zero_shot", {"templates": ["{}"]})]
    results = compare_representations(Product(0.1), Product(30.0), data(train, test), protocols)
    assert results["raw"] == {} and list(results["encoder"]) == ["retrieval", "zero_shot"]
    good, bad = results["encoder"], results["untrained"]
    assert good["retrieval"]["sketch_to_words_r10"] > 0.9 > bad["retrieval"]["sketch_to_words_r10"]
    assert good["retrieval"]["sketch_to_words_r1_chance"] == pytest.approx(1 / 30)
    assert good["zero_shot"]["top1"] == 1.0 and good["zero_shot"]["top1_chance"] == pytest.approx(1 / 3)
    assert (train.reads, test.reads) == (0, 62)  # and the first one of each representation, to know what is predicted
    summary = {"metrics": good, "baselines": {"untrained": bad, "raw": {}}}
    assert holds("retrieval.sketch_to_words_r1 > untrained.retrieval.sketch_to_words_r1 + 0.1", summary)


def test_the_embedding_of_strings_is_that_of_the_samples() -> None:
    split = Samples(6)
    found = extract_aligned(Product(), Both(), BothModality(), split, device="cpu")
    assert found.readers == ("words",) and found.class_names == split.class_names
    assert torch.equal(found.read("words", split.words), found.z["words"])
    torch.testing.assert_close(found.p["sketch", "words"], found.z["words"])
    assert torch.equal(found.take(torch.tensor([4, 2])).z["sketch"], found.z["sketch"][[4, 2]])


def test_only_what_is_predicted_is_looked_for() -> None:
    class OneWay(Product):
        def align(self, view, towards):
            if towards == "sketch":
                raise UserError("there is no predictor from words to sketch.")
            return super().align(view, towards)

    told: list[str] = []
    protocols = [("retrieval", {}), ("zero_shot", {"templates": ["{}"]})]
    results = compare_representations(OneWay(), None, data(Samples(20)), protocols, told.append)["encoder"]
    assert {name.partition("_r")[0] for name in results["retrieval"] if "_r1" in name} == {"sketch_to_words"}
    assert results["zero_shot"]["top1"] == 1.0
    assert told == ["sketch is not compared with what words predicts: there is no predictor from words to sketch"]


def test_a_protocol_may_see_the_encoder_itself(own_parts) -> None:
    @register("protocol", "norms")
    class Norms(EvaluationProtocol):
        """Mean length of the sketches of the first class, by the encoder."""

        sees = Subject

        def __call__(self, train, test):
            one = test.take((test.y == 0).nonzero().flatten())

            def embed(views):
                assert not one.encoder.training
                return {"norm": one.encoder.encode(views[0]).norm(dim=1)}

            found, y = one.collect(embed)
            assert one.encoder.training and y.tolist() == [0] * len(one)
            return {"norm": found["norm"].mean().item(), "train": len(train)}

    train, test = Samples(30), Samples(12, seed=1)
    results = compare_representations(Product(), Product(), data(train, test), [("norms", {})])
    sketches = torch.stack([test.read(i)["sketch"] for i in range(0, 12, 3)])
    assert results["encoder"]["norms"] == {"norm": pytest.approx(sketches.norm(dim=1).mean().item()), "train": 30}
    assert results["raw"] == {}


def test_expectations_and_tables_name_the_member() -> None:
    train, test = Samples(60), Samples(30, seed=1)
    results = compare_representations(Product(), Product(), data(train, test), [("knn", {}), ("retrieval", {})])
    encoder = results["encoder"]
    summary = {"metrics": encoder, "baselines": {name: results[name] for name in ("raw", "untrained")}}
    assert holds("sketch/knn.top1 == untrained.sketch/knn.top1", summary)
    assert holds("words/knn.top1 >= raw.words/knn.top1 - 0.5", summary)
    header = results_table(results).splitlines()[0]
    assert "sketch kNN" in header and "words k" in header and "sketch to words R@1" in header


def test_what_an_encoder_does_not_offer_is_left_out_with_a_sentence(fakes) -> None:
    labels = torch.arange(20) % 2
    split = fakes.BatchSplit(fakes.images(20), labels)
    parts = (fakes.encoder(), fakes.encoder(1), fakes.data(split, split))
    protocols = [("knn", {"k": 1}), ("attentive", {}), ("retrieval", {}), ("zero_shot", {})]
    told: list[str] = []
    results = compare_representations(*parts, protocols, told.append, insist=False)
    assert all(list(each) == ["knn"] for each in results.values())
    assert told == [
        "without attentive: the encoder Sequential gives no features of places: it has no tokens(view)",
        "without retrieval, zero_shot: the encoder Sequential compares no members of samples: it has no "
        "embedding(view) and align(view, towards)",
    ]
    with pytest.raises(UserError, match="no features of places"):
        compare_representations(*parts, protocols, told.append, insist=True)
    with pytest.raises(UserError, match="protocol retrieval: the encoder Sequential compares no members"):
        compare_representations(*parts, protocols[2:3], insist=True)
    told.clear()
    train = Samples(20)
    train.class_names = None
    results = compare_representations(Product(), None, data(train), protocols[2:], told.append, insist=False)
    assert list(results["encoder"]) == ["retrieval"]
    assert told == ["without zero_shot: classes need names, and the data has none"]


class Places(nn.Module):
    """Four places of a picture, a value each."""

    out_dim = 3

    def tokens(self, view):
        return nn.functional.adaptive_avg_pool2d(view.tensor, 2).flatten(2).transpose(1, 2), (2, 2)

    def encode(self, view):
        return self.tokens(view)[0].mean(dim=1)


def test_places_are_taken_of_as_many_samples_as_memory_allows(fakes, monkeypatch) -> None:
    y = torch.arange(20)
    split = fakes.ListSplit(fakes.images(20), y)
    told: list[str] = []
    whole = extract_tokens(Places(), fakes.policy, split, device="cpu", log=told.append)["image"]
    assert whole.x.shape == (20, 4, 3) and told == []
    torch.testing.assert_close(whole.x.mean(dim=1), extract(Places(), fakes.policy, split, device="cpu").x)
    monkeypatch.setattr(tokens, "TOKEN_BYTES", 5 * 4 * 3 * 4)
    some = extract_tokens(Places(), fakes.policy, split, device="cpu", limit=10, log=told.append)["image"]
    assert len(some) == 5 and torch.equal(some.x, whole.x[some.y])
    assert "taken of 5 of 10 samples" in told[0]


def test_places_of_the_untrained_encoder_are_probed_and_the_raw_input_has_none(fakes) -> None:
    y = torch.arange(40) % 2
    x = fakes.images(40)
    x[y == 1, :, :4, :4] = 255
    split = fakes.BatchSplit(x, y)
    options = {"lrs": [1e-2], "epochs": 20, "batch_size": 20}
    results = compare_representations(Places(), Places(), fakes.data(split, split), [("attentive", options)])
    assert results["encoder"]["attentive"] == results["untrained"]["attentive"] == {"top1": 1.0}
    assert results["raw"] == {}


def test_batches_are_smaller_where_samples_are_large_and_samples_that_cannot_be_read_are_left_out(monkeypatch) -> None:
    class Broken(Samples):
        def read(self, i):
            if i == 3:
                raise BadSample("sample 3", "it is broken")
            return super().read(i)

        def budget(self):
            return Budget(len(self), "skip", 1.0)

    monkeypatch.setattr(encoding, "BATCH_BYTES", 2 * 2 * 6 * 4)
    sizes: list[int] = []

    def embed(views: Sequence[View]) -> dict[str, Tensor]:
        sizes.append(len(views[0].tensor))
        return {"x": views[0].tensor}

    found, y = collect(Both(), Broken(7), embed, device="cpu")
    assert sizes == [2, 1, 2, 1] and len(found["x"]) == len(y) == 6 and 3 % 3 not in y[2:4]

"""What an evaluation keeps for the report, against scikit-learn and numpy, and the results of the protocols."""

import io

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.metrics import confusion_matrix

from ssl_zoo.data.source import Media
from ssl_zoo.evaluation.report_data import Keeper, counted, neighbours, principal_components
from ssl_zoo.evaluation.representations import compare_representations
from ssl_zoo.evaluation.thumbnails import excerpt


def test_components_and_spectrum_are_scikit_learns() -> None:
    for shape in ((30, 8), (8, 30)):
        x = torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        oracle = PCA().fit(x.numpy())
        points, singular = principal_components(x, 3)
        np.testing.assert_allclose(singular[:7], oracle.singular_values_[:7] / shape[0] ** 0.5, rtol=1e-9)
        np.testing.assert_allclose(points.abs(), np.abs(oracle.transform(x.numpy())[:, :3]), rtol=1e-6, atol=1e-9)
        assert (points.gather(0, points.abs().argmax(dim=0, keepdim=True)) > 0).all()


def test_neighbours_are_the_nearest_others_and_show_all_classes() -> None:
    x = F.normalize(torch.randn(40, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64), dim=1)
    y = torch.tensor([0] * 33 + [1, 2, 3, 4, 5, 6, 7])
    queries, near, cosines = neighbours(x, y)
    assert sorted(y[queries].tolist()) == list(range(8))
    similarity = x.numpy() @ x.numpy().T
    for query, row, found in zip(queries.tolist(), near.numpy(), cosines.numpy(), strict=True):
        others = np.argsort(-np.where(np.arange(40) == query, -2, similarity[query]))[:8]
        assert row.tolist() == others.tolist()
        np.testing.assert_allclose(found, similarity[query][others])
    assert neighbours(x[:3], None)[1].shape == (3, 2)


def test_what_is_confused_is_scikit_learns() -> None:
    labels, guesses = torch.tensor([0, 0, 2, 2, 2, 5]), torch.tensor([0, 2, 2, 2, 0, 3])
    found = counted(labels, guesses)
    matrix = torch.zeros(6, 6, dtype=torch.int64)
    matrix[found.pairs[:, 0], found.pairs[:, 1]] = found.pairs[:, 2]
    np.testing.assert_array_equal(matrix, confusion_matrix(labels, guesses, labels=range(6)))
    assert found.per_class.tolist() == [[1, 2], [0, 0], [2, 3], [0, 0], [0, 0], [0, 1]] and found.accuracy == 0.5
    assert (found.pairs[:, 2].diff() <= 0).all()


def test_an_evaluation_is_kept_without_changing_its_results(fakes) -> None:
    y = torch.arange(60) % 3
    splits = fakes.BatchSplit(fakes.images(60), y), fakes.BatchSplit(fakes.images(30, seed=1), y[:30])
    protocols = [("knn", {"k": 5}), ("linear", {"epochs": 2}), ("label_free", {})]
    keeper = Keeper(20)
    encoder, untrained = fakes.encoder(0), fakes.encoder(1)
    plain = compare_representations(encoder, untrained, fakes.data(*splits), protocols)
    results = compare_representations(encoder, untrained, fakes.data(*splits), protocols, keeper=keeper)
    assert results == plain
    data = keeper.data({"train": splits[0], "test": splits[1]}, fakes.policy, fakes.modality)
    assert (data.split, data.total, len(data.names), len(set(data.names))) == ("test", 30, 20, 20)
    index = [int(name.split()[-1]) for name in data.names]  # `sample 17`
    assert data.labels.tolist() == y[index].tolist()
    for key in ("knn", "linear"):
        np.testing.assert_allclose(data.guesses[key].accuracy, results["encoder"][key]["top1"], rtol=1e-6)
    (shown,) = data.members
    assert set(shown.spectra) == {"encoder", "untrained"} and 0 < shown.kept <= 1 + 1e-6
    tiles, jpeg = shown.small
    with Image.open(io.BytesIO(jpeg)) as picture:
        assert picture.size == tiles.size and tiles.num == 20
        row, column = divmod(7, tiles.columns)
        box = (column * tiles.side, row * tiles.side, (column + 1) * tiles.side, (row + 1) * tiles.side)
        tile = np.asarray(picture.crop(box), dtype=float)
    wanted = Image.fromarray(
        fakes.policy.thumbnail(splits[1].read_batch(torch.tensor([index[7]]))).permute(1, 2, 0).numpy()
    )
    assert np.abs(tile - np.asarray(wanted.resize((tiles.side, tiles.side)), dtype=float)).mean() < 12
    assert shown.large[0].num == len(shown.pictured)


def test_nothing_is_kept_where_no_features_are_seen(fakes) -> None:
    assert Keeper(20).data({"train": None}, fakes.policy, fakes.modality) is None


def test_excerpts_are_one_line() -> None:
    assert excerpt([Media("audio/wav", b""), Media("text/plain", b"a\n b")]) == "a b"
    assert len(excerpt([Media("text/plain", b"ab " * 500)])) <= 160 and excerpt([]) is None

"""Train the runs of `settings.py`, and measure each at several steps, without labels and with them.

    python -m experiments.label_free.record digits    # adds the runs that are missing in records-digits.jsonl.gz
    python -m experiments.label_free.record cifar10
    python -m experiments.label_free.report           # writes RESULTS.md and the picture

What needs labels: `knn`, the best of 1, 5 and 20 neighbours as the protocol has it, and `linear`, scikit-learn's
logistic regression on standardised features; both learn from 600 samples of train and are tested on 500 of test.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from experiments.label_free.settings import DATA, Setting, settings
from ssl_zoo.distributed.launch import launch
from ssl_zoo.errors import NotFinite
from ssl_zoo.evaluation import label_free
from ssl_zoo.evaluation.augmented import AugmentedViews
from ssl_zoo.evaluation.features import Features, chosen, evaluating, looks
from ssl_zoo.evaluation.protocols.knn import KNN
from ssl_zoo.evaluation.protocols.label_free import METRICS
from ssl_zoo.evaluation.protocols.retrieval import recalls
from ssl_zoo.hardware import choose
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.training.setup import Run, assemble

HERE = Path(__file__).parent
LEARNT, TESTED, VIEWS = 600, 500, 4


class Measure:
    """Measures encoders on the same samples and the same views of a run's data.

    Args:
        run: the training.
    """

    def __init__(self, run: Run):
        data, policy = run.data, run.policy
        assert data.test is not None and data.test.labels is not None and data.train.labels is not None
        self.plain = []
        for split, num in ((data.train, LEARNT), (data.test, TESTED)):
            views, index = looks(policy, split, chosen(len(split), num))
            self.plain.append((views[0].tensor, split.labels[index]))
        (member,) = policy.spec.each
        index = torch.arange(len(data.test))
        pixels = AugmentedViews(None, policy, data.modality, data.test, index, member).features(TESTED, VIEWS)
        self.views = pixels.unflatten(2, policy.spec.views[0].shape)

    @torch.no_grad()
    def __call__(self, encoder: nn.Module | None) -> dict[str, float | None]:
        """Return {metric: value} of an encoder; of raw pixels for None. Nothing where features are not finite."""

        def embed(x: Tensor) -> Tensor:
            return x.flatten(1) if encoder is None else encoder(x)

        if encoder is None:
            return self._values(embed)
        with evaluating(encoder):
            return self._values(embed)

    def _values(self, embed: Any) -> dict[str, float | None]:
        train, test = (Features(embed(x), y) for x, y in self.plain)
        views = embed(self.views.flatten(0, 1)).unflatten(0, self.views.shape[:2])
        if not all(bool(x.isfinite().all()) for x in (train.x, test.x, views)):
            return {}
        values = {"knn": KNN(candidates=[1, 5, 20])(train, test)["top1"], "linear": linear(train, test)}
        values |= {name: metric(test.x) for name, metric in METRICS.items()}
        values["lidar"] = label_free.lidar(views)
        values["alignment"] = label_free.alignment(views[:, 0], views[:, 1])
        values |= retrieved(views)
        return {name: float(f"{value:.5g}") if math.isfinite(value) else None for name, value in values.items()}


def retrieved(views: Tensor) -> dict[str, float]:
    """Return recalls of the other view, of features as they are and less their mean."""
    one, other = views[:, 0], views[:, 1]
    there, back = recalls(one, other), recalls(other, one)
    centred = recalls(one - one.mean(dim=0), other - other.mean(dim=0))
    return {"r1": (there["r1"] + back["r1"]) / 2, "r5": (there["r5"] + back["r5"]) / 2, "r1_centred": centred["r1"]}


def linear(train: Features, test: Features) -> float:
    """Return the accuracy of logistic regression on standardised features."""
    from sklearn.linear_model import LogisticRegression

    mean, std = train.x.mean(dim=0), train.x.std(dim=0).clamp_min(1e-6)
    learn, tested = ((each.x - mean) / std for each in (train, test))
    model = LogisticRegression(max_iter=100, tol=1e-3).fit(learn.numpy(), train.labels.numpy())
    return float(model.score(tested.numpy(), test.labels.numpy()))


def record(setting: Setting) -> dict[str, Any]:
    """Train a run and return its record."""
    torch.manual_seed(0)
    recipe, hardware = setting.recipe(), choose("fp32", "auto")
    with tempfile.TemporaryDirectory() as folder:
        run = assemble(recipe, RunFolder(folder), hardware, launch(hardware, 1), {})
    measure = Measure(run)
    found = {"0": measure(run.method.encoder)}

    def after_step(step: Any) -> bool:
        if step.number in setting.checkpoints:
            found[str(step.number)] = measure(run.method.encoder)
        return False

    ended = "done"
    try:
        run.trainer.run(run.loader.iterate(0, setting.steps), after_step)
        run.trainer.check()
    except NotFinite:
        ended = "not finite"
    return {"name": setting.name, "data": setting.data, "method": setting.method, "change": setting.change,
            "seed": setting.seed, "ended": ended, "raw": measure(None), "steps": found}  # fmt: skip


def file_of(data: str) -> Path:
    """Return the file of the records of a data set."""
    return HERE / f"records-{data}.jsonl.gz"


def read(data: str) -> list[dict[str, Any]]:
    """Return what is known of a data set: first what the machine was, then a record of each run."""
    path = file_of(data)
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()] if path.is_file() else []


def about() -> dict[str, Any]:
    """Return versions and the machine."""
    import scipy
    import sklearn

    return {
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
        "machine": f"{platform.system()} {platform.machine()}, one thread",
    }


def main() -> None:
    """Record what is missing, run by run; each is kept as soon as it is done."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", choices=DATA)
    args = parser.parse_args()
    known = read(args.data)[1:]
    for setting in settings():
        if setting.data != args.data or any(each["name"] == setting.name for each in known):
            continue
        started = time.process_time()
        known.append(record(setting))
        text = "".join(json.dumps(each, separators=(",", ":")) + "\n" for each in (about(), *known))
        file_of(args.data).write_bytes(gzip.compress(text.encode(), mtime=0))
        print(f"{setting.name}: {time.process_time() - started:.1f} s", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

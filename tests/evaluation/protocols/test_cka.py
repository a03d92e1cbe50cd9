"""The protocol `cka`: a run compared with itself and with another one."""

import pytest

import ssl_zoo
from ssl_zoo.errors import UserError

SHORT = [
    "data.source.placements=1",
    "encoder.widths=[8, 16]",
    "training.max_steps=2",
    "training.batch_size=16",
    "evaluation.protocols=[]",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "a"
    ssl_zoo.train(ssl_zoo.load_recipe("digits/simsiam", SHORT), out=path, log=lambda line: None)
    return path


def measured(run, reference, *overrides):
    chosen = f"evaluation.protocols=[{{name: cka, reference: {reference}}}]"
    return ssl_zoo.evaluate(run, overrides=[chosen, "evaluation.limit=40", *overrides], log=lambda line: None)


def test_an_encoder_is_alike_to_itself_and_less_to_the_untrained_one(run):
    found = measured(run, run)
    assert found["encoder"]["cka"]["cka"] == pytest.approx(1)
    assert 0 < found["untrained"]["cka"]["cka"] < 1 and found["raw"] == {}


def test_a_reference_that_is_no_run_or_does_not_take_the_samples_is_told(run, tmp_path):
    with pytest.raises(UserError, match="no run|holds no"):
        measured(run, tmp_path)
    with pytest.raises(UserError, match="reference"):
        ssl_zoo.evaluate(run, ["cka"], log=lambda line: None)

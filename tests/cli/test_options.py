"""Options given twice."""

import pytest


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "simsiam", "--init-from", "a", "--init-from=b"), "--init-from is given 2 times; it takes one"),
        (("train", "simsiam", "--out", "a", "--out", "a"), "--out is given 2 times"),
        (("views", "simsiam", "--seed", 1, "--seed", 2), "--seed is given 2 times"),
        (("data", "check", "digits", "--channels", 1, "--channels", 3), "--channels is given 2 times"),
    ],
)
def test_a_second_value_is_refused(cli, arguments, words):
    result = cli(*arguments)
    assert result.exit_code == 2 and result.stderr.startswith(f"error: {words}") and result.stdout == ""


def test_what_may_be_given_twice(cli):
    twice = ("-s", "training.epochs=2", "-s", "seed=3", "--json", "--json")
    assert '"seed": 3' in cli("show", "simsiam", *twice).stdout

"""Entries, budgets and sweeps of a comparison: what is typed, and which recipes it becomes."""

from pathlib import Path

import pytest

from ssl_zoo.errors import UserError
from ssl_zoo.studies.budget import Budget, budget_of, check_no_length
from ssl_zoo.studies.entries import read_entries
from ssl_zoo.studies.speed import Speed
from ssl_zoo.studies.sweep import trials_of, unique_folders
from tests.tiny import NARROW


def test_an_option_is_for_all_recipes_or_for_one() -> None:
    names = ["simsiam", "barlow_twins", "digits/simsiam", "wide=simsiam"]
    overrides = ["training.batch_size=64", "simsiam:predictor.dims=[64, 2048]", "wide:target=ema"]
    entries = read_entries(names, overrides, ["digits/simsiam:no_stop_gradient"])
    assert [entry.name for entry in entries] == ["simsiam", "barlow_twins", "digits/simsiam", "wide"]
    recipes = [entry.load(5) for entry in entries]
    assert [recipe.training.batch_size for recipe in recipes] == [64] * 4 and {recipe.seed for recipe in recipes} == {5}
    assert [recipe.target.name for recipe in recipes] == ["stop_gradient", "shared", "shared", "ema"]
    dims = [recipe.predictor.options["dims"] for recipe in recipes if "dims" in recipe.predictor.options]
    assert dims == [[64, 2048], [64, 256], [512, 2048]]


def test_a_variant_is_for_all_that_are_experiments() -> None:
    entries = read_entries(["cifar10/simsiam", "cifar10/vicreg", "byol"], variants=["small"])
    assert [entry.variant for entry in entries] == ["small", "small", None]


@pytest.mark.parametrize(
    ("recipes", "overrides", "words"),
    [
        (["simsiam"], ["byol:target=ema"], r"-s byol:target=ema: byol is not among the recipes compared"),
        (["simsiam", "byol"], ["simsiem:target=ema"], "did you mean 'simsiam'"),
        (["simsiam", "barlow_twins"], ["predictor.dims=[8]"], r"barlow_twins: .*and not all, write -s NAME:KEY=VALUE"),
        (["simsiam"], ["predictor.dims=[8"], r"-s predictor.dims=\[8: the value is not valid YAML \(quote lists[^;]*$"),
        (["simsiam", "byol"], ["byol:target.speed=1"], r"byol: .*speed"),
        (["simsiam", "simsiam"], [], "2 recipes are called simsiam; name them: a=simsiam b=simsiam"),
        (["a=simsiam", "b=simsiam"], ["simsiam:target=ema"], "2 of the recipes are simsiam; say which: a, b"),
        ([], [], "at least one recipe"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(recipes: list[str], overrides: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_entries(recipes, overrides)


def test_a_variant_needs_an_experiment() -> None:
    with pytest.raises(UserError, match="none of the recipes is an experiment"):
        read_entries(["simsiam"], variants=["small"])
    with pytest.raises(UserError, match="has no variant 'tiny'"):
        read_entries(["cifar10/simsiam"], variants=["tiny"])


def test_one_budget_for_all_and_what_counts_epochs_is_stretched() -> None:
    (entry,) = read_entries(["vicreg"], NARROW["vicreg"])
    recipe = entry.load(0)
    epochs, warmup = recipe.training.epochs, recipe.training.schedule.options["warmup_epochs"]
    speed = Speed(recipe)
    speed.__dict__ |= {"steps_per_epoch": 50, "steps_per_s": 4.0}  # cached properties: nothing is measured here
    size = recipe.training.batch_size

    def lengthened(budget: Budget, given: tuple[str, ...] = ()) -> tuple[float, int | None, float]:
        training = entry.load(0, budget.overrides(recipe, speed, given)).training
        return training.epochs, training.max_steps, training.schedule.options["warmup_epochs"]

    assert lengthened(Budget("epochs", epochs / 4)) == (epochs / 4, None, warmup / 4)
    steps = round(epochs * 50 / 10)
    assert lengthened(Budget("max_steps", steps)) == (epochs, steps, pytest.approx(warmup / 10))
    assert lengthened(Budget("samples", steps * size + size - 1))[1] == steps
    assert lengthened(Budget("max_time", 100.0))[1] == 360  # nine tenths of what fits at 4 steps per second
    assert lengthened(Budget("max_steps", steps), ("training.schedule.warmup_epochs=7",))[2] == warmup
    with pytest.raises(UserError, match="less than one step"):
        Budget("samples", size - 1).overrides(recipe, speed, ())


def test_at_most_one_budget_and_no_length_beside_it() -> None:
    assert budget_of(None, None, None, None) is None
    with pytest.raises(UserError, match="--epochs and --max-time: give one budget"):
        budget_of(2.0, None, None, 9.0)
    with pytest.raises(UserError, match="--max-steps sets the length of all runs"):
        check_no_length(budget_of(None, None, 5, None), ["simsiam:training.epochs=3"], "-s")


def test_a_sweep_gives_each_recipe_every_combination() -> None:
    entries = read_entries(["simsiam", "byol"])
    trials = trials_of(
        entries, ["training.base_lr=0.01,0.1", "simsiam:training.batch_size=8,16", "byol:target.momentum=0.9,1"]
    )
    assert [trial.name for trial in trials["byol"]] == [
        f"byol (base_lr={lr}, momentum={momentum})" for lr in (0.01, 0.1) for momentum in (0.9, 1)
    ]
    sizes = {entries[0].load(0, trial.overrides).training.batch_size for trial in trials["simsiam"]}
    assert sizes == {8, 16} and unique_folders(trials["byol"])[0] == "byol-base_lr-0.01-momentum-0.9"
    lists = trials_of(entries[:1], ["predictor.dims=[8, 2048],[16, 2048]"])["simsiam"]
    assert [entries[0].load(0, trial.overrides).predictor.options["dims"][0] for trial in lists] == [8, 16]


@pytest.mark.parametrize(
    ("sweeps", "words"),
    [
        (["byol:training.base_lr=0.01,0.1"], r"different numbers of settings \(simsiam 1, byol 2\)"),
        (["training.base_lr=0.1,0.10"], "are the same setting"),
        (["training.base_lr"], "written KEY=VALUE,VALUE"),
        (["training.base_lr=[1"], "not valid YAML"),
        (["training.base_ler=1,2"], "base_ler"),
    ],
)
def test_a_sweep_with_a_mistake(sweeps: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        trials_of(read_entries(["simsiam", "byol"]), sweeps)


def test_files_are_called_by_their_stem(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("method: simsiam\n")
    assert read_entries([str(path)])[0].name == "mine"

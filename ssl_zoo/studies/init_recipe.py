"""A first recipe that fits data and machine, with its reasons: what `ssl-zoo init` writes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.check import statistics
from ssl_zoo.data.defaults import Defaults, Given, Setting
from ssl_zoo.data.memory import load
from ssl_zoo.data.open import OpenData, build_source, split_of
from ssl_zoo.data.some_samples import SomeSamples
from ssl_zoo.data.source import Modality, Sample, Source
from ssl_zoo.errors import UserError, shown_name, suggest
from ssl_zoo.hardware import choose, cpu_name
from ssl_zoo.methods.build import build_modality, build_views
from ssl_zoo.methods.check import check_recipe
from ssl_zoo.recipe.load import experiment_names, method_names, read_experiment, read_raw
from ssl_zoo.recipe.model import Recipe, parse
from ssl_zoo.recipe.overrides import put, split
from ssl_zoo.recipe.part import Part
from ssl_zoo.recipe.resolve import modality_of, open_source, resolve
from ssl_zoo.runs.atomic import check_place, write_atomically
from ssl_zoo.runs.commands import command
from ssl_zoo.studies.commented import commented
from ssl_zoo.studies.estimate import Estimate, estimate
from ssl_zoo.studies.first_training import of_training

LOOKED_AT = 500
"""Samples that are read at most, spread over the data."""

LEAST, SECONDS = 20, 5.0
"""After so many seconds no more samples are read than these."""

SMALL = "small"
"""The variant of an experiment for a few CPU cores."""


@dataclass(frozen=True)
class FirstRecipe:
    """A recipe that fits.

    Attributes:
        path: where it was written.
        recipe: as it was validated.
        text: of the file.
        facts: what was seen of data and machine, `{name: text}`.
        settings: what was chosen, with the reasons.
        estimate: of its run; None where it was not asked for.
    """

    path: Path
    recipe: Recipe
    text: str
    facts: Mapping[str, str]
    settings: Sequence[Setting]
    estimate: Estimate | None = None

    def plain(self) -> dict[str, Any]:
        """Return it as plain data, for `--json`."""
        return {
            "recipe": str(self.path),
            "facts": dict(self.facts),
            "settings": [{"key": each.key, "value": each.value, "why": each.why} for each in self.settings],
            "estimate": None if self.estimate is None else self.estimate.plain(),
        }


def init_recipe(
    method: str,
    data: str,
    *,
    out: str | Path = "recipe.yaml",
    overrides: Sequence[str] = (),
    modality: str | None = None,
    channels: int | None = None,
    estimated: bool = True,
) -> FirstRecipe:
    """Look at data and machine, and write a commented recipe that fits them.

    It starts from the method's own file, or from the shipped experiment on data of the same kind, and says which. What
    is changed has its reason beside it.

    Args:
        method: a shipped method.
        data: a folder, zip or parquet, or a registered source. Up to 500 samples of it are read.
        out: the file to write; it must not exist.
        overrides: KEY=VALUE on the recipe; they come last.
        modality: of the data; None finds it out.
        channels: of the samples; None takes those of the first where they are not converted.
        estimated: whether a few real steps are taken, for an estimate of time and memory.

    Raises:
        UserError: no such method or data, a file that exists, data that the method does not fit, or no sample that can
            be read; nothing is written.
    """
    path = Path(out)
    if path.exists():
        raise UserError(f"--out {path}: exists; name another file, or remove it.")
    check_place(path, "--out")
    if method not in method_names():
        raise UserError(f"there is no method {method!r}{suggest(method, method_names(), 'ssl-zoo list methods')}")
    of_data = [each for each in overrides if each.startswith(("data.source.", "data.decode."))]
    source, kind = open_source(data, of_data, channels, modality)
    train = split_of(source, "train")
    if not len(train):
        raise UserError(f"{data}: has no samples to train on.")
    draft = _Draft(method, data, kind, source, SomeSamples(train, LOOKED_AT), len(train))
    draft.begin()
    for each in overrides:
        key, value = split(each)
        draft.set(Setting(key, value, "as you gave it"))
    recipe = draft.recipe()
    draft.normalise(recipe, path)
    recipe = draft.recipe()
    check_recipe(recipe)
    found = draft.estimate(recipe) if estimated else None
    text = commented(draft.raw, draft.reasons(), draft.header(found))
    write_atomically(path, text)
    return FirstRecipe(path, recipe, text, draft.facts, draft.settings, found)


@dataclass
class _Draft:
    """A recipe in the making."""

    method: str
    data: str
    kind: Modality
    source: Source
    some: SomeSamples
    num: int
    raw: dict[str, Any] = field(default_factory=dict)
    settings: list[Setting] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)
    start: str = ""

    def begin(self) -> None:
        """Choose the start and put the settings on it that data and machine ask for."""
        own = read_raw(self.method)
        views, name = own["views"], self.kind.spec.modality
        if isinstance(views, dict) and "name" not in views:
            raise UserError(
                f"{self.method}: trains on samples of several members ({', '.join(views)}), and the data have one; "
                "name a method on single samples, or write such a recipe by hand (docs/howto/pairs.md)."
            )
        machine = choose(for_training=False)
        accelerator = machine.accelerator != "cpu"
        near, self.start = self._near(accelerator)
        found = self.kind.defaults(self._samples(), Given(self.num, accelerator, own, near))
        if found.start == "method" or near is None:
            near, self.start = own, f"methods/{self.method}.yaml"
        same = modality_of(views if isinstance(views, str) else views["name"]) == name
        if not same and not any(each.key == "views" for each in found.settings):
            raise UserError(
                f"the modality {name!r} states no defaults for a first recipe, and {self.method} has views of another; "
                "write the recipe by hand: encoder and views of that modality on the method's other settings."
            )
        self.raw = {key: value for key, value in near.items() if key not in ("data", "evaluation", "seed")}
        self.raw["method"] = self.method
        self._describe(found, machine.name, accelerator)
        self._put_source()
        for each in found.settings:
            self.set(each)
        if "max_steps" in self.raw.get("training", {}):
            self.raw["training"].pop("epochs", None)  # it has no effect beside max_steps
        for each in of_training(self.raw, self.num, accelerator):
            self.set(each)

    def _near(self, accelerator: bool) -> tuple[dict[str, Any] | None, str]:
        """Return the recipe of the nearest shipped experiment with the method, and its name."""
        known = experiment_names()
        for study in self.kind.studies:
            name = f"{study}/{self.method}"
            if name in known:
                small = not accelerator and SMALL in read_experiment(name).all_variants()
                variant = SMALL if small else None
                return read_raw(name, variant), f"experiments/{name}.yaml" + (f", variant {SMALL}" if small else "")
        return None, ""

    def _samples(self) -> Iterator[Sample]:
        """Yield the samples that are looked at.

        Raises:
            UserError: none of them can be read.
        """
        num, reason, begun = 0, "", time.monotonic()
        for i in range(len(self.some)):
            if num >= LEAST and time.monotonic() - begun > SECONDS:
                self.some.end(i)
                break
            try:
                sample = self.some.read(i)
            except BadSample as error:
                reason = str(error)
                self.bad.append(error.name)
                continue
            num += 1
            yield sample
        if not num:
            raise UserError(f"none of the {len(self.some)} samples that were tried can be read: {reason}")

    def _describe(self, found: Defaults, machine: str, accelerator: bool) -> None:
        tested = len(split_of(self.source, "test")) if "test" in self.source.splits else 0
        names = self.some.class_names
        classes = "none" if self.some.labels is None else f"{len(names)} classes" if names else "yes"
        self.facts = {
            "samples": f"{self.num} to train on, {tested or 'none'} to test on; {len(self.some)} were read",
            "kind of data": self.kind.spec.modality,
            **found.facts,
            "labels": classes,
            "machine": machine if accelerator else cpu_name(),
        }
        if self.bad:
            some = shown_name(self.bad[0])
            self.facts["unreadable"] = f"{len(self.bad)} of these {len(self.some)}, such as {some}; see: " + command(
                "data", "check", self.data
            )

    def _put_source(self) -> None:
        part = resolve(self.data, self.kind.spec.modality)
        self.raw["data"] = {"source": dict(part)}
        if self.bad:
            self.set(Setting("data.on_error", "skip", "some samples cannot be read; they are left out and listed"))
            share = round(min(1.0, 2 * len(self.bad) / len(self.some)), 4)
            self.set(Setting("data.bad_budget", share, "the largest part that may be left out: twice what was seen"))

    def set(self, setting: Setting) -> None:
        """Put a setting into the recipe.

        Raises:
            UserError: its key leads through what has no keys.
        """
        put(self.raw, setting.key, setting.value)
        self.settings = [each for each in self.settings if not f"{each.key}.".startswith(f"{setting.key}.")]
        self.settings.append(setting)

    def recipe(self) -> Recipe:
        """Return the recipe, validated."""
        return parse(self.raw, f"init {self.method}")

    def normalise(self, recipe: Recipe, path: Path) -> None:
        """Put in the statistics of the samples that were looked at, where the views have any.

        Args:
            recipe: so far.
            path: where it will be written, for the command that reads all samples.
        """
        if not isinstance(recipe.views, Part) or not {"mean", "std"} <= recipe.views.options.keys():
            return
        report = statistics(*self._as_trained(recipe))
        if not report["mean"]:
            return
        for name, values in (("mean", report["mean"]), ("std", [each or 1.0 for each in report["std"]])):
            rounded = [float(f"{value:.4g}") for value in values]
            listed = isinstance(recipe.views.options[name], list)
            every = command("data", "stats", self.data, "--recipe", path)
            why = f"of each channel, over {len(self.some)} samples; `{every}` reads all"
            self.set(Setting(f"views.{name}", rounded if listed else rounded[0], why))

    def estimate(self, recipe: Recipe) -> Estimate:
        """Take a few real steps."""
        some, modality = self._as_trained(recipe)
        settings = recipe.data
        train = load(some, settings.cache, settings.on_error, 1.0, modality)
        return estimate(recipe, OpenData(train, None, {}, modality), self.num)

    def _as_trained(self, recipe: Recipe) -> tuple[SomeSamples, Modality]:
        """Return the same samples, read as the recipe reads them."""
        modality, part = build_modality(recipe, build_views(recipe).spec), recipe.data.source
        assert part is not None
        train = split_of(build_source(part.name, part.options, modality), "train")
        return SomeSamples(train, len(self.some)), modality

    def reasons(self) -> dict[str, str]:
        """Return `{key: reason}` for the comments."""
        return {each.key: f"{each.why[0].upper()}{each.why[1:]}." for each in self.settings}

    def header(self, found: Estimate | None) -> list[str]:
        """Return the sentences at the top of the file."""
        seen = [f"{name}: {text}." for name, text in self.facts.items()]
        time = [] if found is None else [f"Estimate: {sentence}." for sentence in found.sentences()]
        return [
            f"{self.method} on {shown_name(self.data)}, written by `ssl-zoo init`. It starts from {self.start}; a "
            "comment says why a setting is another one.",
            *[f"{line[0].upper()}{line[1:]}" for line in seen],
            *time,
        ]

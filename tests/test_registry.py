"""The registry: names, options from signatures, what a part gets by position, and parts of third parties."""

import sys
import types

import pytest
from pydantic import ValidationError

from ssl_zoo import registry
from ssl_zoo.errors import UserError, suggest


def test_every_kind_has_members_sorted_and_described():
    for kind in registry.PACKAGES:
        names = registry.names(kind)
        assert names and names == sorted(set(names)), kind
        assert [entry.name for entry in registry.entries(kind)] == names
        for entry in registry.entries(kind):
            assert entry.summary.endswith((".", ")")) or ":" in entry.summary, f"{kind} {entry.name} needs a docstring"


def test_a_duplicate_raises_and_names_both_modules(own_parts):
    def other():
        """Another."""

    with pytest.raises(UserError, match=r"target 'ema' is registered twice, by ssl_zoo\.targets\.ema and by .*rename"):
        registry.names("target")
        registry.register("target", "ema")(other)
    assert registry.find("target", "ema")[0].factory is not other


def test_an_unknown_kind_names_the_nearest():
    for call in (lambda: registry.names("encodr"), lambda: registry.register("encodr", "x")):
        with pytest.raises(UserError, match="unknown kind of part 'encodr'; did you mean 'encoder'"):
            call()


@pytest.mark.parametrize(
    ("kind", "name", "nearest"),
    [("target", "emma", "ema"), ("encoder", "ResNet50", "resnet50"), ("term", "varience", "variance")],
)
def test_an_unknown_name_names_the_nearest_and_all(kind, name, nearest):
    with pytest.raises(UserError) as caught:
        registry.find(kind, name)
    assert f"unknown {kind} {name!r}; did you mean {nearest!r}? Known: " in str(caught.value)
    known = registry.names(kind)
    listed = str(caught.value).partition("Known: ")[2].partition(". A part")[0].split(", ")
    assert listed[0] == nearest if len(known) > 8 else listed == known
    assert len(listed) <= 9 and (len(known) <= 8 or listed[-1] == f"and {len(known) - 8} more (`ssl-zoo list {kind}`)")


def test_a_name_like_no_other_gets_no_guess():
    assert suggest("zzzzzz", ["ema", "shared"]) == ". Known: ema, shared"
    assert suggest("zzzzzz", []) == ". Known: none"


def test_options_are_the_keyword_only_parameters_with_types_and_defaults(own_parts):
    @registry.register("head", "made_up")
    class MadeUp:
        """A head that was made up.

        Args:
            rate: how fast.
        """

        def __init__(self, in_dim: int, *, rate: float, times: int = 3, names: tuple[str, ...] = ("a",)):
            self.got = (in_dim, rate, times, names)

    entry = registry.find("head", "made_up")[0]
    model = registry.options(entry)
    assert {name: (f.annotation, f.is_required()) for name, f in model.model_fields.items()} == {
        "rate": (float, True),
        "times": (int, False),
        "names": (tuple[str, ...], False),
    }
    assert entry.summary == "A head that was made up." and model.__doc__.startswith(entry.summary)
    assert registry.check("head", "made_up", {"rate": "1e-4"}) == {"rate": 1e-4, "times": 3, "names": ("a",)}
    assert registry.build("head", "made_up", {"rate": 2, "names": ["b"]}, in_dim=7).got == (7, 2.0, 3, ("b",))
    for wrong in ({}, {"rate": "fast"}, {"rate": 1, "time": 3}, {"rate": 1, 3: 3}, {"rate": float("nan")}):
        with pytest.raises(ValidationError):
            registry.validate("head", "made_up", wrong)
        with pytest.raises(UserError, match=r"^head 'made_up': (rate|time|3): "):
            registry.check("head", "made_up", wrong)
    with pytest.raises(UserError, match=r"head 'made_up': time: unknown key of head 'made_up'; did you mean 'times'"):
        registry.build("head", "made_up", {"rate": 1, "time": 3}, in_dim=7)


def test_a_function_is_a_part_and_takes_from_the_context_what_it_names(own_parts):
    @registry.register("schedule", "made_up")
    def made_up(total_steps, offset=5, *, factor: float = 1.0):
        """A schedule."""
        return total_steps, offset, factor

    context = {"total_steps": 10, "steps_per_epoch": 2}
    assert registry.build("schedule", "made_up", {"factor": 0.5}, **context) == (10, 5, 0.5)
    assert registry.build("schedule", "made_up", **context, offset=1) == (10, 1, 1.0)
    with pytest.raises(UserError, match="asks for the positional parameter 'total_steps'; offered: steps_per_epoch; m"):
        registry.build("schedule", "made_up", steps_per_epoch=2)


def test_a_family_gives_its_part_the_rest_of_the_name(own_parts):
    @registry.register("encoder", "shelf/*")
    def from_shelf(model, *, depth: int = 1):
        """A model from the shelf."""
        return model, depth

    assert registry.build("encoder", "shelf/a/b", {"depth": 2}) == ("a/b", 2)
    assert registry.find("encoder", "timm/vit_tiny_patch16_224")[1] == "vit_tiny_patch16_224"
    with pytest.raises(UserError, match="unknown encoder 'shelf/'; did you mean"):
        registry.find("encoder", "shelf/")


def test_entry_points_are_loaded_when_parts_are_first_asked_for(own_parts, monkeypatch):
    class Point:
        def load(self):
            registry.register("pairing", "from_a_plugin")(lambda: "plugged in")

    def entry_points(group):
        return [Point()] if group == "ssl_zoo" else []

    monkeypatch.setattr(registry, "entry_points", entry_points)
    registry._discover.cache_clear()
    registry._load_plugins.cache_clear()
    try:
        assert "from_a_plugin" in registry.names("pairing")
        assert registry.build("pairing", "from_a_plugin") == "plugged in"
        assert "from_a_plugin" in registry.names("pairing")  # asked again, loaded once: a second time would raise
    finally:
        registry._load_plugins.cache_clear()  # so that the real ones are asked for again


def test_a_plugin_that_cannot_be_imported_is_told_once_and_takes_nothing_away(own_parts, monkeypatch, caplog):
    class Point:
        name, value = "broken", "broken.parts"

        def load(self):
            raise ImportError("cannot import name 'x' from 'y'")

    monkeypatch.setattr(registry, "entry_points", lambda group: [Point()])
    monkeypatch.setattr(registry, "_MISSING_PLUGINS", [])
    registry._discover.cache_clear()
    registry._load_plugins.cache_clear()
    try:
        assert "ema" in registry.names("target") and "resnet50" in registry.names("encoder")
        told = "plug-in 'broken' (broken.parts) cannot be imported, and its parts are missing: ImportError: cannot "
        assert [record.message.startswith(told) for record in caplog.records] == [True]
        with pytest.raises(UserError, match=r"--import MODULE\. The plug-in broken could not be imported\.$"):
            registry.find("encoder", "from_it")
    finally:
        registry._load_plugins.cache_clear()


def test_a_cell_that_runs_again_replaces_its_part(own_parts):
    def cell(value):
        @registry.register("pairing", "mine")
        def mine(*, times: int = value):
            """A pairing."""
            return times

        return mine

    cell(1)
    cell(2)
    assert registry.build("pairing", "mine") == 2
    with pytest.raises(UserError, match="pairing 'mine' is registered twice"):
        registry.register("pairing", "mine")(lambda: 3)


def test_a_signature_that_cannot_be_read_is_told(own_parts):
    @registry.register("pairing", "odd")
    def odd(*, times: "Nowhere" = 1):  # noqa: F821
        """A pairing."""

    with pytest.raises(UserError, match="pairing 'odd': its options cannot be read: NameError: name 'Nowhere' is not"):
        registry.build("pairing", "odd")


def test_a_module_of_the_users_is_imported_by_name(own_parts, tmp_path, monkeypatch):
    (tmp_path / "my_parts.py").write_text(
        "from ssl_zoo import register\n\n@register('pairing', 'mine')\ndef mine():\n    return 'mine'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "my_parts", types.ModuleType("my_parts"))
    monkeypatch.delitem(sys.modules, "my_parts")
    registry.import_user_module("my_parts")
    assert registry.build("pairing", "mine") == "mine"
    with pytest.raises(UserError, match="--import my_prts: no module of that name on the Python path"):
        registry.import_user_module("my_prts")
    with pytest.raises(UserError, match="--import a.b: no module of that name"):
        registry.import_user_module("a.b")
    words = {
        "import a_module_that_is_not_there\n": "ModuleNotFoundError: No module named 'a_module_that_is_not_there' (1)",
        "x = 1\n\n1 / 0\n": "ZeroDivisionError: division by zero (3)",
        "x = (\n": "SyntaxError: '(' was never closed (1)",
        "import sys\nsys.exit(3)\n": "SystemExit: 3 (2)",
        "from ssl_zoo import register\nregister('encodr', 'x')\n": "UserError: unknown kind of part 'encodr'; did you ",
    }
    for number, (text, says) in enumerate(words.items()):
        (tmp_path / f"my_broken{number}.py").write_text(text)
        with pytest.raises(UserError) as caught:
            registry.import_user_module(f"my_broken{number}")
        says = says.replace(" (", f" (my_broken{number}.py, line ")
        assert str(caught.value).startswith(f"--import my_broken{number}: cannot be imported: {says}")


def test_names_takes_wildcards_and_tells_cases_apart():
    import ssl_zoo

    assert ssl_zoo.names("encoder", "resnet*") == ["resnet101", "resnet18", "resnet34", "resnet50"]
    assert ssl_zoo.names("encoder", "ResNet*") == ssl_zoo.names("encoder", "resnet") == []
    assert [entry.name for entry in registry.entries("schedule", "cos*")] == ["cosine"]
    with pytest.raises(UserError, match="unknown kind of part 'encodr'"):
        ssl_zoo.names("encodr", "*")

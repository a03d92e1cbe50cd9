"""A part that does not keep its contract is known before training, in one sentence that says what it returned."""

import copy

import pytest
import torch
from torch import nn

from ssl_zoo import registry
from ssl_zoo.data.source import ViewPolicy
from ssl_zoo.errors import UserError
from ssl_zoo.methods.build import build
from ssl_zoo.methods.check import check_recipe
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.training.train import train

SMALL = ("projector.dims=[8, 8]", "predictor.dims=[4, 8]", "views.size=12", "training.batch_size=16",
         "training.max_steps=1", "evaluation.protocols=[]", "data.source.placements=1")  # fmt: skip


class Output:
    def __init__(self, tokens):
        self.last_hidden_state, self.pooler_output = tokens, tokens.mean(1)


class Base(nn.Module):
    """An encoder."""

    def __init__(self, returns=lambda maps: maps.mean((2, 3))):
        super().__init__()
        self.out_dim, self.body = 16, nn.Conv2d(1, 16, 3)
        self.returns = returns

    def forward(self, x):
        return self.returns(self.body(x))


class Auxiliary(Base):
    """Returns more in training, as torchvision's Inception does."""

    def forward(self, x):
        h = super().forward(x)
        return (h, h) if self.training else h


RETURNS = {
    "tuple": (lambda maps: (None, maps.mean((2, 3))), r"a tuple, not a tensor \(B, 16\); its item \[1\] is one"),
    "dict": (lambda maps: {"h": maps.mean((2, 3))}, r"a dict \(h\), not a tensor \(B, 16\); its item \['h'\] is one"),
    "output": (
        lambda maps: Output(maps.flatten(2).transpose(1, 2)),
        r"an object Output \(last_hidden_state, pooler_output\), not a .* its item \.pooler_output is one",
    ),
    "maps": (lambda maps: maps, r"a tensor \(2, 16, 10, 10\) for views .*maps: return .*h\.mean\(dim=\(2, 3\)\)"),
    "tokens": (lambda maps: maps.flatten(2).transpose(1, 2), r"a tensor \(2, 100, 16\) .* tokens: .* h\[:, 0\]"),
    "keepdim": (lambda maps: maps.mean((2, 3), keepdim=True), r"a tensor \(2, 16, 1, 1\) .*h\.flatten\(1\)"),
    "width": (lambda maps: maps.mean((2, 3))[:, :8], r"a tensor \(2, 8\) .* but its out_dim is 16; set out_dim = 8"),
    "nothing": (lambda maps: None, r"None, not a tensor \(B, 16\); end its forward with return"),
    "one": (lambda maps: maps.mean((0, 2, 3)), r"a tensor \(16,\) .* one row per sample: it was given 2 samples"),
    "whole": (lambda maps: maps.mean((2, 3)).long(), r"torch\.int64, not floats"),
}


@pytest.mark.parametrize("name", sorted(RETURNS))
def test_what_an_encoder_returns_is_known_by_check_build_and_train(own_parts, tmp_path, name):
    returns, words = RETURNS[name]
    registry.register("encoder", "mine")(type("Mine", (Base,), {"__init__": lambda self: Base.__init__(self, returns)}))
    recipe = load_recipe("digits/simsiam", [*SMALL, "encoder=mine"])
    for call in (check_recipe, build, lambda recipe: train(recipe, out=tmp_path / "run", log=lambda line: None)):
        with pytest.raises(UserError, match=f"^encoder mine: returned {words}") as caught:
            call(recipe)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match=f"^encoder Base: returned {words}"):
        build(load_recipe("digits/simsiam", SMALL), encoder=Base(returns))


def test_training_mode_is_tried_too():
    with pytest.raises(UserError, match="encoder Auxiliary: returned a tuple"):
        build(load_recipe("digits/simsiam", SMALL), encoder=Auxiliary())


class OnlyReal(Base):
    """It looks at values, which the meta device does not have."""

    def __init__(self):
        super().__init__()
        self.seen = float(torch.zeros(1).sum())
        self.norm = nn.BatchNorm1d(16)

    def forward(self, x):
        h = super().forward(x)
        self.seen += float(h.sum())
        return self.norm(h)


def test_an_encoder_that_cannot_run_without_values_is_tried_with_zeros_and_left_as_it_was(own_parts):
    registry.register("encoder", "mine")(OnlyReal)
    recipe = load_recipe("digits/simsiam", [*SMALL, "encoder=mine"])
    assert check_recipe(recipe)["parameters"]["encoder"] == sum(p.numel() for p in OnlyReal().parameters())
    encoder = OnlyReal()
    before, random = copy.deepcopy(encoder.state_dict()), torch.get_rng_state()
    build(load_recipe("digits/simsiam", SMALL), encoder=encoder)
    assert encoder.seen == 0 and all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random) and encoder.training


def test_code_that_raises_is_told_with_its_line(own_parts, tmp_path, monkeypatch):
    (tmp_path / "raising.py").write_text(
        "from torch import nn\nfrom ssl_zoo import register\n\n\n"
        "class Base(nn.Module):\n    out_dim = 4\n\n\n"
        "@register('encoder', 'raises')\nclass Raises(Base):\n    '''An encoder.'''\n\n"
        "    def forward(self, x):\n        assert x.shape[2] == 99\n\n\n"
        "@register('encoder', 'unmade')\nclass Unmade(Base):\n    '''An encoder.'''\n\n"
        "    def __init__(self):\n        super().__init__()\n        self.body = nn.Linear('two', 2)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    registry.import_user_module("raising")
    words = r"encoder raises: cannot take views \(2, 1, 12, 12\): AssertionError: x\.shape\[2\] == 99 \(raising\.py, "
    with pytest.raises(UserError, match=words + r"line 14\)\.$"):
        check_recipe(load_recipe("digits/simsiam", [*SMALL, "encoder=raises"]))
    with pytest.raises(UserError, match=r"encoder 'unmade': cannot be built: TypeError: .*\(raising\.py, line 23\)\.$"):
        build(load_recipe("digits/simsiam", [*SMALL, "encoder=unmade"]))


def test_an_encoder_for_other_views_than_the_recipes_can_be_built_for_a_loop_of_ones_own():
    class Flat(nn.Module):
        out_dim = 3

        def __init__(self):
            super().__init__()
            self.body = nn.Linear(1, 3)

        def forward(self, x):
            return self.body(x.reshape(len(x), 1))

    build(load_recipe("digits/simsiam", SMALL), encoder=Flat())


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (nn.Flatten(), "'Flatten': its module must have an integer attribute out_dim, the width of its output; s"),
        (lambda x: x, "'function': is a function, and must be a torch.nn.Module"),
    ],
)
def test_a_module_without_widths_is_told_what_to_state(module, words):
    with pytest.raises(UserError, match=f"encoder {words}"):
        build(load_recipe("digits/simsiam", SMALL), encoder=module)
    stated = nn.Flatten()
    stated.out_dim = 16.0
    with pytest.raises(UserError, match=r"integer attribute out_dim, the width of its output, not 16\.0; set it"):
        build(load_recipe("digits/simsiam", SMALL), encoder=stated)


def test_heads_targets_and_pairings_are_tried_too(own_parts):
    @registry.register("head", "lies")
    class Lies(nn.Module):
        """A head that is not as wide as it says."""

        def __init__(self, in_dim):
            super().__init__()
            self.out_dim, self.body = 8, nn.Linear(in_dim, 7)

        def forward(self, x):
            return self.body(x)

    @registry.register("head", "silent")
    class Silent(nn.Linear):
        """A head that does not say how wide it is."""

        def __init__(self, in_dim):
            super().__init__(in_dim, 8)

    @registry.register("target", "first")
    class First(nn.Module):
        """A target for the first view only."""

        def forward(self, views, z):
            return z[0]

    @registry.register("target", "narrow")
    class Narrow(nn.Module):
        """A target of half the width."""

        def forward(self, views, z):
            return [x[:, :4] for x in z]

    @registry.register("pairing", "none")
    class NoPairs(nn.Module):
        """Nothing is compared."""

        def forward(self, p, t, views):
            return []

    for change, words in {
        "projector=lies": r"projector lies: returned a tensor \(2, 7\) for \(2, 192\), but its out_dim is 8",
        "predictor=lies": r"predictor lies: returned a tensor \(2, 7\) for \(2, 8\), but its out_dim is 8",
        "projector=silent": r"head 'silent': its module must have an integer attribute out_dim",
        "target=first": r"target first: must return a list of 2, one item per view",
        "target=narrow": r"target narrow: returned a tensor \(2, 4\) for a view, but its out_dim is 8",
        "pairing=none": r"pairing none: returned no pairs \(p, t\) for 2 views",
        "views.num_views=1": r"views\.num_views: one view has no other to be compared with; use at least 2",
    }.items():
        with pytest.raises(UserError, match=words):
            check_recipe(load_recipe("digits/simsiam", [*SMALL, change]))


def test_features_of_places_are_tried_where_places_are_compared(own_parts):
    @registry.register("encoder", "mine")
    class Mine(Base):
        """Its tokens have no grid."""

        def tokens(self, view):
            return self.forward(view.tensor)

    small = (
        "encoder=mine",
        "views.channels=1",
        "views.size=12",
        "views.grey=0",
        "views.saturation=0",
        "views.hue=0",
        "projector.dims=[8]",
    )
    with pytest.raises(
        UserError,
        match=r"encoder mine: its tokens returned a tensor \(2, 16\), not features of places \(B, N, 16\)",
    ):
        check_recipe(load_recipe("vicregl", [*small, "local_projector.dims=[8]"]))


def test_a_view_policy_that_lacks_a_method_is_told(own_parts):
    @registry.register("views", "bare")
    class Bare(ViewPolicy):
        """Nothing."""

        modality = "image"

    with pytest.raises(UserError, match="views 'bare': a policy must have the method draw"):
        check_recipe(load_recipe("digits/simsiam", [*SMALL[:2], "views=bare"]))


def test_a_policy_that_makes_other_views_than_it_states_is_told(own_parts, tmp_path):
    from ssl_zoo.modalities.image.views.augment import Augment

    @registry.register("views", "larger")
    class Larger(Augment):
        """`augment`, whose spec states other views than it makes."""

        def __init__(self, *, size: int = 12):
            super().__init__(channels=1, size=size, grey=0.0, saturation=0.0, hue=0.0)
            self.spec = Augment(channels=1, size=size - 1, grey=0.0, saturation=0.0, hue=0.0).spec

    recipe = load_recipe("digits/simsiam", [*SMALL[:2], *SMALL[3:], "views=larger"])
    check_recipe(recipe)  # without data it cannot know
    with pytest.raises(UserError, match=r"spec states a global view of shape \(1, 11, 11\), but it made one"):
        train(recipe, out=tmp_path / "run", log=lambda line: None)
    assert not (tmp_path / "run").exists()

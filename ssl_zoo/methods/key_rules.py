"""How other people's files name the weights of a component: one table of prefixes, one of names inside an encoder.

A file is understood by trying the rows on it: the row by which most of a component's own names and shapes are found is
the one that is meant, the first of equals. A rule is a prefix, cut off once as a whole: `backbone.conv1.weight` is
`conv1.weight`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from torch import Tensor

UNWRAPPED = ("state_dict", "model", "model_state_dict")
"""Keys of a checkpoint under which the one state dict lies that is meant; those under other keys, such as `teacher`,
count with the key in front."""

AROUND = ("module.", "_orig_mod.")
"""What DistributedDataParallel and torch.compile put in front of every name."""


class Layout(NamedTuple):
    """A row of the table.

    Attributes:
        name: whose files are so, for messages.
        prefixes: `{component: what stands in front of its names}`.
    """

    name: str
    prefixes: dict[str, str]


LAYOUTS = (
    # torchvision, timm, the authors' resnet50.pth of Barlow Twins and VICReg, DINO's *_pretrain.pth, SwAV, ssl_zoo
    Layout("", {"encoder": ""}),
    # facebookresearch/simsiam: torchvision's ResNet, whose fc is the projector
    Layout("SimSiam's", {"encoder": "encoder.", "projector": "encoder.fc.", "predictor": "predictor."}),
    # facebookresearch/barlowtwins and vicreg (checkpoints), solo-learn, MMSelfSup
    Layout("Barlow Twins', VICReg's or solo-learn's",
           {"encoder": "backbone.", "projector": "projector.", "predictor": "predictor."}),
    # lightly's examples and benchmarks: a LightningModule with these attributes
    Layout("lightly's", {"encoder": "backbone.", "projector": "projection_head.layers.",
                         "predictor": "prediction_head.layers."}),
    Layout("lightly's, a transformer of timm", {"encoder": "backbone.vit."}),
    Layout("lightly's, a transformer of timm alone", {"encoder": "vit."}),
    # facebookresearch/dino: its checkpoints hold both networks; the authors evaluate and release the teacher
    Layout("DINO's, the teacher", {"encoder": "teacher.backbone."}),
    Layout("DINO's, the student", {"encoder": "student.backbone."}),
    Layout("lightly's DINO, the teacher", {"encoder": "teacher_backbone."}),
    Layout("lightly's DINO, the student", {"encoder": "student_backbone."}),
    # BYOL in PyTorch: the authors' files are of JAX
    Layout("BYOL's, the online network", {"encoder": "online_network.encoder.", "predictor": "predictor."}),
    Layout("BYOL's, the online network", {"encoder": "online_network_state_dict.encoder.",
                                          "projector": "online_network_state_dict.projetion.net."}),
    # facebookresearch/moco, moco-v3
    Layout("MoCo's, the query encoder", {"encoder": "encoder_q."}),
    Layout("MoCo v3's, the online encoder", {"encoder": "base_encoder."}),
)  # fmt: skip
"""The table. Its first row is a file of an encoder alone."""


class Names(NamedTuple):
    """Other names inside an encoder.

    Attributes:
        name: where they come from, for messages.
        starts: `{how a name starts there: how it starts here}`.
        inside: `{part of a name there: the same here}`.
    """

    name: str
    starts: dict[str, str] = {}
    inside: dict[str, str] = {}

    def ours(self, name: str) -> str:
        """Return a name of theirs as it is here."""
        for there, here in self.starts.items():
            if name.startswith(there):
                name = here + name.removeprefix(there)
                break
        for there, here in self.inside.items():
            name = name.replace(there, here)
        return name


NAMES = (
    Names(""),
    # nn.Sequential(*list(torchvision.models.resnet18().children())[:-1]): lightly's tutorials and many others
    Names("a ResNet's children by number",
          {"0.": "conv1.", "1.": "bn1.", "4.": "layer1.", "5.": "layer2.", "6.": "layer3.", "7.": "layer4."}),
    # lightly.models.ResNetGenerator, whole and as its children by number, which have no max-pool
    Names("lightly's ResNet", {}, {".shortcut.": ".downsample."}),
    Names("lightly's ResNet's children by number",
          {"0.": "conv1.", "1.": "bn1.", "2.": "layer1.", "3.": "layer2.", "4.": "layer3.", "5.": "layer4."},
          {".shortcut.": ".downsample."}),
)  # fmt: skip
"""Rows that are tried on what is left of an encoder's names when the prefix is cut off."""


class Reading(NamedTuple):
    """Weights of a file as those of a component, by a row of each table.

    Attributes:
        how: what says it in a message; empty for names as they are.
        weights: `{name: tensor}`.
    """

    how: str
    weights: dict[str, Tensor]


def plain_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict without the prefixes `AROUND` that all of its names have."""
    found = dict(state)
    while prefix := next((each for each in AROUND if found and all(name.startswith(each) for name in found)), None):
        found = {name.removeprefix(prefix): value for name, value in found.items()}
    return found


def readings(part: str, state: Mapping[str, Tensor]) -> Iterator[Reading]:
    """Yield the weights of a component as each row of the tables reads them, where it finds any.

    Args:
        part: the component.
        state: of a file; its names are taken as they are by the first reading.
    """
    yield Reading("", dict(state))
    for layout in LAYOUTS:
        prefix = layout.prefixes.get(part)
        if prefix is None:
            continue
        own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        for names in NAMES if part == "encoder" else NAMES[:1]:
            if own and (prefix or names.name):
                shown = [f"the names are {layout.name} ({prefix}*)"] if prefix else []
                shown += [f"{names.name}"] if names.name else []
                yield Reading(", ".join(shown), {names.ours(name): value for name, value in own.items()})


def parts_in(state: Mapping[str, Tensor]) -> set[str]:
    """Return the components for which a row of the table finds weights in a file."""
    return {
        part
        for layout in LAYOUTS
        for part, prefix in layout.prefixes.items()
        if any(name.startswith(prefix) for name in state)
    }

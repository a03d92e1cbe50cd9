"""The forms in which an encoder leaves this package."""

from __future__ import annotations

from ssl_zoo.runs.export.graph_targets import Onnx, TorchScript
from ssl_zoo.runs.export.target import Target
from ssl_zoo.runs.export.weight_targets import Safetensors, Timm, Torchvision

TARGETS: dict[str, Target] = {
    target.name: target for target in (Safetensors(), Torchvision(), Timm(), Onnx(), TorchScript())
}
"""What `--to` names."""

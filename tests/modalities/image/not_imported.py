"""What runs in a process of its own to see which packages it imports; so nothing else is imported here."""

import importlib
import pkgutil
import sys


def import_all_encoders() -> None:
    """Import the modules of all encoders."""
    import ssl_zoo.modalities.image.encoders as encoders

    for module in pkgutil.iter_modules(encoders.__path__, encoders.__name__ + "."):
        importlib.import_module(module.name)
    assert not {"torchvision", "timm"} & set(sys.modules)


def use_augment() -> None:
    """Make views and their picture, and then the plain view."""
    import torch

    from ssl_zoo.modalities.image.views.augment import Augment

    x = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    policy = Augment(size=16)
    views = policy(policy.collate(x, policy.draw(torch.Generator(), 2)))
    policy.picture(x, views)
    assert "torchvision" not in sys.modules
    policy.plain(torch.zeros(2, 3, 20, 20, dtype=torch.uint8))
    assert "torchvision" in sys.modules

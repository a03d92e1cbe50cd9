"""What takes the place of parts of `torch.cuda` where there is no GPU."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any


class Event:
    """An event of the device, which is always done."""

    def __init__(self, **_: bool) -> None: ...

    def record(self, stream: Any = None) -> None:
        """See torch."""

    def synchronize(self) -> None:
        """See torch: whoever waits for one, waits for what was asked for before it alone."""

    def query(self) -> bool:
        """See torch."""
        return True


def _stream(*_: Any, **__: Any) -> SimpleNamespace:
    return SimpleNamespace(wait_stream=lambda stream: None)


OF_CUDA: dict[str, Any] = {
    "Event": Event,
    "Stream": _stream,
    "current_stream": _stream,
    "stream": lambda stream: nullcontext(),
    "is_bf16_supported": lambda *_, **__: True,
}
"""By their names there."""

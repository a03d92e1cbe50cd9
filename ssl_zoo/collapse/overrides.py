"""Overrides of a recipe as a user types them."""

from __future__ import annotations

import shlex
from typing import Any

import yaml

END = "\n..."
"""The end marker that YAML writes after a bare scalar."""


def typed(key: str, value: Any) -> str:
    """Return an override as a user types it, quoted for the shell."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=float("inf"))
    return "-s " + shlex.quote(f"{key}={text.partition(END)[0].strip()}")

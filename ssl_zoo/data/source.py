"""Contracts of the data: sources offer named splits of samples, a modality decodes them, a view policy makes views.

A sample is opaque to everything but its modality and its view policy.
"""

from __future__ import annotations

from typing import Protocol

from ssl_zoo.data.modality import Media as Media
from ssl_zoo.data.modality import Modality as Modality
from ssl_zoo.data.split import Sample as Sample
from ssl_zoo.data.split import Samples as Samples
from ssl_zoo.data.split import Split as Split
from ssl_zoo.data.view_policy import ViewPolicy as ViewPolicy


class Source(Protocol):
    """An origin of data: the registered kind `source`. Its factory may ask for `modality` by position.

    Attributes:
        splits: the names of its splits, `train` first.
        notes: sentences for the user: what was left out, with counts and an example, and what was understood
            differently from its spelling.
    """

    splits: tuple[str, ...]
    notes: tuple[str, ...]

    def split(self, name: str) -> Split:
        """Return the split of that name."""

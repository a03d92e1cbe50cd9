"""Pictures of texts: each in a cell of a table, wrapped, in Pillow's own font."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

WIDTH = 300
"""Of a cell, in pixels."""
SIZE = 13
"""Of the letters, in pixels."""
MARGIN = 8
MOST_LINES = 12
LINE = SIZE + 4


def picture(rows: Sequence[Sequence[str]]) -> Tensor:
    """Return a table of texts `(3, H, W)`, uint8; long texts are cut.

    Args:
        rows: of texts, each with as many as the others.
    """
    font = ImageFont.load_default(SIZE)
    bands = []
    for row in rows:
        cells = [wrapped(text, font) for text in row]
        height = 2 * MARGIN + LINE * max(map(len, cells))
        image = Image.new("RGB", (WIDTH * len(row), height), "white")
        draw = ImageDraw.Draw(image)
        for number, lines in enumerate(cells):
            left = number * WIDTH
            draw.rectangle((left, 0, left + WIDTH - 1, height - 1), outline="#bbbbbb")
            colour = "#555555" if number == 0 else "#111111"
            for line, text in enumerate(lines):
                draw.text((left + MARGIN, MARGIN + line * LINE), text, fill=colour, font=font)
        bands.append(torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1))
    return torch.cat(bands, dim=1)


def wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """Return a text as lines that fit a cell, at most `MOST_LINES`; words longer than a line are broken."""
    lines = [""]
    for word in text.split():
        while word:
            joined = f"{lines[-1]} {word}" if lines[-1] else word
            if font.getlength(joined) <= WIDTH - 2 * MARGIN:
                lines[-1], word = joined, ""
            elif lines[-1]:
                lines.append("")
            else:
                fits = 1
                while font.getlength(word[: fits + 1]) <= WIDTH - 2 * MARGIN:  # the whole word does not fit
                    fits += 1
                lines[-1], word = word[:fits], word[fits:]
                lines.append("")
            if len(lines) > MOST_LINES:
                return [*lines[: MOST_LINES - 1], lines[MOST_LINES - 1] + " ..."]
    return [line for line in lines if line] or ["(nothing)"]

"""Line charts as SVG, drawn by hand: they take the colours of the page, light or dark, and need no library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

WIDTH, HEIGHT = 420, 230
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 10, 34
COLOURS = 8
"""Classes `s0` to `s7` of the style sheet; later lines take them again, dashed."""


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        name: of what it shows.
        number: which colour it has; beyond the last the line is dashed. None draws it grey and dashed, for comparison.
        xs: ascending.
        ys: of each x.
        spread: of each x, half the height of the band around the line, or None.
        marks: points `(x, y)` that get a cross.
    """

    name: str
    number: int | None
    xs: Sequence[float]
    ys: Sequence[float]
    spread: Sequence[float] | None = None
    marks: Sequence[tuple[float, float]] = field(default=())

    @property
    def style(self) -> str:
        """The class of its colour."""
        if self.number is None:
            return "grey dashed"
        return f"s{self.number % COLOURS}" + (" dashed" if self.number >= COLOURS else "")


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round numbers (1, 2 or 5 times a power of ten apart) from low to high, at most `most` + 1."""
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def powers(low: float, high: float) -> list[float]:
    """Return powers of ten from low to high, of which at most six."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    return [10.0**i for i in range(first, last + 1, max(1, -(-(last - first + 1) // 6)))]


def number(value: float) -> str:
    """Return a number as a label: `0.25`, `-3`, `2600`, `12k`, `1e-6`."""
    size = abs(value)
    if size >= 10_000 or 0 < size < 1e-3:
        return f"{value / 1000:g}k" if 10_000 <= size < 1e6 else f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:.4g}"


def line_chart(label: str, lines: Sequence[Line], x_label: str, log_y: bool = False) -> Markup:
    """Return a chart.

    Args:
        label: what it shows, for those who do not see it.
        lines: all with at least one point; with `log_y`, values that are not positive are left out.
        x_label: under the chart.
        log_y: whether the scale is logarithmic.
    """
    scale = _Scale(lines, log_y)
    parts = [
        *scale.grid(),
        f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 3}">{escape(x_label)}</text>',
    ]
    for line in reversed(lines):  # the first is drawn last, above the others
        parts += _drawn(line, scale)
    told = "; ".join(
        f"{line.name} from {number(line.ys[0])} to {number(line.ys[-1])}" for line in lines if len(line.ys)
    )
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(f"{label}: {told}")}">'
    return Markup(head + "".join(parts) + "</svg>")  # noqa: S704 - made here, all text escaped


class _Scale:
    """From values to places."""

    def __init__(self, lines: Sequence[Line], log_y: bool) -> None:
        self.log = log_y
        xs = [x for line in lines for x in line.xs]
        ys = [y for line in lines for y in _extent(line) if not log_y or y > 0]
        self.x0, self.x1 = _widened(min(xs, default=0.0), max(xs, default=1.0))
        low, high = min(ys, default=0.1), max(ys, default=1.0)
        if log_y:
            self.y0, self.y1 = low / 1.2, high * 1.2
        else:
            low, high = _widened(low, high)
            self.y0, self.y1 = low - 0.03 * (high - low), high + 0.03 * (high - low)

    def x(self, value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - self.x0) / (self.x1 - self.x0)

    def y(self, value: float) -> float:
        low, high = (math.log(self.y0), math.log(self.y1)) if self.log else (self.y0, self.y1)
        value = math.log(max(value, self.y0)) if self.log else value
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low)

    def grid(self) -> list[str]:
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        made = []
        for value in powers(self.y0, self.y1) if self.log else ticks(self.y0, self.y1):
            y = f"{self.y(value):.1f}"
            made += [f'<path class="grid" d="M{LEFT} {y}H{right}"/>']
            made += [f'<text class="tick" x="{LEFT - 6}" y="{y}" dy=".35em">{number(value)}</text>']
        for value in ticks(self.x0, self.x1):
            made += [f'<text class="axis" x="{self.x(value):.1f}" y="{bottom + 14}">{number(value)}</text>']
        return [*made, f'<path class="frame" d="M{LEFT} {bottom}H{right}"/>']


def _extent(line: Line) -> list[float]:
    if line.spread is None:
        return list(line.ys)
    return [y + sign * s for y, s in zip(line.ys, line.spread, strict=True) for sign in (-1, 1)]


def _widened(low: float, high: float) -> tuple[float, float]:
    """Return a range that is not empty."""
    if high - low > 1e-12 * max(abs(low), abs(high)):
        return low, high
    room = abs(low) * 0.05 or 0.5
    return low - room, high + room


def _drawn(line: Line, scale: _Scale) -> list[str]:
    places = [(scale.x(x), scale.y(y)) for x, y in zip(line.xs, line.ys, strict=True) if not scale.log or y > 0]
    if not places:
        return []
    parts = []
    if line.spread is not None and any(line.spread):
        upper = [(scale.x(x), scale.y(y + s)) for x, y, s in zip(line.xs, line.ys, line.spread, strict=True)]
        lower = [(scale.x(x), scale.y(y - s)) for x, y, s in zip(line.xs, line.ys, line.spread, strict=True)]
        parts.append(f'<path class="band {line.style}" d="{_path([*upper, *reversed(lower)])}Z"/>')
    if len(places) == 1:
        parts.append(f'<circle class="{line.style}" cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="2.5"/>')
    else:
        parts.append(f'<path class="line {line.style}" d="{_path(places)}"/>')
    for x, y in line.marks:
        cross = f"M{scale.x(x) - 5:.1f} {scale.y(y) - 5:.1f}l10 10m0 -10l-10 10"
        parts.append(f'<path class="cross {line.style}" d="{cross}"/>')
    return parts


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)

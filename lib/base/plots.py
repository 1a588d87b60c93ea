"""Plots as inline SVG: no script, no font, and the page's own colours, so they follow light and dark.

Every function returns markupsafe.Markup; labels are escaped. Sizes are in SVG units; the page scales them to
its width. A plot says its values in words, for those who do not see it. Labels stand above what they name, so
that a phone's larger letters have room.
"""

import math
from collections.abc import Sequence
from statistics import median

from markupsafe import Markup, escape

from lib.base.characters import visible

WIDTH = 640
EDGE = 36  # room for half of a number below either end of an axis
Series = tuple[str, Sequence[tuple[float, float]]]  # name, (x, y) points


def ticks(low: float, high: float, n: int = 5) -> list[float]:
    """About n round numbers that cover [low, high]."""
    if not high > low:
        low, high = low - 0.5, low + 0.5
    raw = (high - low) / n
    magnitude = 10 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw)
    first = math.floor(low / step)
    return [round((first + k) * step, 10) for k in range(math.ceil(high / step) - first + 1)]


def number(value: float) -> str:
    """1234.5 -> 1,234; 0.25 -> 0.25; no needless zeros."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def _svg(height: float, title: str, values: Sequence[str], body: Sequence[Markup]) -> Markup:
    """values: what the plot shows, as words."""
    said = Markup("<title>{}</title><desc>{}</desc>").format(
        visible(title), visible("; ".join(values)) or "no values"
    )
    return Markup('<svg viewBox="0 0 {} {}" role="img">{}{}</svg>').format(
        WIDTH, round(height), said, Markup("").join(body)
    )


def _text(x: float, y: float, text: str, anchor: str = "start", kind: str = "label") -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}" class="{}">{}</text>').format(
        x, y, Markup(anchor), Markup(kind), visible(text)
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>').format(
        x1, y1, x2, y2, Markup(kind)
    )


def _bar(x: float, y: float, width: float, height: float) -> Markup:
    return Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="2" class="bar"/>').format(
        x, y, width, height
    )


def intervals(
    rows: Sequence[tuple[str, float, float, float]], title: str, reference: float, unit: str = ""
) -> Markup:
    """Two lines a row: label and value, below them a dot at the estimate on a bar from low to high.

    A dashed line marks the value that means "no difference".
    """
    low = min([reference, *(row[2] for row in rows)])
    high = max([reference, *(row[3] for row in rows)])
    marks = ticks(low, high)
    left, right, row_height = EDGE, WIDTH - EDGE, 56

    def x(value: float) -> float:
        return left + (value - marks[0]) / (marks[-1] - marks[0]) * (right - left)

    bottom = row_height * len(rows) + 8
    body = [_line(x(mark), 6, x(mark), bottom, "grid") for mark in marks]
    body += [_text(x(mark), bottom + 22, number(mark) + unit, "middle", "tick") for mark in marks]
    body.append(_line(x(reference), 2, x(reference), bottom, "reference"))
    said = []
    for index, (label, value, lower, upper) in enumerate(rows):
        y = row_height * index + 44
        span = f"{number(value)}{unit} ({number(lower)} to {number(upper)})"
        said.append(f"{label}: {span}")
        body += [_text(0, y - 20, label), _text(WIDTH, y - 20, span, "end", "value")]
        body.append(_line(x(lower), y, x(upper), y, "interval"))
        body.append(Markup('<circle cx="{:.1f}" cy="{:.1f}" r="6" class="dot"/>').format(x(value), y))
    return _svg(bottom + 30, title, said, body)


def bars(rows: Sequence[tuple[str, float]], title: str, unit: str = "") -> Markup:
    """Horizontal bars from zero, label and value above each."""
    top = max([value for _, value in rows], default=0) or 1
    row_height = 48
    body = []
    for index, (label, value) in enumerate(rows):
        y = row_height * index
        body += [_text(0, y + 20, label), _text(WIDTH, y + 20, number(value) + unit, "end", "value")]
        body.append(_bar(0, y + 28, max(0.0, value / top) * WIDTH, 10))
    said = [f"{label}: {number(value)}{unit}" for label, value in rows]
    return _svg(row_height * len(rows) + 4, title, said, body)


def histogram(
    values: Sequence[float], title: str, x_label: str, n_bins: int = 20, log: bool = False
) -> Markup:
    """Bars of how often each size occurs.

    log: bins of equal ratio, for likes and followers (zeros count in the first bin).
    """
    scaled = [math.log10(max(value, 1)) if log else float(value) for value in values]
    low, high = (min(scaled), max(scaled)) if scaled else (0.0, 1.0)
    if high <= low:
        high = low + 1
    counts = [0] * n_bins
    for value in scaled:
        counts[min(n_bins - 1, int((value - low) / (high - low) * n_bins))] += 1
    left, right, top, bottom = 72, WIDTH - 12, 10, 180
    width = (right - left) / n_bins
    highest = max(counts) or 1

    def at(share: float) -> str:
        value = low + share * (high - low)
        return number(round(10**value if log else value))

    body = [
        _line(left, bottom, right, bottom, "axis"),
        _text(left - 8, top + 12, number(highest), "end", "tick"),
    ]
    for index, count in enumerate(counts):
        height = count / highest * (bottom - top)
        body.append(_bar(left + index * width + 1, bottom - height, width - 2, height))
    for share in (0, 0.25, 0.5, 0.75, 1):
        anchor = "start" if share == 0 else "end" if share == 1 else "middle"
        body.append(_text(left + share * (right - left), bottom + 22, at(share), anchor, "tick"))
    body.append(_text((left + right) / 2, bottom + 48, x_label, "middle", "tick"))
    said = [f"{len(values):,} values of {x_label}"]
    if values:
        fullest = counts.index(highest)
        said += [
            f"from {number(min(values))} to {number(max(values))}, median {number(median(values))}",
            f"most often, {number(highest)} times, {at(fullest / n_bins)} to {at((fullest + 1) / n_bins)}",
        ]
    return _svg(bottom + 56, title, said, body)


def lines(series: Sequence[Series], title: str, x_label: str) -> Markup:
    """Up to four curves over one x axis, with a legend above them, two names a row."""
    points = [point for _, curve in series for point in curve if math.isfinite(point[1])]
    if not points:
        return Markup("")
    x_marks = ticks(min(x for x, _ in points), max(x for x, _ in points))
    y_marks = ticks(min(y for _, y in points), max(y for _, y in points))
    top = 14 + 26 * math.ceil(len(series) / 2)
    left, right, bottom = 72, WIDTH - EDGE, top + 202

    def place(x: float, y: float) -> tuple[float, float]:
        across = left + (x - x_marks[0]) / (x_marks[-1] - x_marks[0]) * (right - left)
        return across, bottom - (y - y_marks[0]) / (y_marks[-1] - y_marks[0]) * (bottom - top)

    body = []
    for mark in y_marks:
        y = place(x_marks[0], mark)[1]
        body += [_line(left, y, right, y, "grid"), _text(left - 8, y + 5, number(mark), "end", "tick")]
    for mark in x_marks:
        body.append(_text(place(mark, y_marks[0])[0], bottom + 22, number(mark), "middle", "tick"))
    for index, (name, curve) in enumerate(series):
        path = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in curve if math.isfinite(y))
        body.append(Markup('<polyline points="{}" class="line s{}"/>').format(path, index % 4))
        x, y = (0 if index % 2 == 0 else WIDTH / 2), 14 + 26 * (index // 2)
        body += [_line(x, y, x + 22, y, f"line s{index % 4}"), _text(x + 30, y + 5, name)]
    body.append(_text((left + right) / 2, bottom + 48, x_label, "middle", "tick"))
    return _svg(bottom + 56, title, [_course(name, curve, x_label) for name, curve in series], body)


def _course(name: str, curve: Sequence[tuple[float, float]], x_label: str) -> str:
    """A curve in words: its first, last and lowest value."""
    known = [point for point in curve if math.isfinite(point[1])]
    if not known:
        return f"{name}: no values"
    (first, start), (last, end), (at, lowest) = known[0], known[-1], min(known, key=lambda point: point[1])
    return (
        f"{name}: {number(start)} at {x_label} {number(first)}, {number(end)} at {number(last)}, "
        f"lowest {number(lowest)} at {number(at)}"
    )


def label(text: str, n_chars: int = 32) -> str:
    """text short enough to stand beside a value in intervals() and bars()."""
    return text if len(text) <= n_chars else text[: n_chars - 1] + "…"


def document(svg: Markup) -> str:
    """svg as a file of its own, with the colours that the page would have given it."""
    style = "text{font:14px system-ui,sans-serif;fill:#555}.grid{stroke:#ddd}.line{fill:none;stroke-width:2}"
    colours = "".join(
        f".s{index}{{stroke:{colour}}}"
        for index, colour in enumerate(("#2563a8", "#c2571a", "#2e7d4f", "#7a4fa0"))
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
    return str(svg).replace("<svg ", head, 1).replace(">", f"><style>{escape(style)}{colours}</style>", 1)

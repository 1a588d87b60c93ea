"""Plots as inline SVG: no script, no font, and the page's own colours, so they follow light and dark.

Every function returns markupsafe.Markup; labels are escaped. Sizes are in SVG units; the page scales them to
its width.
"""

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

WIDTH = 640
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


def _svg(height: float, title: str, body: Sequence[Markup]) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, round(height), title, Markup("").join(body)
    )


def _text(x: float, y: float, text: str, anchor: str = "start", kind: str = "label") -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}" class="{}">{}</text>').format(
        x, y, Markup(anchor), Markup(kind), text
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>').format(
        x1, y1, x2, y2, Markup(kind)
    )


def intervals(
    rows: Sequence[tuple[str, float, float, float]], title: str, reference: float, unit: str = ""
) -> Markup:
    """One line a row: label, a dot at the estimate, a bar from low to high.

    A dashed line marks the value that means "no difference".
    """
    low = min([reference, *(row[2] for row in rows)])
    high = max([reference, *(row[3] for row in rows)])
    marks = ticks(low, high)
    left, right, row_height = 190, WIDTH - 70, 34

    def x(value: float) -> float:
        return left + (value - marks[0]) / (marks[-1] - marks[0]) * (right - left)

    bottom = row_height * len(rows) + 10
    body = [_line(x(mark), 6, x(mark), bottom, "grid") for mark in marks]
    body += [_text(x(mark), bottom + 18, number(mark) + unit, "middle", "tick") for mark in marks]
    body.append(_line(x(reference), 2, x(reference), bottom, "reference"))
    for index, (label, value, lower, upper) in enumerate(rows):
        y = row_height * index + row_height / 2 + 4
        body.append(_text(left - 14, y + 4, label, "end"))
        body.append(_line(x(lower), y, x(upper), y, "interval"))
        body.append(Markup('<circle cx="{:.1f}" cy="{:.1f}" r="5" class="dot"/>').format(x(value), y))
        body.append(_text(right + 12, y + 4, number(value) + unit, "start", "value"))
    return _svg(bottom + 26, title, body)


def bars(rows: Sequence[tuple[str, float]], title: str, unit: str = "") -> Markup:
    """Horizontal bars from zero, the value behind each."""
    top = max([value for _, value in rows], default=0) or 1
    left, right, row_height = 190, WIDTH - 70, 26
    body = []
    for index, (label, value) in enumerate(rows):
        y = row_height * index + 4
        width = max(0.0, value / top) * (right - left)
        body.append(_text(left - 14, y + 14, label, "end"))
        body.append(
            Markup('<rect x="{}" y="{:.1f}" width="{:.1f}" height="16" rx="3" class="bar"/>').format(
                left, y, width
            )
        )
        body.append(_text(left + width + 8, y + 14, number(value) + unit, "start", "value"))
    return _svg(row_height * len(rows) + 8, title, body)


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
    left, right, top, bottom = 46, WIDTH - 12, 10, 170
    width = (right - left) / n_bins
    highest = max(counts) or 1
    body = [
        _line(left, bottom, right, bottom, "axis"),
        _text(left - 8, top + 10, number(highest), "end", "tick"),
    ]
    for index, count in enumerate(counts):
        height = count / highest * (bottom - top)
        body.append(
            Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" class="bar"/>').format(
                left + index * width + 1, bottom - height, width - 2, height
            )
        )
    for share in (0, 0.25, 0.5, 0.75, 1):
        value = low + share * (high - low)
        anchor = "start" if share == 0 else "end" if share == 1 else "middle"
        body.append(
            _text(
                left + share * (right - left),
                bottom + 18,
                number(round(10**value if log else value)),
                anchor,
                "tick",
            )
        )
    body.append(_text((left + right) / 2, bottom + 38, x_label, "middle", "tick"))
    return _svg(bottom + 46, title, body)


def lines(series: Sequence[Series], title: str, x_label: str) -> Markup:
    """Up to four curves over one x axis, with a legend above them."""
    points = [point for _, curve in series for point in curve if math.isfinite(point[1])]
    if not points:
        return Markup("")
    x_marks = ticks(min(x for x, _ in points), max(x for x, _ in points))
    y_marks = ticks(min(y for _, y in points), max(y for _, y in points))
    left, right, top, bottom = 52, WIDTH - 16, 34, 236

    def place(x: float, y: float) -> str:
        across = left + (x - x_marks[0]) / (x_marks[-1] - x_marks[0]) * (right - left)
        down = bottom - (y - y_marks[0]) / (y_marks[-1] - y_marks[0]) * (bottom - top)
        return f"{across:.1f},{down:.1f}"

    body = []
    for mark in y_marks:
        y = float(place(x_marks[0], mark).split(",")[1])
        body += [_line(left, y, right, y, "grid"), _text(left - 8, y + 4, number(mark), "end", "tick")]
    for mark in x_marks:
        body.append(
            _text(float(place(mark, y_marks[0]).split(",")[0]), bottom + 18, number(mark), "middle", "tick")
        )
    legend_x = float(left)
    for index, (name, curve) in enumerate(series):
        path = " ".join(place(x, y) for x, y in curve if math.isfinite(y))
        body.append(Markup('<polyline points="{}" class="line s{}"/>').format(path, index % 4))
        body += [_line(legend_x, 14, legend_x + 22, 14, f"line s{index % 4}"), _text(legend_x + 28, 18, name)]
        legend_x += 48 + (10 if len(series) <= 2 else 7.5) * len(
            name
        )  # a phone's text is half as large again, where there is room
    body.append(_text((left + right) / 2, bottom + 38, x_label, "middle", "tick"))
    return _svg(bottom + 46, title, body)


def label(text: str, n_chars: int = 24) -> str:
    """text short enough for the left margin of intervals() and bars()."""
    return text if len(text) <= n_chars else text[: n_chars - 1] + "…"


def document(svg: Markup) -> str:
    """svg as a file of its own, with the colours that the page would have given it."""
    style = "text{font:12px system-ui,sans-serif;fill:#555}.grid{stroke:#ddd}.line{fill:none;stroke-width:2}"
    colours = "".join(
        f".s{index}{{stroke:{colour}}}"
        for index, colour in enumerate(("#2563a8", "#c2571a", "#2e7d4f", "#7a4fa0"))
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
    return str(svg).replace("<svg ", head, 1).replace(">", f"><style>{escape(style)}{colours}</style>", 1)

"""Curves and intervals as SVG, drawn by hand: crisp, without scripts, light and dark.

Colours are CSS variables of the page with a fallback, so that a figure follows the page's scheme
and still stands alone. Each figure is drawn twice, for a desk and for a phone: text keeps its size
and the layout changes, which scaling one drawing cannot do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from textwrap import wrap

from trompe.reports.axes import Axis, Frame, axis, fit, label
from trompe.reports.document import Curve, Forest, Metric, Series
from trompe.reports.wording import measured, number, percent

__all__ = ["COLOURS", "curve", "forest", "ink", "lettering", "marker", "swatch"]

COLOURS = (
    "#0b6b7d", "#b8500a", "#6a48ad", "#37742f", "#ad1f5c", "#5f656d", "#1f55b0", "#806000",
)  # fmt: skip
DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2", "12 4", "9 2 2 2 2 2", "1 3")
FAR = 60
"""Pixels between a line's end and its label, from which on a plain leader would look like the line."""
LINE_HEIGHT = 15
LETTER = 7.2
WIDE, NARROW = 800, 340

Point = tuple[float, float]


def ink(index: int) -> str:
    """The colour of a series: the page's, and one of its own where there is no page."""
    number_ = index % len(COLOURS)
    return f"var(--s{number_ + 1}, {COLOURS[number_]})"


def _words(text: str) -> str:
    return escape(text, quote=True)


def lettering(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    """Words at a place, of the page's style for their kind."""
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{_words(text)}</text>'


def marker(
    index: int, x: float, y: float, title: str = "", size: float = 3.6, *, hollow: bool = False
) -> str:
    """A point of the series: shape and colour both say which; a published one is hollow."""
    s = size
    shapes = (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{s:.1f}"',
        f'<rect x="{x - s:.1f}" y="{y - s:.1f}" width="{2 * s:.1f}" height="{2 * s:.1f}"',
        f'<path d="M{x:.1f} {y - 1.35 * s:.1f}l{1.35 * s:.1f} {1.35 * s:.1f}'
        f'l{-1.35 * s:.1f} {1.35 * s:.1f}l{-1.35 * s:.1f} {-1.35 * s:.1f}z"',
        f'<path d="M{x:.1f} {y - 1.3 * s:.1f}l{1.3 * s:.1f} {2.3 * s:.1f}h{-2.6 * s:.1f}z"',
        f'<path d="M{x:.1f} {y + 1.3 * s:.1f}l{1.3 * s:.1f} {-2.3 * s:.1f}h{-2.6 * s:.1f}z"',
    )
    tip = f"<title>{_words(title)}</title>" if title else ""
    rim = f'fill="none" stroke="{ink(index)}" stroke-width="1.8"'
    look = rim if hollow else f'fill="{ink(index)}"'
    return f"{shapes[index % len(shapes)]} {look}>{tip}</{_tag(index)}>"


def _tag(index: int) -> str:
    return ("circle", "rect", "path", "path", "path")[index % 5]


def swatch(index: int) -> str:
    """The key of one series: a stroke of its line with its marker."""
    dash = DASHES[index % len(DASHES)]
    return (
        '<svg class="swatch" viewBox="0 0 30 12" width="30" height="12" aria-hidden="true">'
        f'<path d="M1 6H29" fill="none" stroke="{ink(index)}" stroke-width="2" '
        f'stroke-dasharray="{dash}"/>{marker(index, 15, 6)}</svg>'
    )


def _open(width: float, height: float, kind: str, words: str) -> str:
    return (
        f'<svg class="{kind}" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" aria-label="{_words(words)}" '
        'font-size="12" fill="currentColor" xmlns="http://www.w3.org/2000/svg">'
    )


def _runs(points: Sequence[tuple[float, ...]]) -> list[list[tuple[float, ...]]]:
    """The points in runs without a gap; a NaN makes the gap."""
    runs: list[list[tuple[float, ...]]] = [[]]
    for point in points:
        if all(math.isfinite(value) for value in point):
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _path(points: Sequence[tuple[float, ...]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _visible(series: Series, x: Axis) -> list[int]:
    """The points in order of x that the axis can show."""
    keep = [i for i, value in enumerate(series.x) if not x.log or value > 0]
    return sorted(keep, key=lambda i: series.x[i])


def _band(series: Series, index: int, frame: Frame, keep: Sequence[int]) -> str:
    if not series.low:
        return ""
    x, y = frame.x, frame.y
    edge = [(x.at(series.x[i]), y.at(series.low[i]), y.at(series.high[i])) for i in keep]
    shapes = []
    for run in _runs(edge):
        upper, lower = [(a, c) for a, _, c in run], [(a, b) for a, b, _ in reversed(run)]
        shapes.append(
            f'<path d="{_path([*upper, *lower])}z" fill="{ink(index)}" fill-opacity=".14"/>'
        )
    return "".join(shapes)


def _bounded(series: Series, i: int, y: Axis) -> bool:
    """Whether the axis can show no more of this point than that it is at most so high."""
    return y.log and series.y[i] <= 0 and bool(series.high) and series.high[i] > 0


def _place(series: Series, i: int, frame: Frame) -> Point:
    """Where a point stands; an upper bound at its bound, what the axis cannot show nowhere (NaN)."""
    value = series.high[i] if _bounded(series, i, frame.y) else series.y[i]
    return frame.x.at(series.x[i]), math.nan if frame.y.log and value <= 0 else frame.y.at(value)


def _bound(index: int, x: float, y: float, title: str) -> str:
    """An upper bound: a bar with an arrow downwards."""
    return (
        f'<path d="M{x - 5:.1f} {y:.1f}h10M{x:.1f} {y:.1f}v12m-3.5 -4.5l3.5 4.5l3.5 -4.5" '
        f'fill="none" stroke="{ink(index)}" stroke-width="1.8"><title>{_words(title)}</title>'
        "</path>"
    )


def _line(series: Series, index: int, frame: Frame, keep: Sequence[int], show: bool) -> str:
    points = {i: _place(series, i, frame) for i in keep}
    bounds = {i for i in keep if _bounded(series, i, frame.y)}
    line = [(a, math.nan if i in bounds else b) for i, (a, b) in points.items()]
    dash = DASHES[index % len(DASHES)]
    lines = [
        f'<path d="{_path(run)}" fill="none" stroke="{ink(index)}" stroke-width="2" '
        f'stroke-linejoin="round" stroke-dasharray="{dash}"/>'
        for run in _runs(line)
        if not series.published
    ]
    marks = [
        _bound(index, a, b, _tip(series, i, show))
        if i in bounds
        else marker(index, a, b, _tip(series, i, show), hollow=series.published)
        for i, (a, b) in points.items()
        if math.isfinite(b)
    ]
    return "".join(lines + (marks if len(marks) <= 24 or series.published else []))


def _tip(series: Series, i: int, show: bool) -> str:
    say = percent if show else number
    ends = f" ({say(series.low[i])} to {say(series.high[i])})" if series.low else ""
    return f"{_name(series)}: {say(series.y[i])}{ends} at {number(series.x[i])}"


def _name(series: Series) -> str:
    return f"{series.label} (published)" if series.published else series.label


def _grid(frame: Frame, figure: Curve | Forest) -> str:
    """Gridlines, ticks and the two axis labels; the y label lies above the axis, to be read."""
    x, y, parts = frame.x, frame.y, []
    for tick in y.ticks if isinstance(figure, Curve) else ():
        parts.append(f'<path class="rule" d="M{x.start:.1f} {y.at(tick):.1f}H{x.end:.1f}"/>')
        say = label(y, tick, percent=figure.percent)
        parts.append(lettering(x.start - 8, y.at(tick) + 4, say, "tick", "end"))
    for tick in x.ticks:
        kind = "rule faint" if isinstance(figure, Curve) else "rule"
        parts.append(f'<path class="{kind}" d="M{x.at(tick):.1f} {y.end:.1f}V{y.start:.1f}"/>')
        rate = isinstance(figure, Forest) and figure.percent
        say = label(x, tick, percent=rate)
        parts.append(lettering(x.at(tick), y.start + 18, say, "tick", "middle"))
    parts.append(f'<path class="axis" d="M{x.start:.1f} {y.start:.1f}H{x.end:.1f}"/>')
    middle = (x.start + x.end) / 2
    parts.append(lettering(middle, y.start + 38, figure.x_label, "label", "middle"))
    if isinstance(figure, Curve):
        parts.append(lettering(2, y.end - 14, figure.y_label, "label"))
        parts += [_upright(frame, place, words) for place, words in figure.marks]
        parts.append(lettering(x.end, y.end - 14, _signs(figure, frame), "label", "end"))
    return "".join(parts)


def _upright(frame: Frame, place: float, words: str) -> str:
    x, y = frame.x.at(place), frame.y
    line = f'<path class="axis" d="M{x:.1f} {y.end:.1f}V{y.start:.1f}" stroke-dasharray="2 4"/>'
    early = x < (frame.x.start + frame.x.end) / 2
    side, anchor = (5, "start") if early else (-5, "end")
    return line + lettering(x + side, y.start - 8, words, "tick", anchor)


def _signs(figure: Curve, frame: Frame) -> str:
    """What hollow marks and arrows mean, where there are any."""
    lines = figure.series
    bounds = any(_bounded(line, i, frame.y) for line in lines for i in range(len(line.x)))
    words = ["hollow: published"] * any(line.published for line in lines)
    return ", ".join(words + ["arrow: at most"] * bounds)


@dataclass(frozen=True)
class _Label:
    index: int
    lines: list[str]
    end: Point


def _spread(labels: Sequence[_Label], top: float, bottom: float) -> list[float]:
    """Heights for labels that want to stand at their line's end but must not overlap."""
    heights = [len(label.lines) * LINE_HEIGHT + 5 for label in labels]
    middles: list[float] = []
    floor = top
    for item, height in zip(labels, heights, strict=True):
        middles.append(max(item.end[1], floor + height / 2))
        floor = middles[-1] + height / 2
    ceiling = bottom
    for i in reversed(range(len(labels))):
        middles[i] = min(middles[i], ceiling - heights[i] / 2)
        ceiling = middles[i] - heights[i] / 2
    return middles


def _labels(figure: Curve, frame: Frame, width: int) -> str:
    found = []
    for index, name in enumerate(figure.labels):
        series = min((s for s in figure.series if s.label == name), key=lambda s: s.published)
        places = [_place(series, i, frame) for i in _visible(series, frame.x)]
        ends = [place for place in places if math.isfinite(place[1])]
        if ends:
            found.append(_Label(index, wrap(name, width) or [""], ends[-1]))
    found.sort(key=lambda label: label.end[1])
    parts = []
    left = frame.x.end + 26
    for item, middle in zip(found, _spread(found, frame.y.end - 6, frame.y.start + 6), strict=True):
        colour = ink(item.index)
        x, y = item.end
        dots = ' stroke-dasharray="1 4"' if left - x > FAR else ""
        parts.append(
            f'<path d="M{x + 6:.1f} {y:.1f}L{left - 5:.1f} {middle:.1f}" fill="none" '
            f'stroke="{colour}" stroke-width="1" stroke-opacity=".55"{dots}/>'
        )
        first = middle - (len(item.lines) - 1) * LINE_HEIGHT / 2 + 4
        for line, text in enumerate(item.lines):
            parts.append(
                f'<text x="{left:.1f}" y="{first + line * LINE_HEIGHT:.1f}" class="series" '
                f'fill="{colour}">{_words(text)}</text>'
            )
    return "".join(parts)


def _limits(figure: Curve) -> tuple[list[float], list[float]]:
    xs = [x for s in figure.series for x in s.x] + [x for x, _ in figure.marks]
    xs = [x for x in xs if not figure.log_x or x > 0]
    ys = [y for s in figure.series for y in (*s.y, *s.low, *s.high)]
    if figure.log_y:  # the low end of an interval may be far below what was measured
        ys = [y for s in figure.series for y in s.y if y > 0]
        ys += [
            h / 2 for s in figure.series for y, h in zip(s.y, s.high, strict=False) if y <= 0 < h
        ]
    return [x for x in xs if math.isfinite(x)], [y for y in ys if math.isfinite(y)]


def _upward(figure: Curve, values: Sequence[float], start: float, end: float) -> Axis:
    """The y axis of a figure; a logarithmic one holds whole decades."""
    if not figure.log_y:
        low, high = figure.y_range or ((0.0, 1.0) if figure.percent else fit(values))
        return axis([low, high], start, end, tight=figure.percent)
    low, high = figure.y_range or (min(values, default=0.1), max(values, default=1.0))
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return axis([10.0 ** min(first, last - 1), 10.0**last], start, end, log=True)


def _curve(figure: Curve, wide: bool) -> str:
    xs, ys = _limits(figure)
    width, height = (WIDE, 380) if wide else (NARROW, 290)
    letters = 21 if wide else 0
    longest = max((len(t) for s in figure.series for t in wrap(s.label, 21)), default=0)
    right = 34 + LETTER * longest if wide else 14
    horizontal = axis(xs or [0.0, 1.0], 48, width - right, log=figure.log_x, tight=True)
    frame = Frame(horizontal, _upward(figure, ys, height - 48, 36))
    parts = [_open(width, height, "wide" if wide else "narrow", _describe(figure))]
    parts.append(_grid(frame, figure))
    kept = [_visible(series, frame.x) for series in figure.series]
    places = [figure.labels.index(series.label) for series in figure.series]
    for series, index, keep in zip(figure.series, places, kept, strict=True):
        parts.append(_band(series, index, frame, keep))
    for series, index, keep in zip(figure.series, places, kept, strict=True):
        parts.append(_line(series, index, frame, keep, figure.percent))
    parts.append(_labels(figure, frame, letters) if wide else "")
    return "".join([*parts, "</svg>"])


def _describe(figure: Curve) -> str:
    """The figure in words: where each line begins and ends."""
    say = percent if figure.percent else number
    lines = []
    for series in figure.series:
        keep = [i for i, y in enumerate(series.y) if math.isfinite(y)]
        if keep:
            first, last = keep[0], keep[-1]
            lines.append(
                f"{_name(series)}: {say(series.y[first])} at {number(series.x[first])}, "
                f"{say(series.y[last])} at {number(series.x[last])}"
            )
    return f"{figure.caption}. {figure.y_label} against {figure.x_label}. " + "; ".join(lines)


def curve(figure: Curve) -> str:
    """The curve as two SVG elements, of which the page shows one: ``.wide`` and ``.narrow``.

    The wide drawing carries its labels where the lines end; beside the narrow one the page sets a
    key, made with ``swatch``.

    Example:
        >>> line = Series("MLP", (0, 0.1, 0.2), (0.97, 0.6, 0.1))
        >>> drawing = curve(Curve("Accuracy", "eps", "accuracy", (line,), percent=True))
        >>> drawing.count("<svg"), drawing.count("</svg>")
        (2, 2)
    """
    return _curve(figure, wide=True) + _curve(figure, wide=False)


def _interval(metric: Metric | None, index: int, x: Axis, y: float) -> str:
    if metric is None or not math.isfinite(metric.value):
        return ""
    whisker = ""
    if metric.low is not None and metric.high is not None:
        whisker = (
            f'<path d="M{x.at(metric.low):.1f} {y:.1f}H{x.at(metric.high):.1f}" fill="none" '
            f'stroke="{ink(index)}" stroke-width="2.5" stroke-opacity=".6"/>'
        )
    return whisker + marker(index, x.at(metric.value), y, f"{metric.name}: {measured(metric)}", 4.2)


def _forest(figure: Forest, wide: bool) -> str:
    width, step = (WIDE, 40) if wide else (NARROW, 64)
    ends = [
        value
        for _, metrics in figure.rows
        for metric in metrics
        if metric is not None
        for value in (metric.value, metric.low, metric.high)
        if value is not None and math.isfinite(value)
    ]
    limits = (0.0, 1.0) if figure.percent else fit(ends)
    lines = [wrap(name, 38 if wide else 44)[:2] or [""] for name, _ in figure.rows]
    longest = max((len(text) for line in lines for text in line), default=0)
    left = 30 + 1.1 * LETTER * longest if wide else 16  # names are bold
    bottom = 14 + step * len(figure.rows)
    x = axis(list(limits), left, width - 24, tight=figure.percent)
    frame = Frame(x, axis([0.0, 1.0], bottom, 6))
    names = "; ".join(name for name, _ in figure.rows)
    words = f"{figure.caption}. {' against '.join(figure.groups)}: {names}"
    height = bottom + (48 if figure.x_label else 28)
    parts = [_open(width, height, "wide" if wide else "narrow", words), _grid(frame, figure)]
    for row, (_, metrics) in enumerate(figure.rows):
        middle = 14 + step * (row + (0.5 if wide else 0.74))
        parts.append(_names(lines[row], left, middle, wide))
        for index, metric in enumerate(metrics):
            offset = (index - (len(metrics) - 1) / 2) * 10
            parts.append(_interval(metric, index, x, middle + offset))
    return "".join([*parts, "</svg>"])


def _names(lines: Sequence[str], left: float, middle: float, wide: bool) -> str:
    """A row's name: left of the axis on a desk, above its intervals on a phone."""
    anchor, x = ("end", left - 14) if wide else ("start", 2.0)
    first = middle + 4 - (len(lines) - 1) * LINE_HEIGHT / 2 if wide else middle - 16
    if not wide:
        first -= (len(lines) - 1) * LINE_HEIGHT
    return "".join(
        lettering(x, first + i * LINE_HEIGHT, text, "series", anchor)
        for i, text in enumerate(lines)
    )


def forest(figure: Forest) -> str:
    """The intervals as two SVG elements, ``.wide`` and ``.narrow``; the page sets the key."""
    return _forest(figure, wide=True) + _forest(figure, wide=False)

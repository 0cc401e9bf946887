"""The page and the picture of `type_one/figure_2`."""

from collections.abc import Sequence
from typing import Any

from trompe.evaluation.records import Record
from trompe.experiments.type_one._shown import find, mean, one, rate
from trompe.experiments.type_one._toys import rounded
from trompe.experiments.type_one.figure_2 import FEATURES, KINDS, PUBLISHED, SAME
from trompe.reports import Cell, Table, markdown_table
from trompe.reports.axes import Frame, axis
from trompe.reports.figures import COLOURS

__all__ = ["drawing", "rendered"]

PICTURE = "type-one-features.svg"
WIDTH, HEIGHT, MARGIN = 400, 340, 44
ARROWS = 3
CLASSES, MOVES = (COLOURS[1], COLOURS[3]), {"Type I": COLOURS[4], "Type II": COLOURS[0]}


def rendered(records: list[Record]) -> str:
    """The item's part of the page."""
    shown = f"![Both attacks, as f2 and as f1 see them](pictures/{PICTURE})"
    legend = (
        "Left what the oracle f2 reads, right what f1 has learned to read: the same points, the same moves, "
        "and each classifier's boundary. Type I crosses the boundary on the left and Type II that "
        "on the right."
    )
    return "\n\n".join([*_learned(records), _shifted(records), *_attacked(records), shown, legend])


def _learned(records: list[Record]) -> list[str]:
    accuracy = one(records, "accuracy")
    assert accuracy is not None
    rows: list[tuple[Cell, ...]] = []
    felt = {}
    for name in ("f1", "f2"):
        each = [one(records, "sensitivity", subject=name, feature=feature) for feature in FEATURES]
        felt[name] = [r.value for r in each if r is not None]
        rows.append((name, *map(mean, each), accuracy.n))
    missing = felt["f1"][1] / max(felt["f1"])
    how: Any = accuracy.config["training"]
    published, where = PUBLISHED["accuracy"]
    right = "holds" if accuracy.value >= published else "does not hold"
    said = (
        f"f1, a perceptron of {accuracy.config['hidden']} hidden units trained on "
        f"{how['steps'] * how['batch']:,} samples, classifies {rate(accuracy)} of {accuracy.n} new "
        "ones as f2 "
        f"does; all of them ({where}): **{right}**. The table says how strongly each answers to a "
        "feature: the "
        "mean slope of its log-odds times the feature's standard deviation. f1 gives x2 "
        f"{100 * missing:.1f}% of the weight of its strongest feature, and f2 gives x3 none."
    )
    columns = ("Classifier", *FEATURES, "n")
    return [said, markdown_table(Table("", columns, tuple(rows)))]


def _shifted(records: list[Record]) -> str:
    found = find(records, "answer kept")
    shifts = list(dict.fromkeys(float(r.config["shift"]) for r in found))
    rows: list[tuple[Cell, ...]] = []
    for feature in FEATURES[1:]:
        for name in ("f1", "f2"):
            line = [
                one(found, "answer kept", subject=name, feature=feature, shift=s) for s in shifts
            ]
            rows.append((feature, name, *map(rate, line), found[0].n))
    heads = tuple(f"by {shift:g}" for shift in shifts)
    said = (
        "Answers that stay when one feature is shifted against the class, by so many standard "
        "deviations. x2 is "
        "missing in f1, which is blind to a shift that changes f2: "
        f"**{_parted(found, 'x2', 'f1', 'f2')}**. x3 is "
        f"unnecessary, and changes f1 alone: **{_parted(found, 'x3', 'f2', 'f1')}**."
    )
    return "\n\n".join(
        [said, markdown_table(Table("", ("Feature", "Classifier", *heads, "n"), tuple(rows)))]
    )


def _parted(records: list[Record], feature: str, blind: str, sees: str) -> str:
    """Whether the largest shift changes nearly all answers of one classifier and hardly one of the other."""
    line = {
        name: find(records, "answer kept", subject=name, feature=feature)[-1]
        for name in (blind, sees)
    }
    kept, lost = line[blind], line[sees]
    assert kept.low is not None
    assert lost.high is not None
    return "holds" if kept.low > 0.95 and lost.high < 0.05 else "does not hold"


def _attacked(records: list[Record]) -> list[str]:
    rows: list[tuple[Cell, ...]] = []
    every = True
    for kind in KINDS:
        found = one(records, "success", kind=kind)
        assert found is not None
        every &= found.value == 1
        shares = (f"{100 * found.extra[name]:.1f}%" for name in FEATURES)
        keeps, changes = ("f1", "f2") if kind == "Type I" else ("f2", "f1")
        rows.append((kind, keeps, changes, rate(found), *shares, f"{found.extra['distance']:.3f}",
                     rounded(found.extra["drift"]), found.n))  # fmt: skip
    columns = ("Attack", "Keeps", "Changes", "Success", *(f"Share of {name}" for name in FEATURES),
               "Mean distance", "Largest drift", "n")  # fmt: skip
    said = (
        "Both attacks on every sample. Success: the log-odds of the classifier that is kept move "
        "by less than "
        f"{SAME:g}, and the other's answer changes. The share of a feature is that of the squared move, in "
        "standard deviations; the largest drift is of the log-odds that are kept."
    )
    verdict = (
        "Every sample is open to both types, at the same classifier: "
        f"**{'holds' if every else 'does not hold'}**. Type II need not use x3 alone, since f2 does "
        "not answer "
        "either where x1 and x2 cancel."
    )
    return [said, markdown_table(Table("", columns, tuple(rows))), verdict]


def drawing(records: list[Record]) -> dict[str, str]:
    """The picture as SVG: two panels, points of both classes, boundaries, and moves as arrows."""
    panels = [
        _panel(records, 1, "f2", "what the oracle f2 reads", 0),
        _panel(records, 2, "f1", "what f1 has learned to read", WIDTH),
    ]
    low = HEIGHT + 14
    keys = [
        f'<text x="{MARGIN + 90 * place}" y="{low}" fill="{colour}">\N{RIGHTWARDS ARROW} {kind}</text>'
        for place, (kind, colour) in enumerate(MOVES.items())
    ]
    wide, high = 2 * WIDTH, HEIGHT + 24
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" '
        f'height="{high}" role="img" aria-label="Moves of both attacks, as f2 and as f1 see them" '
        'font-size="12" style="background:#fff;color:#1a1d20;font-family:sans-serif" '
        'fill="currentColor">'
    )
    return {PICTURE: "".join([head, *panels, *keys, "</svg>\n"])}


def _panel(records: list[Record], place: int, name: str, title: str, left: int) -> str:
    """x1 across and another feature up."""
    moves = {kind: one(records, "success", kind=kind) for kind in KINDS}
    boundary = one(records, "boundary", subject=name)
    held: dict[str, Any] = {kind: r.config for kind, r in moves.items() if r is not None}
    points = held["Type I"]["x"]
    ends = [v for config in held.values() for v in config["found"][:ARROWS]]
    across, up = ([v[i] for v in (*points, *ends)] for i in (0, place))
    frame = Frame(
        axis([min(across), max(across)], left + MARGIN, left + WIDTH - 16),
        axis([min(up), max(up)], HEIGHT - MARGIN, 30),
    )
    parts = [_axes(frame, title, FEATURES[place], left)]
    assert boundary is not None
    line: Any = boundary.config
    parts.append(_line(frame, line["x"], line["y"]))
    for v, y in zip(points, held["Type I"]["y"], strict=True):
        parts.append(_point(frame.x.at(v[0]), frame.y.at(v[place]), y))
    for kind, config in held.items():
        for v, found in list(zip(points, config["found"], strict=True))[:ARROWS]:
            ends_at = [frame.x.at(found[0]), frame.y.at(found[place])]
            parts.append(_arrow([frame.x.at(v[0]), frame.y.at(v[place])], ends_at, MOVES[kind]))
    return "".join(parts)


def _axes(frame: Frame, title: str, feature: str, left: int) -> str:
    x, y = frame.x, frame.y
    box = f"M{x.start:.0f} {y.end:.0f}V{y.start:.0f}H{x.end:.0f}"
    ticks = [
        f'<text x="{x.at(t):.1f}" y="{y.start + 16:.0f}" text-anchor="middle">{t:g}</text>'
        for t in x.ticks
    ]
    ticks += [
        f'<text x="{x.start - 6:.0f}" y="{y.at(t) + 4:.1f}" text-anchor="end">{t:g}</text>'
        for t in y.ticks
    ]
    words = [
        f'<text x="{left + WIDTH / 2:.0f}" y="16" text-anchor="middle" font-weight="600">{title}</text>',
        f'<text x="{x.end:.0f}" y="{y.start + 32:.0f}" text-anchor="end">x1</text>',
        f'<text x="{x.start + 6:.0f}" y="{y.end + 4:.0f}">{feature}</text>',
    ]
    return f'<path d="{box}" fill="none" stroke="currentColor"/>' + "".join([*ticks, *words])


def _line(frame: Frame, across: Sequence[float], up: Sequence[float]) -> str:
    """A boundary, where it lies in the frame."""
    inside = [
        f"{frame.x.at(a):.1f} {frame.y.at(b):.1f}"
        for a, b in zip(across, up, strict=True)
        if frame.x.low <= a <= frame.x.high and frame.y.low <= b <= frame.y.high
    ]
    return f'<path d="M{"L".join(inside)}" fill="none" stroke="#5f656d" stroke-dasharray="5 4"/>'


def _point(x: float, y: float, kind: int) -> str:
    """A circle for the first class and a cross for the second."""
    if kind == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="none" stroke="{CLASSES[0]}"/>'
    arms = f"M{x - 3:.1f} {y - 3:.1f}l6 6m0 -6l-6 6"
    return f'<path d="{arms}" stroke="{CLASSES[1]}" fill="none"/>'


def _arrow(start: Sequence[float], end: Sequence[float], colour: str) -> str:
    """A line with a head; a dot where the point does not move."""
    across, down = end[0] - start[0], end[1] - start[1]
    length = (across**2 + down**2) ** 0.5
    if length < 4:
        return f'<circle cx="{end[0]:.1f}" cy="{end[1]:.1f}" r="4" fill="{colour}"/>'
    a, b = 7 * across / length, 7 * down / length
    tip = f"{end[0]:.1f} {end[1]:.1f}"
    sides = [f"{end[0] - a - turn * b:.1f} {end[1] - b + turn * a:.1f}" for turn in (0.5, -0.5)]
    path = f"M{start[0]:.1f} {start[1]:.1f}L{tip}M{sides[0]}L{tip}L{sides[1]}"
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'

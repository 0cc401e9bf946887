"""The page of figure 10: bars of the shifts, drawn by hand, and the tail test."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trompe.experiments.latentpoison._page import KINDS, VECTOR, Found, vector_rows, words
from trompe.experiments.latentpoison.figure_10 import PUBLISHED
from trompe.metrics import tail_probability
from trompe.reports import Table, markdown_table

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["drawn", "rendered"]

SMALL = 1.0
"""An entry within one prior deviation is called hard to detect."""
_WIDTH, _HEIGHT, _GAP, _TOP = 300, 110, 24, 30


def _subjects(records: Sequence["Record"]) -> dict[str, Found]:
    names = dict.fromkeys(r.subject for r in records)
    return {name: Found([r for r in records if r.subject == name]) for name in names}


def rendered(records: Sequence["Record"]) -> str:
    """Each subject's bars, table and sentence."""
    parts = []
    for name, found in _subjects(records).items():
        pair = " and ".join(found.names)
        parts += [
            f"### Shifts between {pair}",
            f"![Entries of the six shifts between {pair}](pictures/{name}-bars.svg)",
            _hard(found),
            markdown_table(Table("", VECTOR, tuple(vector_rows(found, found.attacks())))),
        ]
    return "\n\n".join(parts)


def _hard(found: Found) -> str:
    """Which shifts have no entry beyond one deviation, and which the paper names."""
    small = [a for a in found.attacks() if found.vectors(a)[0].extra["largest"] <= SMALL]
    limit = float(tail_probability([SMALL])[0])
    record = found.vectors(found.attacks()[0])[0]
    return (
        f"**Claim** (appendix 6.4): only {words(PUBLISHED['hard to detect'][0])} are hard to detect by "
        f"single coordinates. With every entry within {SMALL:g} prior deviation, where the alarm rings "
        f"at most {limit:.3f} of the time, we find: {words(small)}. Testing all {record.n} coordinates rings "
        f"on {record.extra['tail any untouched']:.3f} of untouched codes already."
    )


def drawn(records: Sequence["Record"]) -> dict[str, str]:
    """An SVG of six panels for each subject: a row per norm, a column per kind."""
    return {f"{name}-bars.svg": _panels(found) for name, found in _subjects(records).items()}


def _panels(found: Found) -> str:
    vectors = {a: [float(v) for v in found.vectors(a)[0].config["delta"]] for a in found.attacks()}
    most = max(abs(v) for values in vectors.values() for v in values) or 1.0
    parts = []
    for place, (attack, values) in enumerate(vectors.items()):
        row, column = divmod(place, len(KINDS))
        left, top = column * (_WIDTH + _GAP), _TOP + row * (_HEIGHT + _TOP + _GAP)
        parts.append(_panel(values, most, left, top, attack))
    width = len(KINDS) * (_WIDTH + _GAP)
    height = -(-len(vectors) // len(KINDS)) * (_HEIGHT + _TOP + _GAP)
    style = "background:#fff;color:#1a1d20;font-family:sans-serif"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" font-size="12" style="{style}">{"".join(parts)}</svg>\n'
    )


def _panel(values: Sequence[float], most: float, left: int, top: int, title: str) -> str:
    """One shift: a bar per coordinate, all panels on one scale."""
    middle, step = top + _HEIGHT / 2, _WIDTH / len(values)
    bars = "".join(
        f"M{left + (i + 0.5) * step:.1f} {middle:.1f}v{-v / most * _HEIGHT / 2:.1f}"
        for i, v in enumerate(values)
        if v
    )
    return (
        f'<text x="{left}" y="{top - 8}">{title}; scale ±{most:.2f}</text>'
        f'<path d="M{left} {middle:.1f}h{_WIDTH}" stroke="#bbb" fill="none"/>'
        f'<path d="{bars}" stroke="#0b6b7d" stroke-width="{max(0.8, 0.7 * step):.1f}" fill="none"/>'
    )

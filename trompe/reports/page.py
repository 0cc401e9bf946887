"""One report as one self-contained HTML page.

The page follows the reader's light or dark scheme, loads nothing (its content security policy
forbids it to) and runs no script. Whatever comes from outside is escaped.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

from trompe.reports import figures, radio
from trompe.reports.document import SEVERITIES, Cell, Constellation, Curve, Forest, Grid, Report
from trompe.reports.images import png
from trompe.reports.tables import (
    curve_table,
    doctor_summary,
    metrics_table,
    perturbation_table,
    threat_models,
)
from trompe.reports.wording import amount, cell, value

if TYPE_CHECKING:
    from jinja2 import Template
__all__ = ["html"]

_NUMERIC = re.compile(r"^[\s(\[<>≤≥±+\-−–]*\d[\d.,%]*(\s?[eE×]?[-+−\d.,%()\[\]– ]|±)*$")
SHORT, LONG = 24, 36


class Html(str):
    """Text that is HTML already, so that the template does not escape it again."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


def html(report: Report) -> str:
    """The report as an HTML document.

    Example:
        >>> page = html(Report("Audit", "<model>", "trompe audit", "2026-11-20T10:00:00+00:00"))
        >>> "<model>" in page, "&lt;model&gt;" in page
        (False, True)
    """
    return _template().render(
        report=report,
        style=_style(),
        facts=_facts(report),
        contents=_contents(report),
        metrics=metrics_table(report.metrics),
        threats=threat_models(report.metrics),
        draw=_draw,
        drawings=_drawings,
        swatch=_swatch,
        amount=amount,
        entry=lambda _, cell: value(cell),
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {
        "inline": _inline,
        "prose": _prose,
        "cell": cell,
        "kind": _kind,
        "numeric": _numeric,
        "data": curve_table,
        "entries": perturbation_table,
        "png": png,
        "aspect": _aspect,
        "moment": _moment,
    }
    source = files(__package__).joinpath("page.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(source)


@cache
def _style() -> Html:
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    return Html(style)


def _draw(block: Curve | Forest) -> Html:
    drawing = figures.curve(block) if isinstance(block, Curve) else figures.forest(block)
    return Html(drawing)


def _drawings(block: Constellation) -> list[tuple[str, str]]:
    """The constellation, if its blocks are given, and the perturbation: a name and an SVG in base64."""
    drawn = []
    if block.codebook:
        points = radio.constellation(
            block.codebook, block.uses, block.perturbation, block.deviation
        )
        drawn.append(("Constellation", points))
    drawn.append(("Perturbation", radio.stems(block.perturbation, block.uses)))
    return [(name, base64.b64encode(svg.encode()).decode("ascii")) for name, svg in drawn]


def _swatch(index: int) -> Html:
    return Html(figures.swatch(index))


def _inline(text: str) -> Html:
    """Escaped text in which words between backticks are code; ``n = 360`` stays on one line."""
    text = text.replace("n = ", "n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
    parts = escape(text).split("`")
    if len(parts) % 2 == 0:
        return Html(escape(text))
    marked = [f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts)]
    return Html("".join(marked))


def _prose(text: str) -> Html:
    paragraphs = [part for part in re.split(r"\n\s*\n", text.strip()) if part]
    return Html("".join(f"<p>{_inline(part)}</p>" for part in paragraphs))


def _moment(created: str) -> str:
    """A moment as a person writes it; what is not ISO 8601 stays as it is."""
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return created
    zone = moment.tzname() or ""
    return f"{moment.day} {moment:%B %Y, %H:%M} {zone}".strip()


def _numeric(rows: Sequence[Sequence[Cell]]) -> set[int]:
    """The columns, beside the first, in which every cell is a number or reads like one."""
    columns = list(zip(*rows, strict=True))[1:]
    return {i for i, column in enumerate(columns, 1) if _numbers(column)}


def _numbers(column: Sequence[Cell]) -> bool:
    filled = [cell for cell in column if cell not in (None, "")]
    return bool(filled) and all(
        (isinstance(cell, int | float) and not isinstance(cell, bool))
        or (isinstance(cell, str) and _NUMERIC.match(cell) is not None)
        for cell in filled
    )


def _kind(cell: Cell, numeric: bool) -> Html:
    if numeric:
        return Html(' class="num"')
    size = len(cell) if isinstance(cell, str) else 0
    if size > LONG:
        return Html(' class="words"')
    return Html(' class="short"') if size <= SHORT else Html("")


def _aspect(grid: Grid) -> str:
    shape = next((i.shape for row in grid.rows for i in row if i is not None), (1, 1, 3))
    return f"{shape[1]} / {shape[0]}"


def _facts(report: Report) -> list[tuple[str, str]]:
    """The strip beneath the summary: how bad, how believable, how dear."""
    counts = {name: sum(f.severity == name for f in report.findings) for name in SEVERITIES}
    bad = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    facts = [("Findings", bad or "none")]
    if report.doctor:
        facts.append(("Doctor", doctor_summary(report.doctor)))
    names = [name for name in report.cost if name.startswith(("seconds", "time"))][:1]
    facts += [("Time", amount(name, report.cost[name])) for name in names]
    return facts + [("Not tested", f"{len(report.untested)} listed")] * bool(report.untested)


def _contents(report: Report) -> list[tuple[str, str]]:
    entries = [("findings", "Findings")]
    entries += [(f"section-{i}", s.title) for i, s in enumerate(report.sections, 1)]
    entries += [("doctor", "Can these numbers be believed?")] * bool(
        report.doctor or report.verdict
    )
    entries += [("untested", "What was not tested")] * bool(report.untested)
    entries += [("metrics", "Every number")] * bool(report.metrics)
    return [*entries, ("repeat", "How to repeat it")]

"""A report's figures as files of their own: for documents, slides and papers."""

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from trompe.evaluation.records import replace_file
from trompe.reports.document import Curve, Forest, Grid, Image, Report
from trompe.reports.figures import WIDE, curve, forest, swatch
from trompe.reports.images import png_bytes

__all__ = ["mosaic", "panels", "pictures", "sheet", "standalone"]

_GAP, _SIDE, _LINE, _LETTERS = 6, 84, 18, 12
"""Pixels: between two images, an image's side, a line of words, and the height of its letters."""


_PAPER = 'style="background:#fff;color:#1a1d20;font-family:sans-serif" '


def standalone(figure: Curve | Forest, *, titled: bool = False) -> str:
    """The wide drawing of a figure as an SVG document, on white; beneath groups of intervals their key.

    Args:
        titled: put the caption on top.

    >>> from trompe.reports.blocks import Metric
    >>> rows = (("VAE", (Metric("a", 0.5), Metric("b", 0.4))),)
    >>> drawn = standalone(Forest("", "accuracy", ("clean", "attacked"), rows, percent=True))
    >>> drawn.count("<svg"), ">attacked</text>" in drawn
    (4, True)
    """
    drawn = curve(figure) if isinstance(figure, Curve) else forest(figure)
    wide = drawn[: drawn.index("</svg>") + 6]
    height = int(re.findall(r' height="(\d+)"', wide)[0])
    title = figure.caption if titled else ""
    if isinstance(figure, Curve) or len(figure.groups) < 2:
        return sheet(WIDE, height, [wide], title)
    key, lines = _key(figure.groups, WIDE)
    below = f'<g transform="translate(0 {height + 4})">{key}</g>'
    return sheet(WIDE, height + lines * _LINE + 12, [wide, below], title)


def panels(figures: Sequence[Curve], columns: int = 2) -> str:
    """Several curves as one SVG document: their narrow drawings side by side, a key beneath each row.

    A row is to hold figures of the same lines, for its key is that of its first.

    >>> from trompe.reports.document import Series
    >>> one = Curve("A", "eps", "accuracy", (Series("MLP", (0, 1), (1, 0)),))
    >>> panels([one, one]).count("<svg")
    4
    """
    width, height, title = 340, 290, 24
    across = width * min(columns, len(figures))
    step, parts = title + height, []
    keys = [_key(figure.labels, across) for figure in figures[::columns]]
    top = 0
    for row, (key, lines) in enumerate(keys):
        for place, figure in enumerate(figures[row * columns : (row + 1) * columns]):
            drawn, left = curve(figure), place * width
            narrow = drawn[drawn.index("</svg>") + 6 :]
            parts.append(
                f'<text x="{left + 2}" y="{top + _LINE}" font-weight="bold">'
                f"{escape(figure.caption)}</text>"
            )
            parts.append(narrow.replace("<svg ", f'<svg x="{left}" y="{top + title}" ', 1))
        parts.append(f'<g transform="translate(0 {top + step})">{key}</g>')
        top += step + lines * _LINE + title
    return sheet(across, top, parts)


def sheet(
    width: float, height: float, parts: Sequence[str], title: str = "", *, words: str = ""
) -> str:
    """Drawings as one SVG document on white, under a title; `words` say what they show.

    >>> sheet(100, 50, ["<path d='M0 0H9'/>"], "A line").count("A line</text>")
    1
    """
    top = 28 if title else 0
    said = f'role="img" aria-label="{escape(words)}" ' if words else ""
    head = (
        f'<svg {_PAPER}viewBox="0 {-top} {width:.0f} {height + top:.0f}" width="{width:.0f}" '
        f'height="{height + top:.0f}" {said}'
        'font-size="13" fill="currentColor" xmlns="http://www.w3.org/2000/svg">'
        "<style>.rule{stroke:#d9dde1}.faint{stroke:#eef0f2}.axis{stroke:#5f656d}</style>"
    )
    heading = f'<text x="2" y="-10" font-weight="bold">{escape(title)}</text>' if title else ""
    return "".join([head, heading, *parts, "</svg>"])


def _key(names: Sequence[str], width: int) -> tuple[str, int]:
    """The sign of each line or group with its name, in rows no wider than this, and how many rows."""
    parts, left, row = [], 48, 0
    for index, name in enumerate(names):
        room = 56 + 8 * len(name)
        if left + room > width and left > 48:
            left, row = 48, row + 1
        sign = swatch(index).replace("<svg ", f'<svg x="{left}" y="{row * _LINE + 2}" ', 1)
        words = f'<text x="{left + 36}" y="{row * _LINE + 13}">{escape(name)}</text>'
        parts.append(sign + words)
        left += room
    return "".join(parts), row + 1


def mosaic(grid: Grid, rows: int = 4, *, titled: bool = False) -> Image:
    """The first rows of a grid of images as one picture, every image enlarged to the same side.

    Captions stand over their images; what is too long for its image runs into the next one's.

    Args:
        titled: put the columns' titles on top.
    """
    shown, words = grid.rows[:rows], grid.captions[:rows]
    above, top = (_LINE if words else 0), (_LINE if titled else 0)
    width, height = _SIDE + _GAP, above + _SIDE + _GAP
    canvas = np.full(
        (top + height * len(shown) + _GAP, width * len(grid.column_titles) + _GAP, 3), 255, np.uint8
    )
    for i, row in enumerate(shown):
        for j, image in enumerate(row):
            if image is not None:
                down, left = top + _GAP + i * height + above, _GAP + j * width
                canvas[down : down + _SIDE, left : left + _SIDE] = _enlarged(image)
    lines = [(_GAP, grid.column_titles)] if titled else []
    lines += [(top + _GAP + i * height, line) for i, line in enumerate(words)]
    return _lettered(canvas, lines) if lines else canvas


def _lettered(canvas: Image, lines: Sequence[tuple[int, Sequence[str]]]) -> Image:
    """Words in the middle over each column, at the heights given."""
    from PIL import Image as Pillow
    from PIL import ImageDraw, ImageFont

    picture = Pillow.fromarray(canvas)
    pen, letters = ImageDraw.Draw(picture), ImageFont.load_default(_LETTERS)
    for height, words in lines:
        for j, word in enumerate(words):
            middle = _GAP + j * (_SIDE + _GAP) + _SIDE // 2
            pen.text((middle, height), word, fill=(26, 29, 32), font=letters, anchor="ma")
    return np.asarray(picture)


def _enlarged(image: Image) -> Image:
    """Each pixel as a block, so that what the model saw is what is shown."""
    down, across = (np.arange(_SIDE) * size // _SIDE for size in image.shape[:2])
    return np.ascontiguousarray(image[down][:, across])


def pictures(report: Report, folder: str | Path) -> list[Path]:
    """Write every curve of a report as SVG and every grid as PNG; returns the files, in the report's order.

    Raises:
        UserError: the folder cannot be written.
    """
    written: list[Path] = []
    for section in report.sections:
        for block in section.blocks:
            name = re.sub(r"[^a-z0-9]+", "-", block.caption.lower()).strip("-")[:60]
            path = Path(folder) / f"{len(written) + 1:02d}-{name}"
            if isinstance(block, Curve | Forest):
                path = path.with_name(f"{path.name}.svg")
                replace_file(path, standalone(block) + "\n")
            elif isinstance(block, Grid) and block.rows:
                path = path.with_name(f"{path.name}.png")
                replace_file(path, png_bytes(mosaic(block)))
            else:
                continue
            written.append(path)
    return written

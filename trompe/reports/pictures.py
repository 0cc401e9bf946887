"""A report's figures as files of their own: for documents, slides and papers."""

import re
from pathlib import Path

import numpy as np

from trompe.evaluation.records import replace_file
from trompe.reports.document import Curve, Forest, Grid, Image, Report
from trompe.reports.figures import curve, forest
from trompe.reports.images import png_bytes

__all__ = ["mosaic", "pictures", "standalone"]

_GAP, _SIDE = 6, 84


def standalone(figure: Curve | Forest) -> str:
    """The wide drawing of a figure as an SVG document, on white."""
    drawn = curve(figure) if isinstance(figure, Curve) else forest(figure)
    wide = drawn[: drawn.index("</svg>") + 6]
    style = 'style="background:#fff;color:#1a1d20;font-family:sans-serif" '
    return wide.replace("<svg ", f"<svg {style}", 1)


def mosaic(grid: Grid, rows: int = 4) -> Image:
    """The first rows of a grid of images as one picture, every image enlarged to the same side."""
    height = width = _SIDE + _GAP
    shown = grid.rows[:rows]
    canvas = np.full(
        (height * len(shown) + _GAP, width * len(grid.column_titles) + _GAP, 3), 255, np.uint8
    )
    for i, row in enumerate(shown):
        for j, image in enumerate(row):
            if image is not None:
                top, left = _GAP + i * height, _GAP + j * width
                canvas[top : top + _SIDE, left : left + _SIDE] = _enlarged(image)
    return canvas


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

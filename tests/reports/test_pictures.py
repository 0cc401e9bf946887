"""A report's figures as files: every curve and grid is written, and shows what the report holds."""

import io
import xml.etree.ElementTree as ElementTree

import numpy as np
from PIL import Image

from trompe.reports import Curve, Grid, pictures
from trompe.reports.pictures import mosaic


def test_every_figure_is_written_in_order(report, tmp_path):
    blocks = [b for s in report.sections for b in s.blocks if isinstance(b, Curve | Grid)]
    paths = pictures(report, tmp_path)
    assert len([p for p in paths if p.suffix in (".svg", ".png")]) >= len(blocks)
    assert paths == sorted(paths)
    for path in paths:
        if path.suffix == ".svg":
            assert ElementTree.parse(path).getroot().tag.endswith("svg")
        else:
            assert np.asarray(Image.open(io.BytesIO(path.read_bytes()))).size > 0


def test_a_mosaic_keeps_pixels_and_leaves_gaps_white():
    image = np.arange(4, dtype=np.uint8).reshape(2, 2) * 60
    canvas = mosaic(Grid("g", ("a", "b"), ((image, None),)))
    tile = canvas[6:90, 6:90, 0]
    assert (tile[:42, :42] == 0).all()
    assert (tile[42:, 42:] == 180).all()
    assert (canvas[:, 96:] == 255).all()


def test_a_mosaic_has_its_captions_over_its_images():
    image = np.zeros((2, 2), np.uint8)
    plain = mosaic(Grid("g", ("a", "b"), ((image, image),)))
    grid = Grid("g", ("a", "b"), ((image, image),), captions=(("7, 99%", ""),))
    worded, titled = mosaic(grid), mosaic(grid, titled=True)
    line = worded.shape[0] - plain.shape[0]
    assert line > 0
    assert np.array_equal(worded[line + 6 :], plain[6:])
    assert (worded[:line, :90] < 128).any()
    assert (worded[:line, 96:] == 255).all()
    assert np.array_equal(titled[line + 6 :], worded[6:])
    assert (titled[:line, 96:] < 128).any()

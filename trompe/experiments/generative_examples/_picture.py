"""The digit picture of the page on these attacks.

python -m trompe.experiments.generative_examples._picture docs/pictures
"""

import sys
from pathlib import Path

__all__ = ["write"]

MODEL, LIMIT, ROWS = "mnist-vaegan", 5.0, 6


def write(folder: str) -> Path:
    """Source, adversarial input, its reconstruction, and the target; two rows for each attack."""
    from trompe.core.domains import Images
    from trompe.core.execution import predict
    from trompe.core.geometry import Ball
    from trompe.evaluation.records import replace_file
    from trompe.experiments.generative_examples._runs import ATTACKS, _attack, _victim
    from trompe.experiments.generative_examples.mnist import SCALES
    from trompe.reports import Grid
    from trompe.reports.images import png_bytes
    from trompe.reports.pictures import mosaic

    config, draw = SCALES["cpu"], Images().render
    it = _victim(config, MODEL)
    rows = []
    for place, kind in enumerate(ATTACKS):
        some = slice(2 * place, 2 * place + 2)
        attack, refers = _attack(config, it, kind, Ball(LIMIT, "L2"))
        found = attack(it.model, it.x[some], refers[some], seeds=it.seeds[some])
        images = (it.x[some], found, predict(it.model, found), it.targets[some])
        rows += list(zip(*map(draw, images), strict=True))
    titles = ("source", "adversarial", "its reconstruction", "target")
    path = Path(folder, "generative-grid.png")
    replace_file(path, png_bytes(mosaic(Grid("", titles, tuple(rows)), rows=ROWS)))
    return path


if __name__ == "__main__":
    write(sys.argv[1])

"""The pictures of these pages: from the report of `make demo`, and digits that a Type I attack changes.

python docs/pictures.py demo-report docs/pictures
python docs/pictures.py type-one docs/pictures      (MNIST at hand; trains a perceptron and a supervised VAE)
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from trompe.reports import pictures, read

NAMES = {
    "distortion-distortion": "distortion",
    "how-often-the-output": "output-class",
    "targeted-attack": "autoencoder-grid",
    "how-large-a-change": "margin",
    "who-notices": "tamper-roc",
    "what-the-receiver": "transit-grid",
    "accuracy-against-radius-worst": "robust-accuracy",
    "images-that-fell": "classifier-grid",
    "accuracy-against-radius-bare": "defended",
}


def of_report(report: str, folder: str) -> None:
    """Write the figures of a report under the names that the pages use; of a name, the first figure."""
    with TemporaryDirectory() as drafts:
        for path in reversed(pictures(read(report), drafts)):
            for beginning, name in NAMES.items():
                if path.name[3:].startswith(beginning):
                    Path(folder, name + path.suffix).write_bytes(path.read_bytes())


def of_type_one(folder: str) -> None:
    """Write the ways of MNIST's first digit of each class, on the perceptron, as `type-one-grid.png`."""
    from trompe import data, zoo
    from trompe.attacks import TypeI
    from trompe.audit.trajectories import trajectories
    from trompe.reports.images import png_bytes
    from trompe.reports.pictures import mosaic

    test = data.load("mnist")
    assert test.y is not None
    x, y = test.tensors([int((test.y == k).nonzero()[0, 0]) for k in range(10)])
    assert y is not None
    attack = TypeI().using(svae=zoo.get("mnist-svae"))
    grid = trajectories(zoo.get("mnist-mlp"), attack, x, y, test)
    Path(folder, "type-one-grid.png").write_bytes(png_bytes(mosaic(grid, rows=10, titled=True)))


def main(source: str, folder: str) -> None:
    """Write the pictures that come of a source."""
    if source == "type-one":
        of_type_one(folder)
    else:
        of_report(source, folder)


if __name__ == "__main__":
    main(*sys.argv[1:3])

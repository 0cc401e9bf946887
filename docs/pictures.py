"""The pictures of these pages: from the report of `make demo`, and of single attacks.

python docs/pictures.py demo-report docs/pictures
python docs/pictures.py type-one docs/pictures      (MNIST at hand; trains a perceptron and a supervised VAE)
python docs/pictures.py defended docs/pictures      (MNIST at hand; trains a classifier and a VAE)
python docs/pictures.py ladder docs/pictures        (embedded digits)
python docs/pictures.py radio docs/pictures         (trains a radio for seconds)
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from trompe.reports import pictures, read

if TYPE_CHECKING:
    from torch import Tensor

    from trompe.data import Dataset

NAMES = {
    "distortion-distortion": "distortion",
    "how-often-the-output": "output-class",
    "targeted-attack": "autoencoder-grid",
    "how-large-a-change": "margin",
    "who-notices": "tamper-roc",
    "what-the-receiver": "transit-grid",
    "accuracy-against-radius-worst": "robust-accuracy",
    "images-that-fell": "classifier-grid",
    "what-stands-against": "defended",
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
    x, y = _first_of_each(test)
    attack = TypeI().using(svae=zoo.get("mnist-svae"))
    grid = trajectories(zoo.get("mnist-mlp"), attack, x, y, test)
    Path(folder, "type-one-grid.png").write_bytes(png_bytes(mosaic(grid, rows=10, titled=True)))


def of_defended(folder: str) -> None:
    """Write what a VAE makes of MNIST's first digits under two attackers as `defended-grid.png`."""
    from trompe import data, zoo
    from trompe.attacks.ladder import OBLIVIOUS, SQUARE, ladder
    from trompe.core import random
    from trompe.core.geometry import Ball
    from trompe.defenses import Reconstruct
    from trompe.evaluation import evaluate
    from trompe.experiments.reconstruction._models import classifier, purifier
    from trompe.reports import Grid
    from trompe.reports.images import png_bytes
    from trompe.reports.pictures import mosaic

    test, ball, seeds = data.load("mnist"), Ball(0.3), random.seeds(0, 10)
    x, y = _first_of_each(test)
    model = Reconstruct(zoo.get(purifier("vae", "mnist")), zoo.get(classifier("mnist")))
    rungs = ladder(model, ball, example=x[:1], effort=0.3)
    rungs.pop(SQUARE)
    worst = str(evaluate(model, rungs, (x, y), eps=[ball.eps], separate=True).worst_rung.attack)
    columns, words = [], []
    for who in (None, rungs[OBLIVIOUS], rungs[worst]):
        image = x if who is None else who(model, x, y, seeds=seeds)
        shown = model.reconstruct(image).detach()
        for part in (image, shown):
            columns.append(test.domain.render(test.domain.project(part)))
            words.append([f"read {k}" for k in model.classifier(part).argmax(1).tolist()])
    titles = tuple(t for name in ("clean", OBLIVIOUS, "worst rung") for t in (name, "shown"))
    rows, said = (tuple(zip(*each, strict=True)) for each in (columns, words))
    grid = Grid("What the classifier is shown", titles, rows, (), said)
    Path(folder, "defended-grid.png").write_bytes(png_bytes(mosaic(grid, rows=10, titled=True)))


def of_ladder(folder: str) -> None:
    """Write what each rung leaves of the embedded digits behind a VAE, drawing nothing and drawing codes."""
    from trompe import data, zoo
    from trompe.attacks import ladder
    from trompe.core.geometry import Ball
    from trompe.defenses import Reconstruct
    from trompe.evaluation import evaluate
    from trompe.reports import Forest, metric
    from trompe.reports.pictures import standalone

    test, eps = data.load("digits").take(200), 0.1
    found = {}
    for name, scale in (("the mean code", 0.0), ("a drawn code", 1.0)):
        model = Reconstruct(zoo.get("digits-vae"), zoo.get("digits-mlp"), scale)
        rungs = ladder(model, Ball(eps), example=test.tensors()[0][:1], effort=0.2, draws=5)
        result = evaluate(model, rungs, test, eps=[eps], separate=True)
        clean, each = result.records
        found[name] = {
            "not attacked": clean,
            **{str(rung.attack): rung for rung in result.rungs},
            "worst case per image": each,
        }
    rows = tuple(
        (rung, tuple(metric(f[rung]) if rung in f else None for f in found.values()))
        for rung in found["a drawn code"]
    )
    figure = Forest("What each attacker leaves standing", f"accuracy at Linf {eps:g}", tuple(found),
                    rows, percent=True)  # fmt: skip
    Path(folder, "ladder.svg").write_text(standalone(figure) + "\n")


def of_radio(folder: str) -> None:
    """Write what a trained radio sends, with the noise at 8 dB, as `comms-constellation.svg`."""
    from trompe import zoo
    from trompe.reports import constellation

    link = zoo.radio(zoo.radio_named("mlp-7-4"))
    codebook = link.codebook().detach().numpy()
    drawn = constellation(codebook, link.uses, deviation=link.channel_at(8.0).deviation)
    Path(folder, "comms-constellation.svg").write_text(drawn + "\n")


def _first_of_each(test: "Dataset") -> "tuple[Tensor, Tensor]":
    """The first image of each of ten classes, and their labels."""
    assert test.y is not None
    x, y = test.tensors([int((test.y == k).nonzero()[0, 0]) for k in range(10)])
    assert y is not None
    return x, y


def main(source: str, folder: str) -> None:
    """Write the pictures that come of a source."""
    single = {
        "type-one": of_type_one,
        "defended": of_defended,
        "ladder": of_ladder,
        "radio": of_radio,
    }
    if source in single:
        single[source](folder)
    else:
        of_report(source, folder)


if __name__ == "__main__":
    main(*sys.argv[1:3])

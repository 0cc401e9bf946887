"""From models to records, and from records to curves, pictures and words: what the figures share."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trompe.experiments.aevb._training import images

if TYPE_CHECKING:
    from torch import Tensor

    from trompe.evaluation.records import Record
    from trompe.models import Autoencoder

__all__ = [
    "bound",
    "contrast",
    "curves",
    "drawn",
    "floats",
    "line",
    "lines",
    "mean",
    "picture",
    "stated",
    "tiles",
    "trial",
]


def floats(data: str, split: str, count: int) -> "Tensor":
    """The first images of a split as the likelihood takes them: 0.0 and 1.0."""
    return images(data, split, count).float() / 255


def bound(model: "Autoencoder", x: "Tensor") -> "Tensor":
    """The lower bound of each image `(B,)`, from one draw, the KL term in closed form."""
    import torch

    from trompe.core import random
    from trompe.evaluation.likelihood import elbo

    named = random.seeds(0, len(x))
    pieces = zip(x.split(500), named.split(500), strict=True)
    return torch.cat([elbo(model, part, seeds=seeds) for part, seeds in pieces])


def mean(metric: str, values: "Tensor", **rest: Any) -> "Record":
    """The mean over images, with a normal 95% interval over them."""
    from trompe.evaluation.records import Record

    return Record.mean(metric, values, interval="normal 95%, over images", **rest)


def trial(found: Mapping[float, float], count: int, **rest: Any) -> list["Record"]:
    """How good each rate was in the trial that chose one; NaN where the training broke down."""
    from trompe.evaluation.records import Record

    config = rest.pop("config")
    return [
        Record("trial", value, count, config={**config, "rate": rate}, **rest)
        for rate, value in found.items()
    ]


def line(records: Iterable["Record"], metric: str, **asked: Any) -> list["Record"]:
    """The points of one curve: the records of a metric whose configuration says all that is asked."""
    return [
        r for r in records if r.metric == metric and all(r.config[k] == v for k, v in asked.items())
    ]


def lines(
    records: Iterable["Record"], metric: str, methods: Sequence[str], **asked: Any
) -> dict[str, list["Record"]]:
    """The curves of several methods on training and test images, by what they are called."""
    found = list(records)
    return {
        f"{method}, {split}": line(found, metric, method=method, split=split, **asked)
        for method in methods
        for split in ("train", "test")
    }


def stated(record: "Record", digits: int = 1) -> str:
    """A mean with its interval.

    >>> from trompe.evaluation.records import Record
    >>> stated(Record("m", -100.0, 10, -101.0, -99.0))
    '−100.0 [−101.0, −99.0]'
    """
    text = f"{record.value:.{digits}f} [{record.low:.{digits}f}, {record.high:.{digits}f}]"
    return text.replace("-", "−")


def contrast(record: "Record") -> str:
    """Which way a mean difference goes: `"more"`, `"less"`, or `"unresolved"` at zero.

    >>> from trompe.evaluation.records import Record
    >>> contrast(Record("m", 1.0, 10, 0.5, 1.5)), contrast(Record("m", 1.0, 10, -0.5, 2.5))
    ('more', 'unresolved')
    """
    assert record.low is not None
    assert record.high is not None
    return "more" if record.low > 0 else "less" if record.high < 0 else "unresolved"


def curves(
    title: str, quantity: str, lines: Mapping[str, Sequence["Record"]], span: float = 60.0
) -> str:
    """An SVG of means against samples seen, one line for each entry; `span` nats below the best are shown."""
    from trompe.reports import Curve, Series
    from trompe.reports.pictures import standalone

    series = tuple(
        Series(
            label,
            tuple(float(r.config["samples"]) for r in records),
            tuple(r.value for r in records),
            tuple(r.low or math.nan for r in records),
            tuple(r.high or math.nan for r in records),
        )
        for label, records in lines.items()
        if records
    )
    values = [y for line in series for y in line.y if math.isfinite(y)]
    top = max(values)
    floor = max(min(values), top - span)
    figure = Curve(
        title, "training samples", quantity, series, log_x=True, y_range=(floor, top + 2)
    )
    return standalone(figure) + "\n"


def tiles(x: "Tensor", columns: int, gap: int = 1) -> str:
    """Images `(n, 1, H, W)` in [0, 1] as one picture, row by row: a PNG in base64, of 16 greys."""
    import numpy as np

    from trompe.reports.images import png

    _, _, height, width = x.shape
    rows = -(-len(x) // columns)
    canvas = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap), 255, np.uint8)
    for number, image in enumerate(x[:, 0].numpy()):
        top = gap + number // columns * (height + gap)
        left = gap + number % columns * (width + gap)
        canvas[top : top + height, left : left + width] = 255 - 17 * np.rint(15 * image)
    return png(np.repeat(canvas[:, :, None], 3, axis=2))


def drawn(records: Iterable["Record"]) -> dict[str, bytes]:
    """The pictures that records carry, by the names of their files."""
    import base64

    return {
        str(r.config["file"]): base64.b64decode(str(r.config["picture"]))
        for r in records
        if "picture" in r.config
    }


def picture(title: str, file: str) -> str:
    """A picture beside the page, in Markdown."""
    return f"![{title}](pictures/{file})"

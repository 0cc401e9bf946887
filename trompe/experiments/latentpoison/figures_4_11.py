"""Figures 4 to 9 and 11: decodings before and after the shift, and their difference.

On digits: pictures of faces may not be published. The digits are the first of each class in the test set, and
not chosen.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trompe.experiments.latentpoison._runs import (
    DIGITS,
    LONG_DIGITS,
    SMOKE,
    Case,
    Lab,
    Subject,
    cases,
)
from trompe.experiments.store import Store

if TYPE_CHECKING:
    from torch import Tensor

    from trompe.evaluation.records import Record

__all__ = ["PUBLISHED", "SCALES", "Config", "pictures", "render", "run"]

PUBLISHED: dict[str, tuple[float, str]] = {}


@dataclass(frozen=True)
class Config:
    """What is shown.

    Args:
        subject: of digits.
        rho: price of the six shifts.
        n: examples of each class.
    """

    subject: Subject = DIGITS
    rho: float = 0.1
    n: int = 8


SCALES = {"smoke": Config(SMOKE, n=4), "cpu": Config(), "paper": Config(LONG_DIGITS)}


def run(config: Config, store: Store) -> Iterator["Record"]:
    """A cell per shift."""
    lab, todo = Lab(config.subject), cases(config.rho)
    store.total = len(todo)
    for case in todo:
        yield from store.cell(case.name, lambda case=case: [_shown(lab, case, config.n)])  # type: ignore[misc]


def _shown(lab: Lab, case: Case, n: int) -> "Record":
    """A picture, and how far the pixels moved on average."""
    from trompe.core.geometry import norm
    from trompe.evaluation.records import Record
    from trompe.evaluation.shift import shift_pictures

    x, y = lab.test.tensors()
    assert y is not None
    rows = [int(place) for label in (0, 1) for place in (y == label).nonzero()[:n, 0]]
    before, after = shift_pictures(*lab.pair(case), x[rows], y[rows], seed=lab.subject.seed)
    moved = norm(after - before, "L2")
    file = f"{lab.name}-{case.kind}-{case.norm}.png".lower().replace("+", "-")
    return Record(
        "mean L2 distance of pixels",
        float(moved.mean()),
        len(rows),
        subject=lab.name,
        attack=case.name,
        norm="L2",
        config={
            "names": list(lab.subject.names),
            "file": file,
            "picture": _tiled([x[rows], before, after, (after - before).abs()], n),
        },
    )


def _tiled(rows: "list[Tensor]", n: int) -> str:
    """Rows of images, both classes side by side, each pixel four by four: a PNG in base64."""
    import torch

    from trompe.reports.images import png

    bands = []
    for images in rows:
        wide = torch.nn.functional.pad(images[:, 0].clamp(0, 1), (1, 1, 1, 1), value=1.0)
        halves = [torch.cat(list(half), 1) for half in wide.split(n)]
        gap = torch.ones(wide.shape[1], 6)
        bands.append(torch.cat([halves[0], gap, halves[1]], 1))
    canvas = torch.cat(bands).repeat_interleave(3, 0).repeat_interleave(3, 1)
    grey = (canvas * 255).round().to(torch.uint8)
    return png(grey[..., None].expand(-1, -1, 3).contiguous().numpy())


def render(records: Iterable["Record"]) -> str:
    """The pictures, one for each shift."""
    parts = [
        "Rows: the image, its untampered decoding, the decoding of the shifted code, and the size of the "
        "difference of these two. The left half starts from the lower class, the right half from the upper."
    ]
    for record in records:
        moved = f"mean L2 distance of pixels {record.value:.2f} over {record.n} digits"
        parts += [
            f"**{record.attack}**: {moved}.",
            f"![{record.attack}](pictures/{record.config['file']})",
        ]
    return "\n\n".join(parts)


def pictures(records: Iterable["Record"]) -> dict[str, bytes]:
    """The pictures that the records carry."""
    import base64

    return {str(r.config["file"]): base64.b64decode(str(r.config["picture"])) for r in records}

"""The page of `reconstruction/ladder`: rungs as rows, defences as columns."""

from typing import TYPE_CHECKING

from trompe.attacks.ladder import CW_MEAN, OBLIVIOUS, SQUARE, SURROGATE
from trompe.experiments.reconstruction.ladder import CARELESS, FALL, NEAR
from trompe.reports import Forest, Metric, Table, markdown_table
from trompe.reports.pictures import standalone
from trompe.reports.wording import percent

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["drawn", "points", "rate", "rendered"]

PICTURE = "reconstruction-ladder.svg"
CAPTION = "What each attacker leaves standing"
CLEAN, WORST, EACH = "not attacked", "worst rung", "worst case per image"
BLIND = (CARELESS, OBLIVIOUS, SURROGATE, SQUARE)
"""Rungs that see no gradient of the defence."""
CLOSE, FAR = 0.1, 0.3
"""How little may be lost to the oblivious attacker, and how much more to the worst rung, in shares."""


def rate(record: "Record | None") -> str | None:
    """A share with its interval."""
    if record is None or record.low is None or record.high is None:
        return None
    return f"{percent(record.value)} [{percent(record.low, 0)}, {percent(record.high, 0)}]"


def points(record: "Record") -> str:
    """A difference of shares in points, with its interval."""
    low, high = _ends(record)
    return f"{100 * record.value:.1f} points [{100 * low:.1f}, {100 * high:.1f}]"


def _ends(record: "Record") -> tuple[float, float]:
    return record.low or 0.0, record.high or 0.0


class _Found:
    """The records of one defence."""

    def __init__(self, name: str, records: "list[Record]") -> None:
        self.name = name
        self.records = [record for record in records if record.subject == name]

    @property
    def clean(self) -> "Record":
        """Accuracy without an attack."""
        return next(r for r in self.records if r.metric == "clean accuracy")

    @property
    def random(self) -> bool:
        """Whether the defence draws: a kind that has a deviation, of another scale than none."""
        return "VAE" in self.name and not self.name.endswith("scale 0")

    def at(self, eps: float) -> "dict[str, Record]":
        """The rungs at a radius."""
        here = [r for r in self.records if r.metric == "robust accuracy" and r.eps == eps]
        return {r.attack: r for r in here if " + " not in r.attack}

    def each(self, eps: float) -> "Record":
        """The worst case of each image at a radius."""
        here = [r for r in self.records if r.metric == "robust accuracy" and r.eps == eps]
        return next(r for r in here if " + " in r.attack)

    def worst(self, eps: float) -> "Record":
        """The rung that leaves least; the first of equals."""
        return min(self.at(eps).values(), key=lambda r: r.value)

    def masked(self, eps: float) -> bool:
        """Whether who sees no gradient of the defence does better than all who do, beyond the intervals."""
        rungs = self.at(eps)
        blind = [r for name, r in rungs.items() if name in BLIND]
        seeing = [r for name, r in rungs.items() if name not in BLIND]
        return any(all(_ends(r)[1] < _ends(other)[0] for other in seeing) for r in blind)

    def about(self, metric: str, *attacks: str) -> "Record":
        """The record of a metric, and of one of the attacks where any are named."""
        found = (r for r in self.records if r.metric == metric)
        return next(r for r in found if not attacks or r.attack in attacks)


def _all(records: "list[Record]") -> list[_Found]:
    return [_Found(name, records) for name in dict.fromkeys(r.subject for r in records)]


def _radii(records: "list[Record]") -> list[float]:
    return sorted({r.eps for r in records if r.eps is not None})


def rendered(records: "list[Record]") -> str:
    """Picture, tables, claims, doctor."""
    found, radii = _all(records), _radii(records)
    parts = [f"![{CAPTION}](pictures/{PICTURE})", _head(records, found)]
    for eps in reversed(radii):
        parts += [f"### At Linf {eps:g}", _table(found, eps)]
    parts += ["### What follows", _claims(found, radii[-1]), _hidden(found, radii[-1])]
    parts += ["### The doctor", _doctor(found)]
    return "\n\n".join(filter(None, parts))


def _head(records: "list[Record]", found: list[_Found]) -> str:
    config, n = records[0].config, found[0].clean.n
    det, random = config["effort"], config["random"]
    return (
        f"The first {n} test images of {config['data']}. Each rung meets all images that are read rightly "
        "when clean, and is judged alone; the *worst rung* is the one that leaves least, the *worst case per "
        "image* lets each image meet the rung that is worst for it. The worst rung is found on the "
        "images that judge it, that of an image on draws that do not: it may leave more where the defence "
        "draws. At scale 1 it does: accuracies "
        f"are expectations over {config['looks']} fresh draws, and an image counts by its share of them. "
        f"Attackers spend {det['share']:g} of the full ladder's steps and {det['queries']} queries where "
        f"nothing is drawn; where the defence draws {random['share']:g}, {random['draws']} draws in each "
        f"gradient, and {random['queries']} queries of as many draws. The surrogate is a VAE and a network "
        "of another seed. *C&W through the mean* is the paper's attack. Brackets are Wilson 95% intervals."
    )


def _table(found: list[_Found], eps: float) -> str:
    names = list(dict.fromkeys(name for f in found for name in f.at(eps)))
    rows: list[tuple[str | None, ...]] = [(CLEAN, *(rate(f.clean) for f in found))]
    for name in names:
        cells = []
        for f in found:
            told = rate(f.at(eps).get(name))
            cells.append(f"{told}, worst" if f.worst(eps).attack == name else told)
        rows.append((name, *cells))
    rows.append((EACH, *(rate(f.each(eps)) for f in found)))
    if any(f.random for f in found):
        one = "the same, right on every draw"
        rows.append((one, *(percent(1 - f.each(eps).extra["wrong on any draw"]) for f in found)))
    return markdown_table(Table("", ("Rung", *(f.name for f in found)), tuple(rows)))


def _claims(found: list[_Found], eps: float) -> str:
    lines = []
    for f in found:
        near, early = f.about(NEAR, OBLIVIOUS), f.about(NEAR, CARELESS)
        fall = f.about(FALL)
        low, high = _ends(fall)
        far = _verdict(low >= FAR, high < FAR)
        lines.append(
            f"- {f.name}: who is oblivious and stops at the classifier's boundary costs {points(early)}; "
            f"that this is near the clean accuracy {_close(early)}. Who is and goes on costs "
            f"{points(near)}; that this is near it {_close(near)}. The worst rung, {fall.attack}, costs "
            f"{points(fall)} more; that it lies far below {far}."
        )
    head = (
        f"At {eps:g}, paired image by image with 95% intervals; *near* is at most {percent(CLOSE, 0)} below, "
        f"*far below* at least {percent(FAR, 0)}:"
    )
    return "\n".join([head, "", *lines])


def _close(lost: "Record") -> str:
    low, high = _ends(lost)
    return _verdict(high <= CLOSE, low > CLOSE)


def _verdict(holds: bool, fails: bool) -> str:
    return "**holds**" if holds else "**does not hold**" if fails else "is **unresolved**"


def _hidden(found: list[_Found], eps: float) -> str:
    """What the paper's attack does not see, and whether who sees no gradient does better than who does."""
    gaps = {f.name: f.at(eps)[CW_MEAN].value - f.worst(eps).value for f in found}
    most = max(gaps, key=gaps.__getitem__)
    blind = [f.name for f in found if f.masked(eps)]
    told = (
        f"**Gradients are masked** on {'; '.join(blind)}: a rung that sees none of the defence's leaves less "
        "than all that do, beyond their intervals."
        if blind
        else "On no defence does a rung that sees none of its gradients leave less, beyond their intervals, "
        "than all that do."
    )
    return (
        f"The paper's attack leaves up to {100 * gaps[most]:.1f} points more standing than the worst rung "
        f"({most}). {told}"
    )


def _doctor(found: list[_Found]) -> str:
    rows = []
    for f in found:
        said = f.about("checks passed")
        failed = [
            f"{name}: {detail}" for name, (ok, detail) in said.config["checks"].items() if ok is False
        ]  # fmt: skip
        passed = f"{said.counts['passed']} of {said.counts['asked']}"
        rows.append(
            (f.name, said.attack, passed, "; ".join(failed) or None, said.config["verdict"])
        )
    n = found[0].about("checks passed").n
    table = Table("", ("Defence", "Through", "Passed", "Failed", "Verdict"), tuple(rows))
    told = f"{n} images, at the largest radius, through the worst rung that follows gradients."
    return told + "\n\n" + markdown_table(table)


def drawn(records: "list[Record]") -> dict[str, str]:
    """Intervals at the largest radius: a line for each defence."""
    eps = _radii(records)[-1]
    groups = (CLEAN, OBLIVIOUS, CW_MEAN, WORST)
    rows = []
    for f in _all(records):
        here = (f.clean, f.at(eps)[OBLIVIOUS], f.at(eps)[CW_MEAN], f.worst(eps))
        marks = [
            Metric(name, r.value, r.low, r.high, r.n, "rate")
            for name, r in zip(groups, here, strict=True)
        ]
        rows.append((f.name, tuple(marks)))
    figure = Forest(CAPTION, f"accuracy at Linf {eps:g}", groups, tuple(rows), percent=True)
    return {PICTURE: standalone(figure) + "\n"}
